"""One input partition that this worker owns: its producer, its table, its counts and its position.

Owns: the order on assignment (fence, restore, and only then read the position) and on commit (outputs, changelog,
counts and offset in one transaction, RocksDB after it). Does not own: which worker owns a partition (stage), what is
counted (agents). Every call blocks and runs in a thread; a partition is used by one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pipeline.engine import ledger
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Position
from pipeline.engine.crash_points import reach
from pipeline.engine.ledger import NOTHING_YET, Kept
from pipeline.engine.lineage import Lineage, LineageRefused
from pipeline.engine.local_state import Restoration, open_table, refill
from pipeline.engine.producer import Headers, TransactionalProducer
from pipeline.engine.restore import Reader
from pipeline.engine.table import Restored, Table
from pipeline.errors import Broken, Unavailable
from pipeline.records import Counts

FETCH_BYTES = 1 << 20  # about 10,000 events of 250 bytes that are compressed
# Records that compress better than four to one are several chunks, so that memory is bounded.
CHUNK_BYTES = 4 << 20
FOLLOWED_S = 10.0  # a new owner may be a moment behind the definitions that the former owner had read
FOLLOWED_POLL_S = 0.05
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Spec:
    """What a stage stores and where: `meta` holds each partition's counts and offset, `changelog` its table, if any.

    `counts` is the topic on which every stage publishes its counts. A stage without `meta` stores nothing and commits
    through the consumer: its effects are idempotent. `stateless` inputs have no table. `gathers`: a fetch waits a
    moment for more records, so that a transaction holds more.
    `fetch_bytes`: as they are compressed, of each partition and fetch. `chunk_bytes`: of the values in a chunk.
    `shards`: how many partitions of meta and changelog are used; 0: as many as the inputs have. Partitions of an input
    beyond them stay empty, unless it is one of `resizable`: those have any number, and share the meta partitions.
    `state_version`: of the form of the state. It grows when the release before could not read what this one writes.
    Every earlier form can be read.
    """

    stage: str
    inputs: tuple[str, ...]
    meta: str | None = None
    changelog: Changelog | None = None
    counts: str = "counts"
    stateless: tuple[str, ...] = ()
    gathers: bool = True
    fetch_bytes: int = FETCH_BYTES
    chunk_bytes: int = CHUNK_BYTES
    shards: int = 0
    resizable: tuple[str, ...] = ()
    state_version: int = 1

    def shard(self, position: Position) -> int:
        """The partition of meta and changelog that belongs to an input partition."""
        return position.partition % self.shards if self.shards else position.partition

    def is_used(self, position: Position) -> bool:
        """Whether this input partition may hold records."""
        return not self.shards or position.topic in self.resizable or position.partition < self.shards

    def changelog_of(self, topic: str) -> Changelog | None:
        """The changelog of the table of this input; None: it has no table."""
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
    """Everything that one chunk commits."""

    next_offset: int  # where the next chunk begins
    last_offset: int  # of the chunk's last record
    outputs: list[Output] = field(default_factory=list)
    changes: Mapping[bytes, bytes | None] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # increments


@dataclass(frozen=True, slots=True)
class Cluster:
    """What partitions need to know about the cluster: client configuration, group and topic ids.

    replaced: ids of lost topics that an operator has given up, by topic. followed: the newest revision of the
    definitions that this process has loaded; it only grows, and is 0 if the stage uses no definitions. followed_s: how
    long to wait for the definitions with which the state was built.
    """

    kafka: Mapping[str, Any]
    group: str
    group_metadata: Any
    topic_ids: Mapping[str, str]
    replaced: Mapping[str, Collection[str]] = field(default_factory=dict)
    followed: Callable[[], int] = lambda: 0
    followed_s: float = FOLLOWED_S

    @property
    def lineage(self) -> Lineage:
        """The topic ids, to compare with those with which state was built."""
        return Lineage(self.topic_ids, self.replaced)


class Partition:
    """One input partition. Create it, call `fence` and `open`, then `commit` for each chunk, then `close`."""

    def __init__(self, spec: Spec, cluster: Cluster, position: Position, state_dir: Path) -> None:
        self.spec = spec
        self.position = position
        self.next_offset = NOTHING_YET
        self.table: Table | None = None
        self.restored_records = 0
        self._cluster = cluster
        self._lineage = cluster.lineage
        self._shard = spec.shard(position)
        self._path = state_dir / f"{position.topic}-{position.partition}"
        self._changelog = spec.changelog_of(position.topic)
        self._changelog_end = 0
        self._producer: TransactionalProducer | None = None
        self.counts = ledger.nothing(spec.stage, position, self._lineage.id_of(position.topic))

    @property
    def counted_offset(self) -> int:
        """Offset of the last record in the counts; a replayed record up to it is not counted twice."""
        return self.counts.offset

    def fence(self) -> None:
        """End the transactions of every former owner. Raises Unavailable.

        Only the owner may do it: done too late, it would end those of the next owner.
        """
        reach("assign.begin")
        if self.spec.meta is not None:
            self._producer = TransactionalProducer(self._cluster.kafka, self._cluster.group, self.position)
            reach("assign.fenced")

    def open(self) -> None:
        """Take the partition over, after `fence`.

        Raises Unavailable, or Broken if state and topics do not belong together.
        """
        with Reader(self._cluster.kafka, self._cluster.group) as reader:
            kept = Kept(self.counts, {})
            if self.spec.meta is not None:
                kept = self._read_counts(reader)
                self.counts = kept.counts
                self._require_version()
                self._require_definitions()
            restoration = self._restore(reader, kept)
            reach("restore.done")
            self.next_offset = self._start(reader, kept.is_new_input)
        if self._producer is not None:
            self._settle(kept, restoration)

    def commit(self, commit: Commit) -> None:
        """Commit a chunk: one transaction, then the local state. Raises Unavailable; the process must end then."""
        if self._producer is None:
            raise Broken(f"{self.spec.stage} commits {self.position} without a transactional producer")
        counts = self._counts_after(commit)
        self._producer.begin()
        reach("produce.before")
        for output in commit.outputs:
            self._producer.produce(output.topic, output.value, output.key, output.partition, output.headers)
        delivered = self._produce_changes(commit.changes) if self._changelog and commit.changes else None
        self._produce_counts(counts)
        reach("produce.after")
        self._producer.commit(commit.next_offset, self._cluster.group_metadata)
        reach("table.before")
        self._write(commit.changes, delivered, counts.writes)
        reach("table.after")
        self.counts = counts
        self.next_offset = commit.next_offset

    def commit_position(self, next_offset: int) -> None:
        """Move past transaction markers at the end of the partition, which are never delivered in a chunk."""
        if self._producer is not None:
            reach("markers.before")
            self._producer.begin()
            self._producer.commit(next_offset, self._cluster.group_metadata)
            reach("markers.after")
        self.next_offset = next_offset

    def has_lost_broker(self) -> bool:
        """Whether to call `renew` before the next commit."""
        return self._producer is not None and self._producer.has_lost_broker()

    def renew(self) -> None:
        """Replace the producer after the loss of a broker. Raises Unavailable, also if another worker took over.

        The new producer fences every other producer of this partition, so what is read after it cannot change.
        """
        self._producer = TransactionalProducer(self._cluster.kafka, self._cluster.group, self.position)
        assert self.spec.meta is not None
        place = (self.position.topic, self.position.partition)
        with Reader(self._cluster.kafka, self._cluster.group) as reader:
            kept = self._read_counts(reader)
            committed = reader.committed(self._cluster.group, [place])[place]
        self._require_unmoved(kept, committed not in (None, self.next_offset))

    def _read_counts(self, reader: Reader) -> Kept:
        assert self.spec.meta is not None
        return ledger.read(reader, self.spec.stage, self.position, self.spec.meta, self._shard, self._lineage)

    def _require_unmoved(self, kept: Kept, is_ahead: bool = False) -> None:
        """Raise Unavailable if the counts, or with is_ahead the committed offset, are another worker's."""
        if is_ahead or kept.counts.offset != self.counts.offset:
            raise Unavailable(
                f"another worker took over {self.position.topic}/{self.position.partition} while this one waited"
            )

    def close(self) -> None:
        if self.table is not None:
            self.table.close()
            self.table = None
        self._producer = None

    def _produce_counts(self, counts: Counts) -> None:
        assert self._producer is not None and self.spec.meta is not None
        encoded = _encode(counts)
        self._producer.produce(self.spec.meta, encoded, ledger.key_of(self.position), self._shard)
        self._producer.produce(
            self.spec.counts, encoded, ledger.counts_key(self.spec.stage, self.position), 0
        )

    def _produce_changes(self, changes: Mapping[bytes, bytes | None]) -> list[int] | None:
        """Queue the changelog records; the returned list receives the last one's offset on delivery."""
        assert self._producer is not None and self._changelog is not None
        last: list[int] = []
        topic = self._changelog.topic
        records = list(self._changelog.pack(changes))
        if not records:  # only entries that expire with the retention of the changelog
            return None
        for key, value in records[:-1]:
            self._producer.produce(topic, value, key, self._shard)
        key, value = records[-1]
        self._producer.produce(
            topic, value, key, self._shard, on_delivery=lambda _, message: last.append(message.offset() or 0)
        )
        return last

    def _write(
        self, changes: Mapping[bytes, bytes | None], delivered: list[int] | None, writes: int | None
    ) -> None:
        if self.table is None or not changes:
            return
        if delivered is not None:
            self._changelog_end = self._end_of(delivered)
        self.table.write(changes.items(), Restored(self._changelog_id(), self._changelog_end, writes))

    def _end_of(self, delivered: list[int]) -> int:
        if not delivered:
            raise Broken(f"a committed transaction of {self.position} reported no changelog offset")
        return delivered[0] + 1

    def _counts_after(self, commit: Commit) -> Counts:
        changed = bool(self._changelog and commit.changes)
        writes = self.counts.writes
        return msgspec.structs.replace(
            self.counts,
            offset=max(commit.last_offset, self.counts.offset),
            counts=ledger.added(self.counts, commit.counts),
            changelog_end=self._changelog_end,
            writes=(writes or 0) + 1 if changed else writes,
            control_revision=max(self.counts.control_revision, self._cluster.followed()),
            state_version=self.spec.state_version,
        )

    def _require_version(self) -> None:
        """Raise LineageRefused if a newer release has written state that this one cannot read."""
        written, readable = self.counts.state_version, self.spec.state_version
        if written > readable:
            raise LineageRefused(
                f"The state of {self.spec.stage} in {self.position.topic}/{self.position.partition} has version "
                f"{written}, but this release of Tallymark reads versions up to {readable}: run the release that wrote "
                "it, or a newer one."
            )

    def _require_definitions(self) -> None:
        """Raise LineageRefused if the loaded definitions are older than those with which the state was built."""
        required, deadline = self.counts.control_revision, time.monotonic() + self._cluster.followed_s
        while self._cluster.followed() < required:
            if time.monotonic() > deadline:
                raise LineageRefused(
                    f"{self.spec.stage} has used revision {required} of the definitions, but the topic holds only "
                    f"{self._cluster.followed()}: definitions are lost. `tallymark topics check` shows how to "
                    "recover."
                )
            time.sleep(FOLLOWED_POLL_S)

    def _restore(self, reader: Reader, kept: Kept) -> Restoration | None:
        if self._changelog is None:
            return None
        restoration = Restoration(
            self._path, self._changelog, self._shard, self._lineage, self.counts, kept.ids
        )
        self.table, self.restored_records = open_table(restoration, reader)
        if not restoration.needs_refill and (at := self.table.restored()) is not None:
            self._changelog_end = at.next_offset
        return restoration

    def _settle(self, kept: Kept, restoration: Restoration | None) -> None:
        """Write what the takeover has changed: a lost changelog, counts of a new input, the topic ids."""
        assert self._producer is not None and self.spec.meta is not None
        if restoration is not None and restoration.needs_refill:
            self._refill(restoration)
        ids = dict(self._cluster.topic_ids)
        if ids == dict(kept.ids) and self.counts == kept.counts and not kept.is_new_input:
            return
        self._producer.begin()
        if self.counts.offset != NOTHING_YET:
            self._produce_counts(self.counts)
        self._producer.produce(self.spec.meta, _encode(ids), ledger.IDS_KEY, self._shard)
        self._producer.commit(self.next_offset, self._cluster.group_metadata)

    def _refill(self, restoration: Restoration) -> None:
        assert self._producer is not None and self.table is not None
        for portion in refill(restoration, self.table):
            self._producer.begin()
            delivered = self._produce_changes(portion)
            self._producer.commit(self.next_offset, self._cluster.group_metadata)
            if delivered is not None:
                self._changelog_end = self._end_of(delivered)
        self.table.write((), Restored(self._changelog_id(), self._changelog_end, self.counts.writes))
        self.counts = msgspec.structs.replace(self.counts, changelog_end=self._changelog_end)

    def _start(self, reader: Reader, is_new_input: bool) -> int:
        """Where to continue: the committed offset, else the offset after the counts, else the beginning."""
        position = (self.position.topic, self.position.partition)
        span = reader.span(*position)
        if is_new_input:
            return span.first
        committed = reader.committed(self._cluster.group, [position])[position]
        counted = self.counts.offset + 1 - self.counts.base if self.counts.offset >= 0 else None
        start = next((one for one in (committed, counted) if one is not None), span.first)
        if not span.first <= start <= span.end:
            raise LineageRefused(
                f"{self.position.topic}/{self.position.partition} holds offsets {span.first} to {span.end}, but "
                f"{self.spec.stage} has read up to {start}: records were deleted before they were counted."
            )
        if self.spec.meta is not None and committed is not None and committed > (counted or 0):
            self._require_counted(reader, max(span.first, counted or 0), committed)
        return start

    def _require_counted(self, reader: Reader, counted: int, committed: int) -> None:
        """Raise LineageRefused if records lie between the counts and the committed offset, which move together.

        A worker that was frozen between reading the one and the other may find that another worker has moved both:
        that is Unavailable.
        """
        for batch in reader.read(self.position.topic, self.position.partition, counted, committed):
            if batch:
                self._require_unmoved(self._read_counts(reader))
                raise LineageRefused(
                    f"{self.spec.stage} has read {self.position.topic}/{self.position.partition} up to offset "
                    f"{committed}, but its counts end at {counted}: records of {self.spec.meta} are lost. "
                    "`tallymark topics check` shows how to recover."
                )

    def _changelog_id(self) -> str:
        assert self._changelog is not None
        return self._lineage.id_of(self._changelog.topic)
