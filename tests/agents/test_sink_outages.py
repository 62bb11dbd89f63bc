"""A sink worker while ClickHouse is read-only, full, slow or away: it says why, keeps its memory, and catches up."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from pipeline.records import Event, Settled
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.definitions import WorkersView
from tests.fixtures.patience import PATIENCE_S, until
from tests.fixtures.refusing_clickhouse import AWAY, SLOW, RefusingClickHouse
from tests.fixtures.running_workers import Running

START_S = 1_763_000_040
DATA_BYTES = 1_500  # of an event, random: the limit of a fetch is one of compressed bytes
PACKED = 100  # events of one record, which has 200 KB
FEW, MANY = 20, 240  # records of a backlog: 4 and 48 MB
GROWTH_MB = 40  # of the worker: two chunks of 1 MB of each partition, as objects, as columns and as a request


@pytest.fixture
def front(own_chdb: str) -> Iterator[RefusingClickHouse]:
    with RefusingClickHouse(own_chdb).running() as found:
        yield found


@pytest.fixture
def store(own_chdb: str) -> Iterator[ClickHouse]:
    found = connect(own_chdb)
    found.ensure_schema()
    found.query("TRUNCATE TABLE events")
    yield found
    found.close()


class Backlog:
    """Records of events on `events-settled`, over all partitions."""

    def __init__(self, settings: Settings) -> None:
        self.events = 0
        self._settings = settings
        self._random = Random(7)

    def add(self, records: int) -> None:
        producer = Producer(kafka.producer_config(self._settings))
        for number in range(records):
            value = msgspec.json.encode([self._next() for _ in range(PACKED)])
            producer.produce("events-settled", value, partition=number % self._settings.partitions)
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0

    def _next(self) -> Settled:
        self.events += 1
        time_ns = (START_S + self.events) * 10**9
        text = base64.b64encode(self._random.randbytes(DATA_BYTES)).decode()
        data, id = msgspec.Raw(msgspec.json.encode({"text": text})), str(self.events)
        return Settled(
            Event("default", "/s", id, "t", "who", time_ns, 1, "events", 0, self.events, data), "counted"
        )


def memory_mb(worker: Running) -> float:
    assert worker.process is not None
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


def ready(worker: Running) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(worker.metrics_url().replace("/metrics", "/ready"), timeout=60) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as refused:
        return dict(json.load(refused))


def metric(worker: Running, name: str) -> float:
    with urllib.request.urlopen(worker.metrics_url(), timeout=60) as answer:
        return float(re.findall(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)[0])


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("read-only", "ClickHouse refused (code 242): Code: 242. DB::Exception: Table is in readonly mode."),
        ("full", "ClickHouse refused (code 243): Code: 243. DB::Exception: Cannot reserve 1.00 MiB"),
        (AWAY, "ClickHouse (chDB) does not answer on 127.0.0.1:"),
        (SLOW, ""),
    ],
    ids=["read-only", "full", "away", "slow"],
)
def test_a_clickhouse_in_trouble_loses_nothing(
    trouble: str, words: str, front: RefusingClickHouse, store: ClickHouse, fresh_topics: Settings
) -> None:
    def stored() -> int:
        return int(store.query("SELECT uniqExact(input_offset) FROM events")[0][0])

    backlog = Backlog(fresh_topics)
    worker = Running(fresh_topics, "sink", clickhouse=front.url)
    with WorkersView(fresh_topics) as workers, worker:
        backlog.add(FEW)
        until(lambda: stored() == backlog.events)

        before_mb = memory_mb(worker)
        front.trouble = trouble
        backlog.add(MANY)
        until(lambda: front.attempts >= 4)
        grown_mb = memory_mb(worker) - before_mb
        print(f"{trouble}: {before_mb:.0f} MB and {grown_mb:.0f} more")
        assert grown_mb < GROWTH_MB, "what waits is in Kafka, not in memory"

        if words:
            until(lambda: words in [one.failing[: len(words)] for one in workers.live("sink")])
            assert words in ready(worker)["needs"]["clickhouse"]
            assert metric(worker, 'tallymark_need_up{need="clickhouse"}') == 0
            assert metric(worker, "tallymark_insert_failures_total") >= 3
            assert words in worker.log.read_text()
            assert stored() < backlog.events

        front.trouble = ""
        until(lambda: stored() == backlog.events)
        until(lambda: ready(worker)["ready"])
        until(lambda: [one.failing for one in workers.live("sink")] == [""])
        rows = store.query("SELECT count() FROM events FINAL")
        assert rows == [(backlog.events,)]
