"""The keys of marks: records behind which definitions of a revision hold.

Owns: these keys, which are stored in topics. Does not own: who sets marks and why (metering.backfill), or keeping to
them.
"""

from __future__ import annotations


def start_barrier(meter_id: int) -> bytes:
    """The key of the mark behind which every event is decided with the meter in force."""
    return b"meter/%d/start" % meter_id


def end_barrier(meter_id: int, shard: int) -> bytes:
    """The key of the mark behind everything that one shard of a backfill has written."""
    return b"meter/%d/end/%d" % (meter_id, shard)


def barrier_revision(mark: bytes) -> int:
    """The control revision that whoever passes the mark on must know."""
    return int(mark.split(b"/")[1])
