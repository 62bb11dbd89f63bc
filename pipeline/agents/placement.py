"""Records in a partition to which their customer or endpoint does not belong any more, since partitions were split.

Owns: that a stage applies only what belongs to the partition, and sends the rest on. Does not own: where a record
belongs (core.metering.partition_splits), whose it is (core.notifications.record_owners), the split (raise_customers).

Such a record was not read before the split, and the new partition has a copy of it; or a process wrote it later that
knew the number of before, such as an API that was not restarted.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.core.metering.partition_splits import ONE_PARTITION, EventPartitions
from pipeline.core.notifications.record_owners import window_owner
from pipeline.engine.chunk import Record
from pipeline.engine.transaction import Transaction
from pipeline.records import CustomerWindow

_encode = msgspec.json.Encoder().encode


class Placement:
    """What belongs to a partition of one topic. partitions: of the topic; without splits everything does."""

    def __init__(self, partitions: EventPartitions = ONE_PARTITION) -> None:
        self._partitions = partitions
        self._is_split = bool(partitions.splits)

    def windows(
        self, transaction: Transaction, record: Record, windows: Sequence[CustomerWindow]
    ) -> list[CustomerWindow]:
        """The windows of a record that belong to its partition; others are sent on."""
        if not self._is_split:
            return list(windows)
        chunk, mine = transaction.chunk, list[CustomerWindow]()
        others: dict[int, list[CustomerWindow]] = {}
        for one in windows:
            target = self._partitions.belongs(window_owner(one), chunk.partition, record.offset)
            if target == chunk.partition:
                mine.append(one)
            elif target is not None:
                others.setdefault(target, []).append(one)
        for target, found in others.items():
            transaction.send(chunk.topic, _encode(found), partition=target)
        return mine

    def keeps(self, transaction: Transaction, record: Record, owner: int | None) -> bool:
        """Whether a record belongs to its partition; one that does not is sent on.

        owner: whose it is; None: it concerns every partition.
        """
        if owner is None or not self._is_split:
            return True
        chunk = transaction.chunk
        target = self._partitions.belongs(owner, chunk.partition, record.offset)
        if target is not None and target != chunk.partition:
            transaction.send(chunk.topic, record.value, key=record.key, partition=target)
        return target == chunk.partition

    def spread(self, transaction: Transaction, record: Record) -> None:
        """Send a record that concerns every partition to those that were split off before it was written.

        A process that knows of them has written it to them too, so the stage must tolerate it twice.
        """
        chunk = transaction.chunk
        for child, parent, first in self._partitions.splits:
            if parent == chunk.partition and record.offset >= first:
                transaction.send(chunk.topic, record.value, key=record.key, partition=child)


EVERYTHING = Placement()
