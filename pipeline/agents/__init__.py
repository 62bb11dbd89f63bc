"""The stages, one file each: a thin shell around its rules in core.

    ingest -> dedupe -> aggregate -> sink, attribute -> alert -> live, webhook        control, backfill beside them

Each module says what it reads, writes and keeps, and what it does when a chunk is read again. Its helpers carry its
name (`webhook_dispatch.py`, `alert_seeding.py`); `definitions.py`, `barriers.py` and `clock.py` serve several stages.

Owns: the order of steps within a chunk, and waiting for a service. Does not own: rules (core), transactions and state
(engine), processes (worker). To add a stage see README, "Work on it". Start at `dedupe.py`, the smallest.
"""
