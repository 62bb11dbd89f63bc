"""The state of customers and endpoints, moved from split partitions to new ones: what is copied, and removed later.

Owns: reading changelogs, inputs and published states, and writing each record where it belongs. Does not own: when a
raise begins and becomes valid (raise_customers), whose a row or a record is (core: state_owners, record_owners).

A new partition gets the rows of the owners that belong to it, the records of them that the stage has not read, and what
was published of them. After the switch, tombstones remove these rows and published states where they were. Both can be
repeated: what an interrupted run has copied is removed first, and unread records of it are skipped (`first`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pipeline.agents.raise_writer import RaiseWriter
from pipeline.core.metering.identity import customer_hash
from pipeline.core.notifications.delivery_table import endpoint_hash
from pipeline.core.notifications.record_owners import share_of
from pipeline.core.values.state_owners import StateOwners, Unowned
from pipeline.engine.restore import Reader, Span
from pipeline.errors import Rejected
from pipeline.records import Balance, Delivery
from pipeline.stores.kafka.writer import WrittenRecord

ChangelogRows = list[tuple[bytes, bytes | None]]
Copied = Callable[[int], object]
"""Called with the number of records that were read."""

_balance = msgspec.json.Decoder(Balance).decode
_delivery = msgspec.json.Decoder(Delivery).decode


def _of_balance(value: bytes) -> int:
    balance = _balance(value)
    return customer_hash(balance.namespace, balance.customer)


def _of_delivery(value: bytes) -> int:
    delivery = _delivery(value)
    return endpoint_hash(delivery.namespace, delivery.endpoint)


# Published states that readers need in the new partition: by topic, whose a state is. Documents of bills are not among
# them: their readers compare revisions.
PUBLISHED: Final[Mapping[str, Callable[[bytes], int]]] = {"balances": _of_balance, "deliveries": _of_delivery}


@dataclass(frozen=True)
class Split:
    """From `before` to `now` partitions; `now` is a multiple."""

    before: int
    now: int

    def children(self, parent: int) -> range:
        """The new partitions that continue one."""
        return range(self.before + parent, self.now, self.before)

    def moves(self, owner: int, parent: int) -> int | None:
        """The new partition to which an owner moves from a partition; None: it stays, or was never there."""
        target = owner % self.now
        return target if target != parent and owner % self.before == parent else None


def rows_of(reader: Reader, topic: str, partition: int, span: Span | None = None) -> Iterator[ChangelogRows]:
    """The records of a compacted partition with a key, in batches. span: None: all of them."""
    span = reader.span(topic, partition) if span is None else span
    for batch in reader.read(topic, partition, span.first, span.end):
        yield [(key, one.value()) for one in batch if (key := one.key()) is not None]


class ChangelogSplit:
    """The rows of one stage."""

    def __init__(self, reader: Reader, changelog: str, owners: StateOwners, split: Split) -> None:
        self._reader, self._topic, self._owners, self._split = reader, changelog, owners, split

    def learn(self) -> None:
        """Take the names of owners from every row; those that have moved already are in the new partitions."""
        for partition in range(self._split.now):
            for rows in rows_of(self._reader, self._topic, partition):
                for key, value in rows:
                    if value is not None:
                        self._owners.learn(key, value)

    def clear(self, writer: RaiseWriter) -> None:
        """Remove what an interrupted run has copied."""
        for partition in range(self._split.before, self._split.now):
            left: dict[bytes, bool] = {}
            for rows in rows_of(self._reader, self._topic, partition):
                left |= {key: value is not None for key, value in rows}
            writer.write(
                WrittenRecord(self._topic, None, key, partition) for key, is_there in left.items() if is_there
            )

    def copy(self, writer: RaiseWriter, parent: int, copied: Copied) -> int:
        """Write the rows of a partition to the new ones. Returns how many were written.

        Raises:
            Rejected: The owner of a row is not known.
        """
        unknown: dict[bytes, bool] = {}
        written = 0
        for rows in rows_of(self._reader, self._topic, parent):
            records: list[WrittenRecord] = []
            for key, value in rows:
                owner = self._owners.of(key)
                if owner is Unowned.UNKNOWN:
                    unknown[key] = value is not None
                records += [WrittenRecord(self._topic, value, key, one) for one in self._targets(key, parent)]
            writer.write(records)
            written += len(records)
            copied(len(rows))
        if lost := [key for key, is_there in unknown.items() if is_there]:
            raise Rejected(
                "unknown-owner",
                f"{self._topic}/{parent} holds {len(lost)} rows of which the owner is not known, such as "
                f"{lost[0][:40]!r}. Nothing was changed.",
            )
        return written

    def _targets(self, key: bytes, parent: int) -> list[int]:
        owner = self._owners.of(key)
        if isinstance(owner, Unowned):
            return list(self._split.children(parent)) if owner is Unowned.SHARED else []
        target = self._split.moves(owner, parent)
        return [] if target is None else [target]

    def remove(self, writer: RaiseWriter, parent: int) -> None:
        """Write a tombstone for each row that has moved from a partition."""
        for rows in rows_of(self._reader, self._topic, parent):
            moved = {
                key
                for key, _ in rows
                if isinstance(owner := self._owners.of(key), int)
                and self._split.moves(owner, parent) is not None
            }
            writer.write(WrittenRecord(self._topic, None, key, parent) for key in moved)


def copy_unread(
    reader: Reader, writer: RaiseWriter, topic: str, parent: int, unread: Span, split: Split
) -> None:
    """Write to the new partitions what a stage had not read of an input partition, as far as it concerns them."""
    for batch in reader.read(topic, parent, unread.first, unread.end):
        records: list[WrittenRecord] = []
        for one in batch:
            for child in split.children(parent):

                def is_mine(owner: int, child: int = child) -> bool:
                    return owner % split.now == child

                share = share_of(topic, one.key(), one.value() or b"", is_mine)
                if share is not None:
                    records.append(WrittenRecord(topic, share, one.key(), child))
        writer.write(records)


def copy_published(reader: Reader, writer: RaiseWriter, topic: str, parent: int, split: Split) -> None:
    """Write the published states that move to the new partitions."""
    for rows in rows_of(reader, topic, parent):
        writer.write(
            WrittenRecord(topic, value, key, target)
            for key, value in rows
            if value is not None and (target := split.moves(PUBLISHED[topic](value), parent)) is not None
        )


def clear_published(reader: Reader, writer: RaiseWriter, topic: str, split: Split) -> None:
    """Remove what an interrupted run has copied."""
    for partition in range(split.before, split.now):
        for rows in rows_of(reader, topic, partition):
            writer.write(
                WrittenRecord(topic, None, key, partition) for key, value in rows if value is not None
            )


def remove_published(reader: Reader, writer: RaiseWriter, topic: str, parent: int, split: Split) -> None:
    """Write a tombstone for each published state that has moved from a partition."""
    for rows in rows_of(reader, topic, parent):
        writer.write(
            WrittenRecord(topic, None, key, parent)
            for key, value in rows
            if value is not None and split.moves(PUBLISHED[topic](value), parent) is not None
        )
