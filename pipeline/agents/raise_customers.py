"""Raises the number of partitions of the topics by customer: `tallymark topics raise --customer-partitions`.

Owns: the conditions, the order of the steps, and the switch. Does not own: what is copied and removed (customer_split),
the conditions of every raise (raise_conditions), the topics up to usage (raise_partitions).

1. `topic-ids` notes that a raise is in progress: no worker starts. Frozen writers are fenced.
2. New partitions get the state of the customers and endpoints that belong to them, and the records that were not read.
3. The switch: one transaction writes the counts of new partitions, the new numbers, and that a removal is to follow.
4. Tombstones remove it from the changelogs; the counts require that local tables of before are restored; workers start.

Before 3, the old number is valid; a killed run can be repeated, or given up with the old number. After it, a repetition
ends step 4. No worker runs from 1 to the end of 4, so nothing is ever live in two partitions, or in none.

A new partition continues the offsets of the one that it was split off (`Counts.base`): positions in state, bills and
balances stay comparable. What the split partition had not read is copied for the new one; what comes later, from a
process that knows the old number, its stage sends on (placement).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from pipeline.agents.customer_counts import (
    OWNING,
    InputCounts,
    InputKept,
    continued,
    ingest_counts,
    inputs_kept,
    shrunk,
    written_counts,
)
from pipeline.agents.customer_split import (
    PUBLISHED,
    ChangelogSplit,
    Split,
    clear_published,
    copy_published,
    copy_unread,
    remove_published,
)
from pipeline.agents.raise_conditions import (
    add_partitions,
    fence,
    require_stopped,
    workers_of,
)
from pipeline.agents.raise_partitions import RaisedPartitions, ReportRecords
from pipeline.agents.raise_writer import RaiseWriter
from pipeline.agents.state_owners import owners_of_stages
from pipeline.core.values.state_owners import StateOwners
from pipeline.engine.chunk import Position
from pipeline.engine.crash_points import define, reach
from pipeline.engine.ledger import NOTHING_YET
from pipeline.engine.restore import Reader
from pipeline.errors import Rejected, Unavailable
from pipeline.records import TopicId
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_ids, topics
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.topic_ids import CUSTOMERS
from pipeline.stores.kafka.writer import WrittenRecord

GROUP = "tallymark-raise-customers"  # required by the client, never joined
# The stages that write to topics by customer in transactions.
WRITERS = (*OWNING, "attribute", "ingest", "numbering", "control")
POINTS = define("raise.begun", "raise.copied", "raise.switched", "raise.removing", "raise.removed")
_encode = msgspec.json.Encoder().encode


def customer_topics(declared: Mapping[str, Topic]) -> tuple[str, ...]:
    """The topics whose number is the setting `partitions`, without those that may have any number."""
    return tuple(
        name for name, one in declared.items() if one.sharded and not one.raisable and not one.resizable
    )


def raise_customer_partitions(
    settings: Settings, number: int, progress: ReportRecords = lambda done, of: None
) -> RaisedPartitions:
    """Raise the number of partitions of every topic by customer. It may be repeated, also after it was killed.

    Args:
        settings: Of this installation; the settings `partitions` and `event_partitions` are not used.
        number: A multiple of the number now.
        progress: Called while state is copied.

    Raises:
        Rejected: The number cannot be reached, or stages run, or a raise of the other number was interrupted.
        Unavailable: Kafka does not answer. Run it again.
    """
    writer = RaiseWriter(settings)  # before anything is read: an earlier run changes nothing any more
    known = topic_ids.read(settings, ()).known
    topic_ids.require_not_raising(settings, CUSTOMERS)
    if OWNING["alert"] not in known:
        raise Rejected(
            "no-topics", "There are no topics yet: set `partitions`, then run `tallymark topics apply`."
        )
    before = known[OWNING["alert"]].partitions
    as_now = settings.model_copy(
        update={"partitions": before, "event_partitions": known["events-unique"].partitions}
    )
    declared = topics.load(as_now)
    names = customer_topics(declared)
    if number == before:
        _end(as_now, declared, writer)
        return RaisedPartitions(before, number, names, events=as_now.event_partitions)
    if number < before or number % before:
        raise Rejected(
            "bad-partitions",
            f"There are {before} partitions, and {number} is not a multiple of it: each of them is split into equal "
            f"parts, for example into {2 * before} in total.",
        )
    if wrong := [one for one in topics.differences(as_now)
                 if one.kind in (*topics.REFUSED, "missing", "unknown")]:  # fmt: skip
        raise Rejected("bad-topics", " ".join(one.sentence for one in wrong))
    require_stopped(as_now)
    marked = topic_ids.raising(as_now)
    if marked is not None and marked.splits:  # of a run that was killed after its switch
        _end(as_now, declared, writer)
    writer.commit([_marked(topic_ids.raising_record(number, CUSTOMERS))])
    reach("raise.begun")
    try:
        records = _prepare_and_switch(as_now, writer, known, declared, Split(before, number), progress)
    except Rejected:
        writer.commit([_marked(None)])
        raise
    _end(as_now, declared, writer)
    return RaisedPartitions(before, number, names, records, as_now.event_partitions)


def _prepare_and_switch(
    settings: Settings,
    writer: RaiseWriter,
    known: Mapping[str, TopicId],
    declared: Mapping[str, Topic],
    split: Split,
    progress: ReportRecords,
) -> int:
    require_stopped(settings)  # one that starts later refuses its partitions
    fence(settings, declared, WRITERS)
    names = customer_topics(declared)
    resizable = [name for name, one in declared.items() if one.sharded and one.resizable]
    with Reader(kafka.client_config(settings) | {"log_level": 0}, GROUP) as reader:
        ends = _ends(reader, split.before)
        parents = inputs_kept(settings, reader, declared, split.before)
        owners = owners_of_stages(settings, max(one.kept.counts.control_revision for one in parents.values()))
        add_partitions(settings, [*names, *resizable], split.now)
    config = kafka.client_config(settings) | {"log_level": 0}
    with Reader(config, GROUP) as reader:  # that knows of no earlier number
        copied = _copy(reader, writer, owners, split, progress)
        firsts = _copy_inputs(reader, writer, parents, split)
        counts = continued(reader, parents, firsts, split)
        require_stopped(settings)
        if _ends(reader, split.before) != ends:
            raise Unavailable(
                "A stage ran meanwhile. Stop the workers of every stage, and run the command again."
            )
        moved = ingest_counts(reader, split)
    reach("raise.copied")
    ids = _ids(known, names, counts, split.now)
    noted = [WrittenRecord(topic_ids.TOPIC, _encode(one), one.topic.encode(), 0) for one in ids]
    records = [*written_counts(counts), *moved, *noted]
    marked = topic_ids.raising_record(split.now, CUSTOMERS, switched_from=split.before)
    writer.commit([*records, _marked(marked)])
    reach("raise.switched")
    return copied


def _end(settings: Settings, declared: Mapping[str, Topic], writer: RaiseWriter) -> None:
    """End a raise: give it up before its switch; after it, remove what has moved, and let workers start."""
    marked = topic_ids.raising(settings)
    if marked is None or not marked.splits:
        # A run may have been killed after its end, or before its switch; then it is given up.
        if not workers_of(settings):
            fence(settings, declared, WRITERS)
            writer.commit([_marked(None)])
        return
    now, before, _ = marked.splits[0]
    split = Split(before, now)
    settings = settings.model_copy(update={"partitions": now})
    declared = topics.load(settings)
    fence(settings, declared, WRITERS)  # a worker that has just started, and has read the old number
    with Reader(kafka.client_config(settings) | {"log_level": 0}, GROUP) as reader:
        parents = inputs_kept(settings, reader, declared, before)
        owners = owners_of_stages(settings, max(one.kept.counts.control_revision for one in parents.values()))
        for stage, its in owners.items():
            rows = ChangelogSplit(reader, f"{stage}-changelog", its, split)
            rows.learn()
            for parent in range(before):
                rows.remove(writer, parent)
                reach("raise.removing")
        for topic in PUBLISHED:
            for parent in range(before):
                remove_published(reader, writer, topic, parent, split)
        counts = [
            (one.stage, shrunk(reader, one), one.kept.ids)
            for one in parents.values()
            if one.kept.counts.offset != NOTHING_YET
        ]
    reach("raise.removed")
    writer.commit([*written_counts(counts), _marked(None)])


def _marked(raising: TopicId | None) -> WrittenRecord:
    """The record that a raise is in progress, or that none is."""
    value = None if raising is None else _encode(raising)
    return WrittenRecord(topic_ids.TOPIC, value, topic_ids.RAISING.encode(), 0)


def _ends(reader: Reader, before: int) -> list[int]:
    """Of what a stage moves when it runs."""
    moved = [name for stage in OWNING for name in (f"{stage}-changelog", f"{stage}-meta")]
    return [reader.span(name, partition).end for name in moved for partition in range(before)]


def _copy(
    reader: Reader,
    writer: RaiseWriter,
    owners: Mapping[str, StateOwners],
    split: Split,
    progress: ReportRecords,
) -> int:
    """Copy the state of every stage, and what was published of it. Returns the number of rows."""
    spans = [
        reader.span(f"{stage}-changelog", partition) for stage in owners for partition in range(split.before)
    ]
    total, done, written = sum(span.end - span.first for span in spans), 0, 0

    def copied(records: int) -> None:
        nonlocal done
        done = min(done + records, total)
        progress(done, total)

    for stage, its in owners.items():
        rows = ChangelogSplit(reader, f"{stage}-changelog", its, split)
        rows.clear(writer)
        rows.learn()
        for parent in range(split.before):
            written += rows.copy(writer, parent, copied)
    for topic in PUBLISHED:
        clear_published(reader, writer, topic, split)
        for parent in range(split.before):
            copy_published(reader, writer, topic, parent, split)
    progress(total, total)
    return written


def _copy_inputs(
    reader: Reader, writer: RaiseWriter, parents: Mapping[Position, InputKept], split: Split
) -> dict[Position, int]:
    """Copy unread records. Returns the offset at which each new partition begins, behind those of interrupted runs."""
    firsts: dict[Position, int] = {}
    for place, one in parents.items():
        for child in split.children(place.partition):
            firsts[Position(place.topic, child)] = reader.span(place.topic, child).end
        copy_unread(reader, writer, place.topic, place.partition, one.unread, split)
    return firsts


def _ids(
    known: Mapping[str, TopicId], names: Sequence[str], counts: Sequence[InputCounts], number: int
) -> list[TopicId]:
    now_ms = time.time_ns() // 1_000_000
    before = known[OWNING["alert"]].partitions
    splits: dict[str, list[tuple[int, int, int]]] = {}
    for _, one, _ in counts:
        made = (one.partition, one.partition % before, one.offset + 1)
        splits.setdefault(one.topic, []).append(made)
    return [
        msgspec.structs.replace(
            known[name],
            partitions=number,
            splits=[*known[name].splits, *sorted(splits.get(name, ()))],
            at_ms=now_ms,
        )
        for name in names
    ]
