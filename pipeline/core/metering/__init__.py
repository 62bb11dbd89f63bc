"""From an event to a window to the result of a usage query.

The way of an event, one module a step: `cloudevent.py` (the envelope), `event.py` (accepted, or refused with a reason),
`identity.py` and `dedupe.py` (first, duplicate or conflict), `meter.py` and `extract.py` (value and dimensions),
`combine.py` and `window_state.py` (events of a record, then the state of a minute), `aggregate.py` (both together, and
the fate of each event). Then `usage_query.py` and `usage_result.py` answer, `backfill.py` counts stored events for a
later meter, and `reconcile.py` compares the counts of all stages.

Does not own: balances (quota), who pays (customers), any topic or table (agents, stores). Start at `aggregate.py`.
"""
