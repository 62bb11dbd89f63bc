"""The stages, one file each: a thin shell around its rules in core.

    ingest -> dedupe -> aggregate -> sink, attribute -> alert -> live, webhook        and besides: control, backfill

The docstring of each module lists what it reads, writes and keeps, and what happens when a chunk is read again. Modules
that help a stage begin with its name (`webhook_dispatch.py`, `alert_seeding.py`); `definitions.py`, `barriers.py` and
`clock.py` are shared by several stages.

Owns: the order of steps within a chunk, and waiting for a service. Does not own: rules (core), transactions and state
(engine), processes (worker). To add a stage see pipeline/README.md, "Work on it". Start at `dedupe.py`, the smallest.
"""
