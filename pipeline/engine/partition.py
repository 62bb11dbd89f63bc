"""One input partition that this worker owns: its producer, its table, its counts and its position.

Owns: the order on assignment (fence, restore, only then the position) and on commit (outputs, changelog, counts and
offset in one transaction; RocksDB after it). Does not own: who is assigned (stage), what is counted (agents).
Everything here blocks and runs in a thread, one at a time a partition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Message

from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Position
from pipeline.engine.crash_points import reach
from pipeline.engine.producer import Headers, TransactionalProducer
from pipeline.engine.restore import Reader
from pipeline.engine.table import Damaged, Item, Restored, Table
from pipeline.errors import Broken
from pipeline.records import Counts

NOTHING_YET = -1
_decode_counts = msgspec.json.Decoder(Counts).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Spec:
    """What a stage keeps: `meta` holds each partition's counts and offset, `changelog` its table, if it has one.

    `counts` is the topic on which every stage publishes its counts. A stage without `meta` keeps nothing and commits
    through the consumer: its effects are idempotent. `stateless` inputs have no table beside them. `gathers`: a fetch
    waits a moment for further records, so that a transaction holds more.
    """

    stage: str
    inputs: tuple[str, ...]
    meta: str | None = None
    changelog: Changelog | None = None
    counts: str = "counts"
    stateless: tuple[str, ...] = ()
    gathers: bool = True

    def changelog_of(self, topic: str) -> Changelog | None:
        """Where the table beside this input is; None: it has none."""
        return None if topic in self.stateless else self.changelog


@dataclass(slots=True)
class Output:
    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int = -1
    headers: Headers | None = None


@dataclass(slots=True)
class Commit:
    """All that one chunk becomes."""

    next_offset: int  # where the next chunk begins
    last_offset: int  # of the chunk's last record
    outputs: list[Output] = field(default_factory=list)
    changes: Mapping[bytes, bytes | None] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # to be added


@dataclass(frozen=True, slots=True)
class Cluster:
    """What partitions need to know of the cluster: client configuration, group and the topics' ids."""

    kafka: Mapping[str, Any]
    group: str
    group_metadata: Any
    topic_ids: Mapping[str, str]


