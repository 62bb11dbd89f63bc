"""The meta topic's records of one input partition: its counts, and the ids of the topics that the stage depends on.

Owns: reading both, and the counts after a commit. Does not own: writing them (partition), which ids are right
(lineage). Offsets in the counts are those of the input plus `Counts.base`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from pipeline.engine.chunk import Position
from pipeline.engine.lineage import Lineage, recreated
from pipeline.engine.restore import Reader
from pipeline.records import Counts

NOTHING_YET = -1
IDS_KEY = b"topic-ids"

_decode_counts = msgspec.json.Decoder(Counts).decode
_decode_ids = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest counts of one input partition, and the topic ids beside them, which are empty before the first write.

    is_new_input: the input topic was lost, and the counts continue with its new topic, from the first record.
    """

    counts: Counts
    ids: Mapping[str, str]
    is_new_input: bool = False


def key_of(position: Position) -> bytes:
    """The key of a partition's counts on the meta topic."""
    return f"{position.topic}/{position.partition}".encode()


def counts_key(stage: str, position: Position) -> bytes:
    """The key of a partition's counts on the topic of all stages."""
    return f"{stage}/".encode() + key_of(position)


def nothing(stage: str, position: Position, incarnation: str) -> Counts:
    """The counts of a partition that was never read."""
    return Counts(stage, position.topic, position.partition, NOTHING_YET, incarnation, {}, writes=0)


def read(reader: Reader, stage: str, position: Position, meta: str, shard: int, lineage: Lineage) -> Kept:
    """Read the counts and ids of an input partition from partition `shard` of `meta`.

    Raises:
        LineageRefused: The counts belong to another topic, and no operator has given that one up.
        Unavailable: Kafka does not respond.
    """
    found: Counts | None = None
    ids: dict[str, str] = {}
    wanted = key_of(position)
    span = reader.span(meta, shard)
    for batch in reader.read(meta, shard, span.first, span.end):
        for message in batch:
            if message.key() == wanted:
                found = _decode_counts(message.value() or b"")
            elif message.key() == IDS_KEY:
                ids = _decode_ids(message.value() or b"{}")
    lineage.require(ids, stage)
    today = lineage.id_of(position.topic)
    if found is None:
        return Kept(nothing(stage, position, today), ids)
    if found.incarnation == today:
        return Kept(found, ids)
    if not lineage.is_given_up(position.topic, found.incarnation):
        raise recreated(position.topic, today, found.incarnation, stage)
    return Kept(msgspec.structs.replace(found, incarnation=today, base=found.offset + 1), ids, True)


def added(counts: Counts, more: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The counts plus those of a chunk, `more`."""
    sums = {namespace: dict(names) for namespace, names in counts.counts.items()}
    for namespace, names in more.items():
        into = sums.setdefault(namespace, {})
        for name, number in names.items():
            into[name] = into.get(name, 0) + number
    return sums
