"""The stages before stripe-sync, and the events that pass through them.

Owns: ClickHouse, the workers of ingest, dedupe, aggregate, attribute and sink, publishing events as a producer would,
the sums that ClickHouse has of them. Does not own: which events there are, the comparison (stripe_run), the broker.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
from confluent_kafka import Producer

from pipeline.contracts import ROOT
from pipeline.core.customers.attribution import Attribution, Holding
from pipeline.core.values.timestamp import text_of
from pipeline.engine.packing import arrays
from pipeline.local import process
from pipeline.local.clickhouse import ChDB
from pipeline.records import CustomerWindow, Definition
from pipeline.settings import Settings
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.kafka import client as cluster
from tests.core.billing.stripe_world import NAMESPACE
from tests.flow.sender import HEADERS

STAGES = ("ingest", "dedupe", "aggregate", "attribute", "sink")
FUTURE_S = 30 * 86_400  # the clock of the run is ahead of the broker's
REPEATED = 50  # one event of so many is sent twice
_COUNTED = "SELECT sum(count) FROM windows FINAL"
_SUMS = """
SELECT subject, toUnixTimestamp(toStartOfInterval(start, INTERVAL {size} SECOND)) AS start_s, toString(sum(value))
FROM windows FINAL GROUP BY subject, start_s"""


class DrawnEvent(NamedTuple):
    """An event of a customer. at_s: its time, seconds since 1970."""

    customer: str
    at_s: int
    value: int


def attributions(customers: Iterable[str]) -> list[Definition]:
    """Each customer has one subject, which is called as it is."""
    return [
        Definition(
            4, "attribution", NAMESPACE, one, "", 0, Attribution(subject=one, holders=[Holding(0, one)]).members
        )
        for one in customers
    ]  # fmt: skip


class StripeFront:
    """A context manager: the workers and ClickHouse end with it. settings: of the broker."""

    def __init__(self, settings: Settings, folder: Path, stages: Iterable[str] = STAGES) -> None:
        self._settings, self._folder, self._stages = settings, folder, stages
        self._clickhouse = ChDB(folder, process.free_port())
        self._workers: list[process.Process] = []
        self._producer = Producer(cluster.producer_config(settings) | {"log_level": 0, "linger.ms": 10})
        self._sent = 0

    def __enter__(self) -> StripeFront:
        self._clickhouse.start()
        self._store = connect(self._clickhouse.url)
        self._store.ensure_schema()
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("TALLYMARK_")}
        variables = {
            "TALLYMARK_KAFKA": self._settings.kafka,
            "TALLYMARK_STATE_DIR": str(self._folder / "state"),
            "TALLYMARK_FUTURE_LIMIT_S": str(FUTURE_S),
            "PYTHONPATH": str(ROOT),
            **self.variables,
        }
        for stage in self._stages:
            command = [sys.executable, "-m", "pipeline.cli", "worker", stage]
            log = self._folder / f"worker-{stage}.log"
            self._workers.append(process.spawn(command, log, foreign | variables))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()
        self._store.close()
        self._clickhouse.kill()

    @property
    def variables(self) -> dict[str, str]:
        """What a worker needs that reads ClickHouse."""
        return {"TALLYMARK_CLICKHOUSE": self._clickhouse.url}

    def publish(self, events: Iterable[DrawnEvent]) -> None:
        """Publish events to `events`; return when the broker has them."""
        for one in events:
            self._sent += 1
            body = msgspec.json.encode({
                "specversion": "1.0", "id": str(self._sent), "source": "/run", "type": "prompt",
                "subject": one.customer, "time": text_of(one.at_s * 1_000), "data": {"n": one.value},
            })  # fmt: skip
            for _ in range(1 if self._sent % REPEATED else 2):
                self._producer.produce("events", body, one.customer, headers=HEADERS)
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def publish_usage(self, windows: Iterable[CustomerWindow]) -> None:
        """Publish windows of one event each as aggregate would; return when ClickHouse has them."""
        windows = [one.window for one in windows]
        for packed in arrays([msgspec.json.encode(one) for one in windows]):
            self._producer.produce("usage", packed, partition=0)
        assert self._producer.flush(60) == 0
        self._sent += len(windows)
        self.wait_counted()

    def wait_counted(self, timeout_s: float = 120) -> None:
        """Return when ClickHouse has the windows of every event that was published."""
        deadline_s = time.monotonic() + timeout_s
        while (counted := int(self._store.query(_COUNTED)[0][0])) < self._sent:
            assert time.monotonic() < deadline_s, (counted, self._sent)
            assert all(worker.poll() is None for worker in self._workers), self._folder
            time.sleep(0.2)
        assert counted == self._sent

    def sums(self, window_s: int) -> dict[tuple[str, int], str]:
        """Usage by subject and start of the window, as exact text."""
        rows = self._store.query(_SUMS.replace("{size}", str(window_s)))
        return {(str(subject), int(start_s)): str(value) for subject, start_s, value in rows}
