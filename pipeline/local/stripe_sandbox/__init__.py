"""A small Stripe that runs here: customers, meters, meter events with their 24 hours of identifiers, and faults.

Owns: the rules of Stripe that a sync of usage depends on, with a clock that a test moves, and the faults that a script
asks for. Does not own: anything that Tallymark does with Stripe; nothing in the pipeline imports this package but the
commands that start it. It is never used where a real key is set.
Start reading at `account` (what one account holds), then `meter_events` (what Stripe counts), `call` (one request from
limits and faults to its answer) and `server` (HTTP). Source: Stripe's API reference at version 2026-10-28.
"""
