"""The counts of stages by customer, before and after their input partitions are split.

Owns: what is known of each input partition, the counts of new and of split partitions, where the counts of ingest are.
Does not own: copying rows and records (customer_split), when counts become valid (raise_customers).

A new partition continues the offsets of the one that it was split off (`Counts.base`); its own counts begin at 0, so
that sums stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from pipeline.agents.customer_split import Split
from pipeline.agents.raise_conditions import lacks_changelog
from pipeline.engine import ledger
from pipeline.engine.chunk import Position
from pipeline.engine.ledger import Kept
from pipeline.engine.restore import Reader, Span
from pipeline.errors import Rejected
from pipeline.records import Counts
from pipeline.settings import Settings
from pipeline.stores.kafka import topic_ids, topics
from pipeline.stores.kafka.consumer_groups import group_of
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.writer import WrittenRecord

# The stages whose state is by customer or endpoint, with the input from which they build it.
OWNING = {
    "alert": "customer-usage",
    "billing": "billing-work",
    "stripe-sync": "stripe-work",
    "webhook": "webhook-work",
}
INGEST = "ingest-meta"

_encode = msgspec.json.Encoder().encode
_counts = msgspec.json.Decoder(Counts).decode

InputCounts = tuple[str, Counts, Mapping[str, str]]
"""The stage, counts of an input partition, the topic ids beside them."""


@dataclass(frozen=True)
class InputKept:
    """What is known of an input partition before it is split. unread: what its stage has not read."""

    stage: str
    kept: Kept
    unread: Span


def inputs_kept(
    settings: Settings, reader: Reader, declared: Mapping[str, Topic], before: int
) -> dict[Position, InputKept]:
    """What is known of each input partition. Raises Rejected if its stage has to run first."""
    found: dict[Position, InputKept] = {}
    for stage, topic in OWNING.items():
        own = topics.of_stage(declared, stage)
        lineage = topic_ids.read(settings, own).lineage(own)
        places = [Position(topic, partition) for partition in range(before)]
        committed = reader.committed(group_of(stage), [*places])
        for place in places:
            kept = ledger.read(reader, stage, place, f"{stage}-meta", place.partition, lineage)
            span = reader.span(*place)
            read = max(kept.counts.offset + 1 - kept.counts.base, 0)
            at = committed[place]
            is_behind = at is not None and at < read  # what is in the state would be read again
            if kept.is_new_input or lacks_changelog(stage, kept, lineage) or is_behind:
                raise Rejected(
                    "state-unsettled",
                    f"The state of {stage} in {place.topic}/{place.partition} is not settled: start the workers of "
                    f"{stage} once, and stop them.",
                )
            found[place] = InputKept(stage, kept, Span(max(span.first, read, at or 0), span.end))
    return found


def continued(
    reader: Reader, parents: Mapping[Position, InputKept], firsts: Mapping[Position, int], split: Split
) -> list[InputCounts]:
    """The counts with which each new partition begins."""
    counts: list[InputCounts] = []
    for place, one in parents.items():
        parent = one.kept.counts
        following = parent.base + one.unread.end
        for child in split.children(place.partition):
            end = reader.span(f"{one.stage}-changelog", child).end
            first = firsts[Position(place.topic, child)]
            begun = msgspec.structs.replace(
                parent,
                partition=child,
                offset=following - 1,
                counts={},
                base=following - first,
                changelog_end=end,
                table_since=end,
            )
            counts.append((one.stage, begun, one.kept.ids))
    return counts


def shrunk(reader: Reader, one: InputKept) -> Counts:
    """The counts of a split partition: a local table of before has rows that have moved, so it is restored."""
    counts = one.kept.counts
    end = reader.span(f"{one.stage}-changelog", counts.partition).end
    writes = None if counts.writes is None else counts.writes + 1
    return msgspec.structs.replace(counts, changelog_end=end, table_since=end, writes=writes)


def ingest_counts(reader: Reader, split: Split) -> list[WrittenRecord]:
    """The counts of ingest, whose inputs have any number of partitions: input partition n is kept in n % number."""
    written: list[WrittenRecord] = []
    for shard in range(split.before):
        newest: dict[bytes, bytes] = {}
        span = reader.span(INGEST, shard)
        for batch in reader.read(INGEST, shard, span.first, span.end):
            newest |= {one.key() or b"": one.value() or b"" for one in batch}
        ids = newest.pop(ledger.IDS_KEY, None)
        for key, value in newest.items():
            partition = _counts(value).partition
            if partition % split.before == shard and partition % split.now != shard:
                written.append(WrittenRecord(INGEST, value, key, partition % split.now))
        if ids is not None:
            written += [WrittenRecord(INGEST, ids, ledger.IDS_KEY, child) for child in split.children(shard)]
    return written


def written_counts(counts: Sequence[InputCounts]) -> list[WrittenRecord]:
    """The records of counts, as each stage writes them."""
    written: list[WrittenRecord] = []
    for stage, one, ids in counts:
        place, meta = Position(one.topic, one.partition), f"{stage}-meta"
        written += [
            WrittenRecord(meta, _encode(one), ledger.key_of(place), one.partition),
            WrittenRecord("counts", _encode(one), ledger.counts_key(stage, place), 0),
        ]
        if ids:
            written.append(WrittenRecord(meta, _encode(ids), ledger.IDS_KEY, one.partition))
    return written
