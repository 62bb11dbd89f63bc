"""Packed records: many events of one chunk, for the same partition, in one Kafka record.

Owns: the size limit of a packed record, and how its parts are joined. Does not own: the form of an event (records).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

PACK_BYTES = 1536 << 10  # limit of a record; a single event may have 1 MiB, and the topics allow 4 MiB


def slices(sizes: Sequence[int], limit: int = PACK_BYTES) -> Iterator[slice]:
    """Cut a sequence of parts, given by their sizes, into slices of at most `limit` bytes or of one part.

    >>> [(cut.start, cut.stop) for cut in slices([3, 3, 3, 9, 1], limit=6)]
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    if sizes and sum(sizes) <= limit:  # the common case
        yield slice(0, len(sizes))
        return
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
