"""Rows written again from the topics on a real broker and a real store: whole, once, and honest about what is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition

from pipeline.agents.sink_rebuild import rebuild
from pipeline.agents.sink_rows import RowBatch
from pipeline.cli.main import main
from pipeline.core.metering.reconcile import MeterStored, PlaceStored, StoredTotals
from pipeline.records import Backfilled, Event, Settled, Window
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.clickhouse.totals import stored
from pipeline.stores.kafka import client as cluster
from tests.fixtures.fake_transaction import FakeRecord
from tests.fixtures.patience import PATIENCE_S

WHOLE = StoredTotals(
    {"counted": 20, "duplicate": 5, "rejected": 3},
    (MeterStored("m", 9, 20, 20),),
    places=(PlaceStored("events", 0, 28),),
)
START_S = 1_763_000_040
HEADERS: list[tuple[str, str | bytes | None]] = [
    ("tallymark_reason", b"bad-json"),
    ("tallymark_detail", b"Not JSON."),
    ("tallymark_namespace", b"default"),
    ("tallymark_topic", b"events"),
    ("tallymark_partition", b"0"),
    ("tallymark_received_at_ms", b"1763000040000"),
]


@pytest.fixture
def store(own_chdb: str) -> Iterator[ClickHouse]:
    """A store without tables."""
    store = connect(own_chdb)
    for table in ("events", "windows", "uniques", "marks") if _exists(store) else ():
        store.query("DROP TABLE IF EXISTS " + table)
    yield store
    store.close()


def _exists(store: ClickHouse) -> bool:
    store.ensure_schema()
    return True


def settled(offset: int, fate: Any = "counted", revision: int = 3) -> Settled:
    event = Event(
        "default",
        "/s",
        str(offset),
        "t",
        "who",
        (START_S + offset) * 10**9,
        1,
        "events",
        0,
        offset,
        msgspec.Raw(b"{}"),
    )
    meters = ["m"] if fate == "counted" else []
    backfill = Backfilled(1, "unmetered", [9]) if revision > 3 else None
    return Settled(event, fate, "", meters, revision, backfill)


def window(count: int, member: str) -> Window:
    return Window("default", "m", 9, "who", {}, START_S, str(count), count, "1", "", [member], count, 1)


def records() -> list[tuple[str, bytes, bytes | None, list[tuple[str, str | bytes | None]]]]:
    """(topic, value, key, headers): 20 counted events in a window, 5 duplicates, 3 rejected, a mark."""
    found: list[tuple[str, bytes, bytes | None, list[tuple[str, str | bytes | None]]]] = []
    for offset in range(20):
        found.append(("events-settled", msgspec.json.encode([settled(offset, "unmetered", 2)]), None, []))
        found.append(("events-settled", msgspec.json.encode([settled(offset, revision=9)]), None, []))
        found.append(("usage", msgspec.json.encode([window(offset + 1, f"{offset:032x}")]), None, []))
    for offset in range(20, 25):
        found.append(("duplicates", msgspec.json.encode([settled(offset, "duplicate")]), None, []))
    for offset in range(25, 28):
        headers = [*HEADERS, ("tallymark_offset", str(offset).encode())]
        found.append(("rejected", b"{", None, headers))
    found.append(("usage", b"[]", b"meter/9/end/1", []))
    return found


def publish(settings: Settings) -> None:
    """Writes `records` to partition 1 of each topic, with a transaction that is given up in between."""
    aborted = Producer({**cluster.producer_config(settings), "transactional.id": "given-up"})
    aborted.init_transactions()
    aborted.begin_transaction()
    aborted.produce("events-settled", msgspec.json.encode([settled(99)]), partition=1)
    aborted.flush()
    producer = Producer(cluster.producer_config(settings))
    for topic, value, key, headers in records():
        producer.produce(topic, value, key, 1, headers=headers)
    assert producer.flush(PATIENCE_S) == 0
    aborted.abort_transaction()


def rows_of(store: ClickHouse) -> list[Any]:
    """Everything that is stored but for when and by which attempt."""
    columns = "namespace, id, fate, revision, meters, input_offset, backfilled"
    return [
        store.query("SELECT " + columns + " FROM events FINAL ORDER BY input_offset"),
        store.query("SELECT subject, toString(value), count, revision FROM windows FINAL"),
        store.query("SELECT member FROM uniques FINAL ORDER BY member"),
        store.query("SELECT mark, topic, partition FROM marks FINAL"),
    ]


def test_all_rows_are_written_again_whatever_was_lost(store: ClickHouse, fresh_topics: Settings) -> None:
    publish(fresh_topics)
    seen: list[tuple[int, int]] = []
    done = rebuild(fresh_topics, store, progress=lambda *so_far: seen.append(so_far))
    assert done.records == {"events-settled": 40, "usage": 21, "duplicates": 5, "rejected": 3}
    assert done.gone_before_ms == {}
    assert stored(store, "default", unique={9: "m"}) == WHOLE
    assert seen[-1][0] == seen[-1][1] and seen == sorted(seen)
    whole = rows_of(store)
    assert [len(rows) for rows in whole] == [28, 1, 20, 1]

    store.query("ALTER TABLE events DELETE WHERE input_offset % 2 = 0 SETTINGS mutations_sync = 2")
    store.query("DROP TABLE windows")
    store.query("TRUNCATE TABLE uniques")
    rebuild(fresh_topics, store)
    assert rows_of(store) == whole
    rebuild(fresh_topics, store)
    assert rows_of(store) == whole


def test_what_was_killed_is_completed_when_it_is_repeated(store: ClickHouse, fresh_topics: Settings) -> None:
    publish(fresh_topics)

    def killed(done: int, of: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(fresh_topics, store, progress=killed)
    assert stored(store, "default", unique={9: "m"}) != WHOLE
    rebuild(fresh_topics, store)
    assert stored(store, "default", unique={9: "m"}) == WHOLE


def test_newer_rows_of_a_sink_that_runs_stay(store: ClickHouse, fresh_topics: Settings) -> None:
    publish(fresh_topics)
    store.ensure_schema()
    newer = RowBatch()
    newer.take("usage", 1, [FakeRecord(0, msgspec.json.encode([window(77, "ff" * 16)]))])
    newer.take("events-settled", 1, [FakeRecord(0, msgspec.json.encode([settled(3, "invalid", 12)]))])
    newer.write(store, lambda: 1)
    rebuild(fresh_topics, store)
    assert store.query("SELECT count, revision FROM windows FINAL") == [(77, 77)]
    assert store.query("SELECT fate FROM events FINAL WHERE input_offset = 3") == [("invalid",)]


def test_what_retention_has_removed_is_named(store: ClickHouse, fresh_topics: Settings) -> None:
    publish(fresh_topics)
    client = cluster.admin(fresh_topics)
    for future in client.delete_records([TopicPartition("events-settled", 1, 20)]).values():
        future.result()
    before_ms = time.time_ns() // 1_000_000
    done = rebuild(fresh_topics, store)
    assert set(done.gone_before_ms) == {"events-settled"}
    assert before_ms - 60_000 < done.gone_before_ms["events-settled"] <= before_ms
    assert stored(store, "default").fates["counted"] < 20
    assert rebuild(fresh_topics, store, from_ms=before_ms + 60_000).gone_before_ms == {}


def test_only_what_came_since_is_read(store: ClickHouse, fresh_topics: Settings) -> None:
    publish(fresh_topics)
    assert rebuild(fresh_topics, store, from_ms=time.time_ns() // 1_000_000 + 60_000).records == {}
    assert rebuild(fresh_topics, store, from_ms=time.time_ns() // 1_000_000 - 60_000).records.total() == 69


def test_the_command_shows_records_rows_and_what_is_gone(
    store: ClickHouse, own_chdb: str, fresh_topics: Settings, tmp_path: Path
) -> None:
    publish(fresh_topics)
    client = cluster.admin(fresh_topics)
    for future in client.delete_records([TopicPartition("rejected", 1, 2)]).values():
        future.result()
    config = tmp_path / "tallymark.toml"
    config.write_text(f'kafka = "{fresh_topics.kafka}"\nclickhouse = "{own_chdb}"\n')
    shown = CliRunner().invoke(main, ["rebuild", "clickhouse"], env={"TALLYMARK_CONFIG": str(config)})
    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    assert "events-settled 40" in lines and "windows 1" in lines
    (warning,) = [line for line in lines if line.startswith("warning:")]
    assert "the retention of rejected has deleted records from before 20" in warning
    wrong = CliRunner().invoke(
        main, ["rebuild", "clickhouse", "--from", "x"], env={"TALLYMARK_CONFIG": str(config)}
    )
    assert wrong.exit_code == 2 and "from is 'x'" in wrong.output