class Partition:
    """State of one input partition. Create, then `open`, then `commit` chunk after chunk, then `close`."""

    def __init__(self, spec: Spec, cluster: Cluster, position: Position, state_dir: Path) -> None:
        self.spec = spec
        self.position = position
        self.next_offset = NOTHING_YET
        self.table: Table | None = None
        self.restored_records = 0
        self._cluster = cluster
        self._path = state_dir / f"{position.topic}-{position.partition}"
        self._changelog = spec.changelog_of(position.topic)
        self._producer: TransactionalProducer | None = None
        self.counts = self._no_counts()

    @property
    def counted_offset(self) -> int:
        """Records up to here are in the counts; the second lock for them."""
        return self.counts.offset

    def open(self) -> None:
        """Take the partition over. Raises Unavailable, or Broken if state and input do not belong together."""
        reach("assign.begin")
        if self.spec.meta is not None:
            self._producer = TransactionalProducer(self._cluster.kafka, self._cluster.group, self.position)
            reach("assign.fenced")
        with Reader(self._cluster.kafka, self._cluster.group) as reader:
            if self.spec.meta is not None:
                self.counts = self._read_counts(reader, self.spec.meta)
            if self._changelog is not None:
                self._restore(reader, self._changelog)
            reach("restore.done")
            self.next_offset = self._start(reader)

    def commit(self, commit: Commit) -> None:
        """Make a chunk true: one transaction, then the local state. Raises Unavailable; the process must end then."""
        if self._producer is None:
            raise Broken(f"{self.spec.stage} commits {self.position} without a transactional producer")
        counts = self._added(commit)
        self._producer.begin()
        reach("produce.before")
        for output in commit.outputs:
            self._producer.produce(output.topic, output.value, output.key, output.partition, output.headers)
        delivered = self._produce_changes(commit.changes) if self._changelog and commit.changes else None
        encoded = _encode(counts)
        name = f"{self.position.topic}/{self.position.partition}"
        assert self.spec.meta is not None
        self._producer.produce(self.spec.meta, encoded, name.encode(), self.position.partition)
        self._producer.produce(self.spec.counts, encoded, f"{self.spec.stage}/{name}".encode(), 0)
        reach("produce.after")
        self._producer.commit(commit.next_offset, self._cluster.group_metadata)
        reach("table.before")
        self._write(commit.changes, delivered)
        reach("table.after")
        self.counts = counts
        self.next_offset = commit.next_offset

    def commit_position(self, next_offset: int) -> None:
        """Move past transaction markers that no chunk will ever bring."""
        if self._producer is not None:
            reach("markers.before")
            self._producer.begin()
            self._producer.commit(next_offset, self._cluster.group_metadata)
            reach("markers.after")
        self.next_offset = next_offset

    def close(self) -> None:
        if self.table is not None:
            self.table.close()
            self.table = None
        self._producer = None

    def _produce_changes(self, changes: Mapping[bytes, bytes | None]) -> list[int] | None:
        """Queue the changelog records; the list gets the last one's offset when it is delivered."""
        assert self._producer is not None and self._changelog is not None
        last: list[int] = []
        topic, partition = self._changelog.topic, self.position.partition
        records = list(self._changelog.pack(changes))
        if not records:  # only what expires with the changelog's own retention
            return None
        for key, value in records[:-1]:
            self._producer.produce(topic, value, key, partition)
        key, value = records[-1]
        self._producer.produce(
            topic, value, key, partition, on_delivery=lambda _, message: last.append(message.offset() or 0)
        )
        return last

    def _write(self, changes: Mapping[bytes, bytes | None], delivered: list[int] | None) -> None:
        if self.table is None or not changes:
            return
        if delivered is None:
            self.table.write(changes.items(), self.table.restored() or Restored(self._changelog_id(), 0))
            return
        if not delivered:
            raise Broken(f"a committed transaction of {self.position} reported no changelog offset")
        self.table.write(changes.items(), Restored(self._changelog_id(), delivered[0] + 1))

    def _added(self, commit: Commit) -> Counts:
        counts = {namespace: dict(names) for namespace, names in self.counts.counts.items()}
        for namespace, names in commit.counts.items():
            into = counts.setdefault(namespace, {})
            for name, number in names.items():
                into[name] = into.get(name, 0) + number
        offset = max(commit.last_offset, self.counts.offset)
        return msgspec.structs.replace(self.counts, offset=offset, counts=counts)

    def _no_counts(self) -> Counts:
        topic, partition = self.position
        return Counts(
            self.spec.stage, topic, partition, NOTHING_YET, self._cluster.topic_ids.get(topic, ""), {}
        )

    def _read_counts(self, reader: Reader, meta: str) -> Counts:
        """The newest counts of this partition. Its input must be the topic that they were made from."""
        span = reader.span(meta, self.position.partition)
        name = f"{self.position.topic}/{self.position.partition}".encode()
        found = self._no_counts()
        for batch in reader.read(meta, self.position.partition, span.first, span.end):
            for message in batch:
                if message.key() == name:
                    found = _decode_counts(message.value() or b"")
        known = self._cluster.topic_ids.get(self.position.topic, "")
        if found.incarnation != known:
            raise Broken(
                f"topic {self.position.topic} was made anew (id {known}, the state of {self.spec.stage} comes from "
                f"{found.incarnation}): its offsets say nothing about this state. Remove the state topics too."
            )
        return found

    def _restore(self, reader: Reader, changelog: Changelog) -> None:
        """Bring the local table up to the end of its changelog; a table that cannot be trusted is made anew."""
        span = reader.span(changelog.topic, self.position.partition)
        self.table = _open_or_remove(self._path)
        local = self.table.restored()
        if local is not None and (local.changelog_id != self._changelog_id() or local.next_offset > span.end):
            self.table.close()
            Table.remove(self._path)
            self.table, local = Table(self._path), None
        start = max(span.first, local.next_offset if local else 0)
        for batch in reader.read(changelog.topic, self.position.partition, start, span.end):
            self._apply(changelog, batch)
            reach("restore.half")

    def _apply(self, changelog: Changelog, batch: list[Message]) -> None:
        assert self.table is not None
        items: list[Item] = []
        for message in batch:
            items.extend(changelog.unpack(message.key(), message.value()))
        self.table.write(items, Restored(self._changelog_id(), (batch[-1].offset() or 0) + 1))
        self.restored_records += len(batch)

    def _start(self, reader: Reader) -> int:
        """Where to read on: the committed offset, else behind the counts, else the beginning."""
        position = (self.position.topic, self.position.partition)
        committed = reader.committed(self._cluster.group, [position])[position]
        span = reader.span(*position)
        if committed is None:
            committed = self.counts.offset + 1 if self.counts.offset >= 0 else span.first
        if not span.first <= committed <= span.end:
            raise Broken(
                f"{self.position.topic}/{self.position.partition} holds offsets {span.first} to {span.end}, and "
                f"{self.spec.stage} has read up to {committed}: records went before they were counted."
            )
        return committed

    def _changelog_id(self) -> str:
        assert self._changelog is not None
        return self._cluster.topic_ids.get(self._changelog.topic, "")


def _open_or_remove(path: Path) -> Table:
    """A damaged database is no loss: its changelog has everything."""
    try:
        return Table(path)
    except Damaged:
        Table.remove(path)
        return Table(path)
