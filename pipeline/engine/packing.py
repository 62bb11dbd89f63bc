"""Packed records: many events of one chunk that go to one partition, in one Kafka record.

Owns: how large a packed record may be and how its parts are joined. Does not own: what an event is (core, records).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

PACK_BYTES = 512 << 10  # a record; one event may be 1 MiB, and the topics allow 4 MiB


def slices(sizes: Sequence[int], limit: int = PACK_BYTES) -> Iterator[slice]:
    """Cut parts of these sizes in order, so that each cut holds at most `limit` bytes, or one part.

    >>> [(cut.start, cut.stop) for cut in slices([3, 3, 3, 9, 1], limit=6)]
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    start = total = 0
    for place, size in enumerate(sizes):
        if place > start and total + size > limit:
            yield slice(start, place)
            start, total = place, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def arrays(parts: Sequence[bytes], limit: int = PACK_BYTES) -> Iterator[bytes]:
    """JSON arrays of encoded parts, each array at most about `limit` bytes."""
    for cut in slices([len(part) for part in parts], limit):
        yield b"[" + b",".join(parts[cut]) + b"]"
