"""The keys of barriers: records in a stream behind which the definitions of a control revision hold.

Owns: these keys, which are stored in topics. Does not own: who writes barriers and why (metering.backfill), or waiting
at one (agents.barriers).
"""

from __future__ import annotations


def start_barrier(meter_id: int) -> bytes:
    """The key of the barrier behind which every event is decided with the meter in force."""
    return b"meter/%d/start" % meter_id


def end_barrier(meter_id: int, shard: int) -> bytes:
    """The key of the barrier behind everything that one shard of a backfill has written."""
    return b"meter/%d/end/%d" % (meter_id, shard)


def barrier_revision(barrier: bytes) -> int:
    """The control revision that a worker must have loaded before it reads on.

    >>> barrier_revision(end_barrier(7, 3))
    7
    """
    return int(barrier.split(b"/")[1])
