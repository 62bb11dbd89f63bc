"""Raises the number of partitions of the topics up to usage, with the state in them: `tallymark topics raise`.

Owns: the conditions, what is copied, and the order in which it becomes valid. Does not own: where the record of a
subject is afterwards (core.metering.partition_splits), the declarations (`raisable` in `topics/*.toml`), calls to the
cluster (stores.kafka.topic_admin).

The new number is a multiple of the old one, so that each new partition takes over subjects and identities of exactly
one old partition. It gets a copy of that partition's state, and continues its offsets (`Counts.base`), so that every
position which state, windows or bills have compared stays comparable. The counts of the old partition stay where they
are, and those of the new one begin at 0, so that sums stay the same.

No stage runs meanwhile, and each has read its input: a record that was written by the old number would be looked up in
the wrong partition. Writers that were frozen are fenced. The new partitions become valid by one transaction, which
writes their counts and the new numbers in `topic-ids`. Before it, the old number is valid, and no worker starts: an
interrupted run changes nothing else, and can be repeated; with the old number, it is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import msgspec
from confluent_kafka import KafkaException, Producer

from pipeline.agents.dedupe import CHANGELOG as IDENTITIES
from pipeline.core.metering.dedupe import pack_entries, unpack_entries
from pipeline.core.metering.identity import identity_hash
from pipeline.engine import ledger
from pipeline.engine.chunk import Position
from pipeline.engine.lineage import Lineage
from pipeline.engine.producer import OPTIONS, TransactionalProducer
from pipeline.engine.restore import Reader
from pipeline.errors import Rejected, Unavailable
from pipeline.records import Backfill, Counts, TopicId
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import consumer_groups, topic_admin, topic_ids, topics
from pipeline.stores.kafka.consumer_groups import group_of
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

GROUP = "tallymark-raise"  # required by the client, never joined; also the transactional id
WRITE_S = 60.0
COMMIT_S = 60.0
FENCED_AT_ONCE = 8
# The stages whose state is by subject or identity, with the input by whose partitions it is.
COUNTING = {"dedupe": "events-accepted", "aggregate": "events-unique", "attribute": "usage"}
# The stages that write to these topics in transactions.
WRITERS = (*COUNTING, "ingest", "backfill", "control")
OVER = ("done", "stopped")  # states of a backfill

_encode = msgspec.json.Encoder().encode
_backfill = msgspec.json.Decoder(Backfill).decode

ReportRecords = Callable[[int, int], object]
"""Called with the number of records that were copied, and about how many there are."""


@dataclass(frozen=True)
class RaisedPartitions:
    """before, now: numbers of partitions. topics: that have them. records: of state that were copied."""

    before: int
    now: int
    topics: tuple[str, ...]
    records: int = 0


def raise_partitions(
    settings: Settings, number: int, progress: ReportRecords = lambda done, of: None
) -> RaisedPartitions:
    """Raise the number of partitions of every raisable topic. It may be repeated, also after it was killed.

    Args:
        settings: Of this installation; the setting `event_partitions` is not used.
        number: A multiple of the number now.
        progress: Called while state is copied.

    Raises:
        Rejected: The number cannot be reached, or stages run, have unread input, or a backfill is in progress.
        Unavailable: Kafka does not answer. Run it again.
    """
    known = topic_ids.read(settings, ()).known
    before = _number_now(known)
    declared = topics.load(settings.model_copy(update={"event_partitions": before}))
    raisable = tuple(name for name, topic in declared.items() if topic.raisable)
    if number == before:
        # An earlier run may have been killed after its commit, or before it; then it is given up.
        if not _workers(settings):
            _fence(settings, declared)
            topic_ids.end_raising(settings)
        return RaisedPartitions(before, number, raisable)
    if number < before or number % before:
        raise Rejected(
            "bad-partitions",
            f"There are {before} partitions, and {number} is not a multiple of it: each of them is split into equal "
            f"parts, for example into {2 * before} in total.",
        )
    if wrong := [one for one in topics.differences(settings.model_copy(update={"event_partitions": before}))
                 if one.kind in (*topics.REFUSED, "missing", "unknown")]:  # fmt: skip
        raise Rejected("bad-topics", " ".join(one.sentence for one in wrong))
    _require_stopped(settings)
    topic_ids.begin_raising(settings, number)
    try:
        ends, kept = _require_still(settings, declared, before)
    except Rejected:
        topic_ids.end_raising(settings)
        raise
    _add(settings, raisable, number)
    config = kafka.client_config(settings) | {"log_level": 0}
    with Reader(config, GROUP) as reader:  # one that knows of no earlier number
        records = _copy(settings, reader, before, number, progress)
        counts, splits = _continued(reader, kept, before, number)
        _require_stopped(settings)
        if _ends(reader, before) != ends:
            raise Unavailable(
                "A stage ran meanwhile. Stop the workers of every stage, and run the command again."
            )
    _commit(settings, known, counts, splits, raisable, number)
    _fence(settings, declared)  # a worker that has just started, and has read the old number
    return RaisedPartitions(before, number, raisable, records)


def _number_now(known: Mapping[str, TopicId]) -> int:
    if COUNTING["aggregate"] not in known:
        raise Rejected(
            "no-topics", "There are no topics yet: set `partitions`, then run `tallymark topics apply`."
        )
    return known[COUNTING["aggregate"]].partitions


def _workers(settings: Settings) -> list[str]:
    """The ids of the workers that run."""
    return sorted(consumer_groups.members(kafka.admin(settings), settings, STAGES))


def _require_stopped(settings: Settings) -> None:
    if found := _workers(settings):
        raise Rejected(
            "stages-run",
            f"{len(found)} workers run, such as {found[0]}: stop the workers of every stage first. A worker that was "
            f"killed leaves after {settings.session_timeout_s:g} s.",
        )


def _fence(settings: Settings, declared: Mapping[str, Topic]) -> None:
    """End the transactions of workers that were killed or frozen, so that none of them writes any more."""
    config = kafka.client_config(settings) | {"log_level": 0}
    on_cluster = kafka.cluster(settings).topics
    existing = {name: len(found.partitions) for name, found in on_cluster.items()}
    for stage in WRITERS:
        places = input_places(consumer_groups.input_topics(settings, stage), declared, existing)
        with ThreadPoolExecutor(FENCED_AT_ONCE) as threads:
            list(threads.map(partial(TransactionalProducer, config, group_of(stage)), places))


def input_places(
    names: Sequence[str], declared: Mapping[str, Topic], existing: Mapping[str, int]
) -> list[Position]:
    """The partitions of these topics that workers read: those declared, or all where any number is allowed.

    Args:
        names: Of topics.
        declared: With the number that is valid.
        existing: How many partitions each topic has on the cluster.
    """
    used = {name: existing[name] if declared[name].resizable else declared[name].partitions for name in names}
    return [Position(name, partition) for name in names for partition in range(used[name])]


def _require_still(
    settings: Settings, declared: Mapping[str, Topic], before: int
) -> tuple[list[int], KeptCounts]:
    """The ends of what stages write, and the counts. Raises Rejected unless they have read all, and none runs."""
    _require_stopped(settings)  # one that starts later refuses its partitions
    _fence(settings, declared)
    with Reader(kafka.client_config(settings) | {"log_level": 0}, GROUP) as reader:
        ends = _ends(reader, before)  # before the conditions: what changes them later also moves an end
        _require_quiet(settings)
        _require_no_backfill(reader, before)
        return ends, _kept_counts(settings, reader, declared, before)


def _require_quiet(settings: Settings) -> None:
    unread = {
        stage: number for stage, number in consumer_groups.lag(settings, tuple(COUNTING)).items() if number
    }
    if unread:
        listed = ", ".join(f"{stage} {number}" for stage, number in unread.items())
        raise Rejected(
            "unread-records",
            f"Stages have unread records: {listed}. Run every stage but ingest until `tallymark status` shows a lag of "
            "0 for dedupe, aggregate and attribute, then stop them. Events wait in their topics meanwhile.",
        )


def _require_no_backfill(reader: Reader, before: int) -> None:
    newest: dict[bytes, Backfill] = {}
    for partition in range(before):
        span = reader.span("backfill-work", partition)
        for batch in reader.read("backfill-work", partition, span.first, span.end):
            newest |= {one.key() or b"": _backfill(value) for one in batch if (value := one.value())}
    running = sorted({one.meter for one in newest.values() if one.state not in OVER})
    if running:
        raise Rejected(
            "backfill-runs",
            f"The backfill of the meter {running[0]} is in progress: start the stages again, and wait until `tallymark "
            f"meters backfill {running[0]}` shows that it is done.",
        )


def _add(settings: Settings, names: Sequence[str], number: int) -> None:
    """Add partitions where there are fewer, and return when each has a leader."""
    found = kafka.cluster(settings).topics
    topic_admin.add_partitions(
        settings, {name: number for name in names if len(found[name].partitions) < number}
    )
    deadline = time.monotonic() + topics.TIMEOUT_S
    while True:
        found = kafka.cluster(settings).topics
        if all(_is_ready(list(found[name].partitions.values()), number) for name in names):
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"The new partitions have no leader after {topics.TIMEOUT_S:g} s.")
        time.sleep(0.05)


def _is_ready(partitions: Sequence[object], number: int) -> bool:
    return len(partitions) >= number and all(one.leader >= 0 for one in partitions)  # type: ignore[attr-defined]


def _ends(reader: Reader, before: int) -> list[int]:
    """Of what a stage moves when it runs."""
    moved = [
        name for stage, topic in COUNTING.items() for name in (topic, f"{stage}-changelog", f"{stage}-meta")
    ]
    return [reader.span(name, partition).end for name in moved for partition in range(before)]


def _copy(settings: Settings, reader: Reader, before: int, number: int, progress: ReportRecords) -> int:
    """Copy the changelog of each partition to those that continue it. Records that are copied again replace themselves.

    What belongs to subjects of another partition is never looked up, and leaves with the horizon.
    """
    places = [(f"{stage}-changelog", partition) for stage in COUNTING for partition in range(before)]
    spans = {place: reader.span(*place) for place in places}
    total, done, copied = sum(span.end - span.first for span in spans.values()), 0, 0
    with KafkaWriter(settings, "copies of state", WRITE_S) as writer:
        for (changelog, parent), span in spans.items():
            children = range(before + parent, number, before)
            for batch in reader.read(changelog, parent, span.first, span.end):
                records = [(one.key(), one.value()) for one in batch]
                writer.write(
                    WrittenRecord(changelog, value, key, child)
                    for child in children
                    for key, value in _kept(changelog, records, child, number)
                )
                copied += len(records) * len(children)
                progress(done + (batch[-1].offset() or 0) + 1 - span.first, total)
            done += span.end - span.first
            progress(done, total)
    return copied


ChangelogRecord = tuple[bytes | None, bytes | None]


def _kept(
    changelog: str, records: Sequence[ChangelogRecord], partition: int, number: int
) -> Iterator[ChangelogRecord]:
    """What a partition needs of these records. Of identities only its own, since they are looked up for 33 days."""
    if changelog != IDENTITIES.topic:
        yield from records
        return
    for _, value in records:
        mine = [one for one in unpack_entries(value or b"") if identity_hash(one[0]) % number == partition]
        if mine:
            yield None, pack_entries(mine)


KeptCounts = Mapping[Position, tuple[str, ledger.Kept]]
"""By partition of an input: the stage, its counts, and the topic ids beside them."""
StageCounts = tuple[str, Counts, Mapping[str, str]]
"""The stage, counts of a new partition, the topic ids beside them."""


def _kept_counts(
    settings: Settings, reader: Reader, declared: Mapping[str, Topic], before: int
) -> KeptCounts:
    """The counts of every partition. Raises Rejected if a changelog was recreated, and is not written again yet."""
    found: dict[Position, tuple[str, ledger.Kept]] = {}
    for stage, topic in COUNTING.items():
        own = topics.of_stage(declared, stage)
        lineage = topic_ids.read(settings, own).lineage(own)
        for place in (Position(topic, partition) for partition in range(before)):
            kept = ledger.read(reader, stage, place, f"{stage}-meta", place.partition, lineage)
            found[place] = stage, kept
            if lacks_changelog(stage, kept, lineage):
                raise Rejected(
                    "changelog-empty",
                    f"{stage}-changelog was recreated: start the workers of {stage} once, so that they write it again.",
                )
    return found


def lacks_changelog(stage: str, kept: ledger.Kept, lineage: Lineage) -> bool:
    """Whether the stage's changelog was recreated, and this partition's state is not written to it yet."""
    name = f"{stage}-changelog"
    return kept.counts.offset != ledger.NOTHING_YET and lineage.is_given_up(name, kept.ids.get(name, ""))


def _continued(
    reader: Reader, kept: KeptCounts, before: int, number: int
) -> tuple[list[StageCounts], dict[str, list[tuple[int, int, int]]]]:
    """The counts with which each new partition begins, and its split by input topic."""
    counts: list[StageCounts] = []
    splits: dict[str, list[tuple[int, int, int]]] = {topic: [] for topic in COUNTING.values()}
    for topic in COUNTING.values():
        for partition in range(before, number):
            parent = Position(topic, partition % before)
            stage, found = kept[parent]
            base = found.counts.base + reader.span(*parent).end
            splits[topic].append((partition, parent.partition, base))
            if found.counts.offset != ledger.NOTHING_YET:
                counts.append((stage, _begun(reader, stage, found.counts, partition, base), found.ids))
    return counts, splits


def _begun(reader: Reader, stage: str, parent: Counts, partition: int, base: int) -> Counts:
    return msgspec.structs.replace(
        parent,
        partition=partition,
        offset=base - 1,
        counts={},
        base=base,
        changelog_end=reader.span(f"{stage}-changelog", partition).end,
    )


def _commit(
    settings: Settings,
    known: Mapping[str, TopicId],
    counts: Sequence[StageCounts],
    splits: Mapping[str, Sequence[tuple[int, int, int]]],
    names: Sequence[str],
    number: int,
) -> None:
    """Make the new number valid, in one transaction."""
    now_ms = time.time_ns() // 1_000_000
    config = kafka.client_config(settings) | dict(OPTIONS) | {"log_level": 0, "transactional.id": GROUP}
    try:
        producer = Producer(config)
        producer.init_transactions(COMMIT_S)
        producer.begin_transaction()
        for stage, one, ids in counts:
            place = Position(one.topic, one.partition)
            producer.produce(f"{stage}-meta", _encode(one), ledger.key_of(place), one.partition)
            producer.produce("counts", _encode(one), ledger.counts_key(stage, place), 0)
            producer.produce(f"{stage}-meta", _encode(ids), ledger.IDS_KEY, one.partition)
        for name in names:
            added = [*known[name].splits, *splits.get(name, ())]
            made = msgspec.structs.replace(known[name], partitions=number, splits=added, at_ms=now_ms)
            producer.produce(topic_ids.TOPIC, _encode(made), name.encode(), 0)
        producer.produce(topic_ids.TOPIC, None, topic_ids.RAISING.encode(), 0)
        producer.commit_transaction(COMMIT_S)
    except KafkaException as error:
        raise kafka.unavailable(settings, error) from error
