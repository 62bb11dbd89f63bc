"""One partition's table on this machine: whether it can be trusted, and how it catches up with its changelog.

Owns: the treatment of a table that is damaged, belongs to another changelog, or is ahead of it, with a log line for
each. Does not own: the database (table), the changelog's format (changelog), reading a topic (restore).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Message

from pipeline.engine.changelog import Changelog
from pipeline.engine.crash_points import reach
from pipeline.engine.ledger import NOTHING_YET
from pipeline.engine.lineage import Lineage, LineageRefused
from pipeline.engine.restore import Reader, Span
from pipeline.engine.table import Damaged, Item, Restored, Table
from pipeline.records import Counts

log = logging.getLogger("tallymark.engine")

REFILL_KEYS = 5_000  # keys per transaction when a lost changelog is rewritten from a table


@dataclass(frozen=True, slots=True)
class Restoration:
    """What a table must agree with. ids: those stored with the counts. shard: the partition of the changelog."""

    path: Path
    changelog: Changelog
    shard: int
    lineage: Lineage
    counts: Counts
    ids: Mapping[str, str]

    @property
    def changelog_id(self) -> str:
        return self.lineage.id_of(self.changelog.topic)

    @property
    def needs_refill(self) -> bool:
        """Whether the changelog was lost and its new topic must be written from a table first."""
        kept = self.ids.get(self.changelog.topic, self.changelog_id)
        return self.counts.offset != NOTHING_YET and self.lineage.is_given_up(self.changelog.topic, kept)


def open_table(wanted: Restoration, reader: Reader) -> tuple[Table, int]:
    """Open the table and bring it up to the end of its changelog.

    Returns:
        The table, and the number of records that were read from the changelog.

    Raises:
        LineageRefused: Topic and table do not belong together.
        Unavailable: Kafka or the disk does not respond.
    """
    span = reader.span(wanted.changelog.topic, wanted.shard)
    if wanted.needs_refill:
        return _whole(wanted), 0
    if span.end < wanted.counts.changelog_end:
        raise LineageRefused(
            f"{wanted.changelog.topic}/{wanted.shard} ends at offset {span.end}, but it had reached "
            f"{wanted.counts.changelog_end}: records are lost. Restore the topic from a backup of the cluster."
        )
    table = _trusted(wanted, span)
    records = _catch_up(wanted, reader, span, table)
    if wanted.counts.offset == NOTHING_YET and (records or table.restored() is not None):
        table.close()
        raise LineageRefused(
            f"{wanted.changelog.topic}/{wanted.shard} holds state without counts: the meta topic of "
            f"{wanted.counts.stage} was lost. `tallymark topics check` shows how to recover."
        )
    at = table.restored()
    if at is not None and at.writes != wanted.counts.writes:
        table.write((), Restored(at.changelog_id, at.next_offset, wanted.counts.writes))
    return table, records


def _whole(wanted: Restoration) -> Table:
    """The table from which a lost changelog is rewritten. Raises LineageRefused unless it has every change."""
    table = _open_or_remove(wanted.path)
    local = table.restored()
    topic = wanted.changelog.topic
    if (
        local is None
        or local.writes is None
        or local.writes != wanted.counts.writes
        or not wanted.lineage.is_given_up(topic, local.changelog_id)
    ):
        table.close()
        raise LineageRefused(
            f"{topic} was recreated, and the table in {wanted.path} does not hold the whole state of partition "
            f"{wanted.shard}. Start the worker whose state_dir holds it, or restore the topic from a backup."
        )
    log.warning("%s/%d was lost, rewriting it from the table in %s", topic, wanted.shard, wanted.path)
    return table


def refill(wanted: Restoration, table: Table) -> Iterator[dict[bytes, bytes | None]]:
    """Every entry of the table, in portions for one transaction each."""
    portion: dict[bytes, bytes | None] = {}
    for key, value in table.items():
        portion[key] = value
        if len(portion) >= REFILL_KEYS:
            yield portion
            portion = {}
    if portion:
        yield portion


def _trusted(wanted: Restoration, span: Span) -> Table:
    """The local table if it belongs to the changelog, else an empty one."""
    table = _open_or_remove(wanted.path)
    local = table.restored()
    if local is None:
        return table
    place = f"{wanted.changelog.topic}/{wanted.shard}"
    if local.changelog_id == wanted.changelog_id:
        if local.next_offset > span.end:
            table.close()
            raise LineageRefused(
                f"{place} ends at offset {span.end}, but the table in {wanted.path} has read it up to "
                f"{local.next_offset}: records are lost. Restore the topic from a backup of the cluster."
            )
        return table
    table.close()
    if wanted.changelog.topic not in wanted.ids:
        raise LineageRefused(
            f"The table in {wanted.path} was built from another {wanted.changelog.topic} (id {local.changelog_id}, "
            f"the cluster has {wanted.changelog_id}). Is this the right cluster? To start empty, remove the folder."
        )
    log.warning(
        "the table in %s belongs to an earlier %s (id %s), removing it and restoring it from the topic",
        wanted.path,
        wanted.changelog.topic,
        local.changelog_id,
    )
    Table.remove(wanted.path)
    return Table(wanted.path)


def _catch_up(wanted: Restoration, reader: Reader, span: Span, table: Table) -> int:
    local = table.restored()
    start = max(span.first, local.next_offset if local else 0)
    records = 0
    for batch in reader.read(wanted.changelog.topic, wanted.shard, start, span.end):
        table.write(_items(wanted.changelog, batch), Restored(wanted.changelog_id, _next(batch)))
        records += len(batch)
        reach("restore.half")
    return records


def _items(changelog: Changelog, batch: list[Message]) -> list[Item]:
    return [item for message in batch for item in changelog.unpack(message.key(), message.value())]


def _next(batch: list[Message]) -> int:
    return (batch[-1].offset() or 0) + 1


def _open_or_remove(path: Path) -> Table:
    """Open the table; a damaged one is replaced by an empty one, since its changelog has every change."""
    try:
        return Table(path)
    except Damaged as error:
        log.warning("%s; removing it and restoring the state from its changelog", error)
        Table.remove(path)
        return Table(path)
