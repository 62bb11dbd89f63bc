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


def open_table(restoration: Restoration, reader: Reader) -> tuple[Table, int]:
    """Open the table and bring it up to the end of its changelog.

    Returns:
        The table, and the number of records that were read from the changelog.

    Raises:
        LineageRefused: Topic and table do not belong together.
        Unavailable: Kafka or the disk does not respond.
    """
    span = reader.span(restoration.changelog.topic, restoration.shard)
    if restoration.needs_refill:
        return _whole(restoration), 0
    if span.end < restoration.counts.changelog_end:
        raise LineageRefused(
            f"{restoration.changelog.topic}/{restoration.shard} ends at offset {span.end}, but it had reached "
            f"{restoration.counts.changelog_end}: records are lost. Restore the topic from a backup of the cluster."
        )
    table = _trusted(restoration, span)
    records = _catch_up(restoration, reader, span, table)
    if restoration.counts.offset == NOTHING_YET and (records or table.restored() is not None):
        table.close()
        raise LineageRefused(
            f"{restoration.changelog.topic}/{restoration.shard} holds state without counts: the meta topic of "
            f"{restoration.counts.stage} was lost. `tallymark topics check` shows how to recover."
        )
    at = table.restored()
    if at is not None and at.writes != restoration.counts.writes:
        table.write((), Restored(at.changelog_id, at.next_offset, restoration.counts.writes))
    return table, records


def _whole(restoration: Restoration) -> Table:
    """The table from which a lost changelog is rewritten. Raises LineageRefused unless it has every change."""
    table = _open_or_remove(restoration.path)
    local = table.restored()
    topic = restoration.changelog.topic
    if (
        local is None
        or local.writes is None
        or local.writes != restoration.counts.writes
        or not restoration.lineage.is_given_up(topic, local.changelog_id)
    ):
        table.close()
        raise LineageRefused(
            f"{topic} was recreated, and the table in {restoration.path} does not hold the whole state of partition "
            f"{restoration.shard}. Start the worker whose state_dir holds it, or restore the topic from a backup."
        )
    log.warning(
        "%s/%d was lost, rewriting it from the table in %s", topic, restoration.shard, restoration.path
    )
    return table


def refill(restoration: Restoration, table: Table) -> Iterator[dict[bytes, bytes | None]]:
    """Every entry of the table, in portions for one transaction each."""
    portion: dict[bytes, bytes | None] = {}
    for key, value in table.items():
        portion[key] = value
        if len(portion) >= REFILL_KEYS:
            yield portion
            portion = {}
    if portion:
        yield portion


def _trusted(restoration: Restoration, span: Span) -> Table:
    """The local table if it belongs to the changelog, else an empty one."""
    table = _open_or_remove(restoration.path)
    local = table.restored()
    if local is None:
        return table
    place = f"{restoration.changelog.topic}/{restoration.shard}"
    if local.changelog_id == restoration.changelog_id:
        if local.next_offset > span.end:
            table.close()
            raise LineageRefused(
                f"{place} ends at offset {span.end}, but the table in {restoration.path} has read it up to "
                f"{local.next_offset}: records are lost. Restore the topic from a backup of the cluster."
            )
        return table
    table.close()
    if restoration.changelog.topic not in restoration.ids:
        raise LineageRefused(
            f"The table in {restoration.path} was built from another {restoration.changelog.topic} (id "
            f"{local.changelog_id}, the cluster has {restoration.changelog_id}). Is this the right cluster? To start "
            "empty, remove the folder."
        )
    log.warning(
        "the table in %s belongs to an earlier %s (id %s), removing it and restoring it from the topic",
        restoration.path,
        restoration.changelog.topic,
        local.changelog_id,
    )
    Table.remove(restoration.path)
    return Table(restoration.path)


def _catch_up(restoration: Restoration, reader: Reader, span: Span, table: Table) -> int:
    local = table.restored()
    start = max(span.first, local.next_offset if local else 0)
    records = 0
    for batch in reader.read(restoration.changelog.topic, restoration.shard, start, span.end):
        table.write(_items(restoration.changelog, batch), Restored(restoration.changelog_id, _next(batch)))
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
