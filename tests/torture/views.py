"""The views of the same state, each read by its own means: RocksDB, the changelog, ClickHouse, the recount.

Owns: reading them and naming where they differ. Does not own: when (the stages must be stopped, the stores up).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.agents import aggregate, alert, attribute, dedupe, webhook
from pipeline.core.metering import window_state
from pipeline.engine.changelog import Changelog
from pipeline.engine.table import Damaged, Table
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from tests.flow.recount import Arrived, Recount

State = dict[bytes, bytes]
SHOWN = 5
_WINDOWS = (
    "SELECT namespace, meter_id, subject, dimension_names, dimension_values, toUInt32(start),"
    " toString(value), count FROM windows FINAL"
)
_FATES = "SELECT input_partition, input_offset, fate FROM events FINAL"


BASE = {"dedupe": dedupe.CHANGELOG, "aggregate": aggregate.CHANGELOG}
WITH_ALERTS = BASE | {
    "attribute": attribute.CHANGELOG,
    "alert": alert.CHANGELOG,
    "webhook": webhook.CHANGELOG,
}


def tables_equal_changelogs(
    settings: Settings, state: Path, spoilt: set[Path], changelogs: Mapping[str, Changelog] = BASE
) -> tuple[list[str], int, dict[bytes, bytes]]:
    """Differences, keys compared, and the whole state of aggregate.

    spoilt: tables that may be damaged, if they raise so: opening such a table recreates it.
    Each copy of a table that any worker has, with the rest of the changelog behind it applied, must be what the
    changelog alone gives.
    """
    differences: list[str] = []
    compared = 0
    windows: State = {}
    for stage, changelog in changelogs.items():
        for partition in range(settings.partitions):
            records = _read(settings, changelog.topic, partition)
            replayed = _replay(changelog, records, 0)
            if stage == "aggregate":
                windows |= replayed
            for path in sorted(state.glob(f"{stage}-*/*-{partition}")):
                try:
                    differences += _copy(path, changelog, records, replayed)
                    compared += len(replayed)
                except Damaged as error:
                    differences += [] if path in spoilt else [f"{path}: {error}"]
    return differences, compared, windows


def _copy(path: Path, changelog: Changelog, records: list[Any], replayed: State) -> list[str]:
    table = Table(path)
    try:
        restored = table.restored()
        found = dict(table.items())
    finally:
        table.close()
    start = restored.next_offset if restored else 0
    for key, value in _changes(changelog, records, start):
        found.pop(key, None) if value is None else found.__setitem__(key, value)
    return _differences(f"{path.parent.name}/{path.name}", found, replayed, repr)


def _replay(changelog: Changelog, records: list[Any], start: int) -> State:
    state: State = {}
    for key, value in _changes(changelog, records, start):
        state.pop(key, None) if value is None else state.__setitem__(key, value)
    return state


def _changes(changelog: Changelog, records: list[Any], start: int) -> Iterable[tuple[bytes, bytes | None]]:
    for offset, key, value in records:
        if offset >= start:
            yield from changelog.unpack(key, value)  # type: ignore[misc]


def _read(settings: Settings, topic: str, partition: int) -> list[tuple[int, bytes | None, bytes | None]]:
    """Every committed record of a partition, by a plain consumer."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka,
            "group.id": "torture",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0)])
    found = []
    try:
        while True:
            for message in consumer.consume(10_000, timeout=0.2):
                error = message.error()
                if error is None:
                    found.append((message.offset() or 0, message.key(), message.value()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    return found
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def windows_equal(state: Mapping[bytes, bytes], store: ClickHouse) -> tuple[list[str], int]:
    """Every window of aggregate's state against its row in ClickHouse; uniques are counted by member."""
    held: dict[Any, tuple[str, int]] = {}
    for key, value in state.items():
        if key != aggregate.CLOSED_BEFORE and key[4:5] == b"w":
            identity = msgspec.msgpack.decode(key[5:])
            names, values = identity[3:] or ((), ())
            one = window_state.decode_state(value)
            start_s = window_state.key_start_s(key)
            held[(*identity[:3], tuple(names), tuple(values), start_s)] = (_plain(one.value), one.count)
    rows = {
        (row[0], int(row[1]), row[2], tuple(row[3]), tuple(row[4]), int(row[5])): (
            _plain(row[6]),
            int(row[7]),
        )
        for row in store.query(_WINDOWS)
    }
    return _differences("windows in ClickHouse", rows, held, repr), len(held)


def _plain(value: str) -> str:
    return format(Decimal(value).normalize(), "f")


def fates_equal(expected: Recount, arrived: Iterable[Arrived], store: ClickHouse) -> tuple[list[str], int]:
    """The fate of every line against its row in ClickHouse, by place."""
    wanted = {(line.partition, line.offset): fate for line, fate in zip(arrived, expected.each, strict=True)}
    rows = {(int(partition), int(offset)): fate for partition, offset, fate in store.query(_FATES)}
    return _differences("fates in ClickHouse", rows, wanted, repr), len(wanted)


def acknowledged_arrived(acknowledged: Mapping[int, list[int]], arrived: Iterable[Arrived]) -> list[str]:
    """Every place that the broker acknowledged holds a line, no two lines got the same, and there is no other line."""
    places: defaultdict[int, set[int]] = defaultdict(set)
    for line in arrived:
        places[line.partition].add(line.offset)
    found = []
    for partition in sorted(set(acknowledged) | set(places)):
        everything = acknowledged.get(partition, [])
        offsets = [offset for offset in everything if offset >= 0]
        if len(set(offsets)) != len(offsets):
            found.append(f"events/{partition}: an offset was acknowledged twice")
        if missing := set(offsets) - places[partition]:
            found.append(
                f"events/{partition}: {len(missing)} acknowledged lines are gone, such as {min(missing)}"
            )
        more = places[partition] - set(offsets)
        if len(more) != len(everything) - len(offsets):
            found.append(
                f"events/{partition}: {len(more)} lines beside the acknowledged, such as {min(more)}"
            )
    return found


def _differences(
    what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any], shown: Callable[[Any], str]
) -> list[str]:
    if found == expected:
        return []
    missing = [key for key in expected if key not in found]
    extra = [key for key in found if key not in expected]
    unequal = [key for key in expected if key in found and found[key] != expected[key]]
    lines = [f"{what}: {len(missing)} missing, {len(extra)} extra, {len(unequal)} unequal"]
    lines += [f"{what}: missing {shown(key)}: {expected[key]!r}" for key in missing[:SHOWN]]
    lines += [f"{what}: extra {shown(key)}: {found[key]!r}" for key in extra[:SHOWN]]
    lines += [
        f"{what}: {shown(key)} is {found[key]!r}, expected {expected[key]!r}" for key in unequal[:SHOWN]
    ]
    return lines
