"""Partitions of `events-unique`, which may have been split: in which one the record of a subject is.

Owns: this rule. Does not own: splitting (agents.raise_partitions).

When the number of partitions is raised, a new partition continues the offsets of the one whose subjects it takes over:
its offsets are higher than every offset of before. So an offset shows on which side of the split a record lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from pipeline.core.metering.identity import subject_hash

PartitionSplit = tuple[int, int, int]
"""A new partition: its number, that of the partition which it continues, and its first offset."""


class EventPartitions(NamedTuple):
    """How many partitions there are, and which of them were split off others, in the order of their numbers."""

    number: int = 1
    splits: tuple[PartitionSplit, ...] = ()

    def of(self, namespace: str, subject: str, offset: int) -> int:
        """The partition that holds the record of a subject with this offset.

        >>> now = EventPartitions(2, ((1, 0, 100),))
        >>> [now.of("default", "bob", offset) for offset in (99, 100)]
        [0, 1]
        """
        partition = _partition(namespace, subject, self.number)
        for continued, last in self.before(partition):
            if offset > last:
                break
            partition = continued
        return partition

    def before(self, partition: int) -> Iterator[tuple[int, int]]:
        """The partitions that one continues, newest first, each with the last offset that it has of the subjects."""
        while (split := self._split_of(partition))[2]:
            partition = split[1]
            yield partition, split[2] - 1

    def _split_of(self, partition: int) -> PartitionSplit:
        """Its split; one at offset 0 where nothing is before it."""
        return next((split for split in self.splits if split[0] == partition), (partition, partition, 0))


ONE_PARTITION = EventPartitions()


@lru_cache(1 << 14)
def _partition(namespace: str, subject: str, number: int) -> int:
    return subject_hash(namespace, subject) % number
