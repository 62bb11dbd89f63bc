"""Reconcile and status over HTTP, on counts as the stages write them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.api.http.worker_rates import Rates
from pipeline.api.operation.status import stage_row
from pipeline.records import Counts, Worker
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka import client as kafka
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import PATIENCE_S, slowed, until
from tests.fixtures.stored_rows import write


@pytest.fixture(autouse=True)
def nothing_yet(served: Settings, store: ClickHouse) -> Iterator[None]:
    """Every test begins with no counts and no rows."""
    yield
    producer = Producer(kafka.producer_config(served))
    for stage in ("ingest", "dedupe", "aggregate"):
        producer.produce("counts", None, f"{stage}/events/0")
    assert producer.flush(PATIENCE_S) == 0
    for table in ("events", "windows"):
        store.query("TRUNCATE TABLE " + table)


def count(settings: Settings, stage: str, **names: int) -> None:
    record = Counts(stage, "events", 0, 0, "id", {"default": names})
    producer = Producer(kafka.producer_config(settings))
    producer.produce("counts", msgspec.json.encode(record), f"{stage}/events/0")
    assert producer.flush(PATIENCE_S) == 0


def counted(settings: Settings, events: int) -> None:
    count(settings, "ingest", read=events, accepted=events)
    count(settings, "dedupe", read=events, unique=events)
    count(settings, "aggregate", read=events, counted=events)


def test_reconcile_adds_up(api: TestClient, served: Settings, store: ClickHouse) -> None:
    write(store, [("acme", 0, "small")] * 4)
    counted(served, 4)
    answer = api.get("/reconcile")
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert (report["ok"], report["settled"], report["differences"]) == (True, True, [])
    held = {"meter": "tokens", "meter_id": 1, "events": 4, "windows": 4, "totalled": 0, "refused": {}}
    assert report["namespaces"][0]["stored"]["meters"] == [held]
    assert set(report["lag"]) >= {"ingest", "dedupe", "aggregate", "sink"} and not any(report["lag"].values())


def test_reconcile_names_a_lost_window(
    api: TestClient, served: Settings, store: ClickHouse, decider: ControlStage
) -> None:
    write(store, [("acme", 0, "small"), ("acme", 1, "small")], lost=1)
    counted(served, 2)
    report = api.get("/reconcile?wait_s=0.5").json()
    assert (report["ok"], report["settled"]) == (False, True)
    assert report["differences"] == [
        "default: meter tokens (1), subject acme, minute 2026-01-01T12:00:00Z: "
        "1 stored events, but the window holds 0.",
        "default: meter tokens (1) counted 2 stored events, but its windows hold 1.",
    ]


def test_reconcile_fails_where_a_table_is_missing(
    api: TestClient, served: Settings, store: ClickHouse
) -> None:
    write(store, [("acme", 0, "small")])
    counted(served, 1)
    store.query("DROP TABLE windows")
    try:
        report = api.get("/reconcile?wait_s=0.5").json()
        assert (report["ok"], report["settled"]) == (False, True)
        (sentence,) = report["differences"]
        assert (
            sentence.startswith("default: ClickHouse refused (code 60)") and "rebuild clickhouse" in sentence
        )
    finally:
        store.ensure_schema()


def test_reconcile_shows_what_is_in_flight(api: TestClient, served: Settings) -> None:
    count(served, "ingest", read=5, accepted=5)
    count(served, "dedupe", read=3, unique=3)
    report = api.get("/reconcile?wait_s=0.2").json()
    assert (report["ok"], report["settled"], report["namespaces"][0]["pending"]) == (True, False, 5)


def test_reconcile_waits_for_unread_records(api: TestClient, served: Settings) -> None:
    producer = Producer(kafka.producer_config(served))
    producer.produce("events", b"{}")
    assert producer.flush(PATIENCE_S) == 0
    report = api.get("/reconcile?wait_s=0.2").json()
    assert (report["settled"], report["lag"]["ingest"]) == (False, 1)


def test_a_commit_marker_is_no_lag(api: TestClient, served: Settings) -> None:
    config = kafka.client_config(served) | {"transactional.id": "t"}
    producer = Producer(config)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("usage", b"[]", partition=0)
    producer.abort_transaction(30)
    assert api.get("/status").json()["stages"][3]["lag"] == 0
    producer.begin_transaction()
    producer.produce("usage", b"[]", partition=0)
    producer.commit_transaction(30)
    assert api.get("/status").json()["stages"][3]["lag"] > 0


def test_status(api: TestClient, decider: ControlStage) -> None:
    for stage in ("ingest", "dedupe", "aggregate", "sink"):
        decider.beat(f"{stage}-1", 3, stage)
    decider.beat("control-1", 3, "control", at_ms=time.time_ns() // 1_000_000 - 60_000)
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := api.get("/status").json())["stages"][3]["up"]:
        assert time.monotonic() < deadline
    up = {stage["stage"]: stage["up"] for stage in answer["stages"]}
    assert [name for name in up if up[name]] == ["ingest", "dedupe", "aggregate", "sink"] and "control" in up
    assert answer["stages"][2]["controlRevision"] == 3
    assert answer["neighbours"]["kafka"]["ok"] and answer["neighbours"]["clickhouse"]["ok"]
    assert not answer["ok"]


def test_a_worker_that_owns_nothing_does_not_make_its_stage_up() -> None:
    """As one that ends in every take-over, and lives just long enough for a heartbeat."""
    starting = Worker("w", "ingest", "h", 1, 0, 0, 0, [], 0, "")
    working = Worker("v", "ingest", "h", 2, 0, 0, 0, ["events/0"], 0, "")
    assert not stage_row("ingest", [starting], 0, {})["up"]
    assert stage_row("ingest", [starting, working], 0, {})["up"]
    assert not stage_row("ingest", [], 0, {})["up"]


def test_a_stage_whose_work_a_service_refuses_shows_why() -> None:
    working = Worker("v", "sink", "h", 2, 0, 0, 0, ["usage/0"], 0, "")
    refused = Worker("w", "sink", "h", 1, 0, 0, 0, ["usage/1"], 0, "", "ClickHouse refused (code 243)")
    assert stage_row("sink", [working], 0, {})["failing"] == ""
    assert stage_row("sink", [working, refused], 0, {})["failing"] == "ClickHouse refused (code 243)"


class Frozen:
    """A ClickHouse that takes connections and never answers."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def ping(self) -> None:
        assert self.release.wait(300)

    def interrupt(self) -> None:
        self.release.set()

    def close(self) -> None:
        pass


def test_status_shows_each_service_in_its_own_words_and_waits_for_none(served: Settings) -> None:
    settings = served.model_copy(update={"redis": "redis://127.0.0.1:1/0"})
    app = create_app(settings, cast(ClickHouse, Frozen()))
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        began_s = time.monotonic()
        answer = client.get("/status").json()
        assert time.monotonic() - began_s < slowed(10)
        assert client.get("/ready").status_code == 200, "events are taken without either"
    found = answer["neighbours"]
    assert not answer["ok"] and found["kafka"]["ok"] and found["topics"]["ok"]
    assert found["clickhouse"]["detail"].startswith("no answer for ")
    assert found["redis"]["detail"].startswith("Redis at 127.0.0.1:1: ")
    assert "Connection refused" in found["redis"]["detail"]


def test_without_kafka_no_process_is_ready_and_status_says_why(
    served: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(served.model_copy(update={"kafka": "127.0.0.1:1"}))
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        for _ in range(2):
            answer = client.get("/ready")
            assert (answer.status_code, answer.json()["ready"]) == (503, False)
        (logged,) = [one for one in caplog.messages if one.startswith("not ready, kafka: ")]
        # On a busy machine the client's own error can come after the limit of the check.
        assert "Connection refused" in logged or "no answer for" in logged, "the log has the reason, once"

        def status_of_kafka() -> Any:
            status = client.get("/status").json()
            assert not any(stage["up"] for stage in status["stages"])
            return status["neighbours"]["kafka"]["detail"]

        until(lambda: "Connection refused" in status_of_kafka(), status_of_kafka)


def worker(at_ms: int, events_in: int) -> Worker:
    return Worker("w", "ingest", "h", 1, at_ms, 0, 0, [], events_in, "")


def test_rates_span_the_last_seconds_and_start_again() -> None:
    rates = Rates()
    assert rates.of("w") == 0
    rates.add({"w": worker(0, 0)})
    assert rates.of("w") == 0
    rates.add({"w": worker(2_000, 100)})
    assert rates.of("w") == 50
    for at_ms in range(3_000, 40_000, 1_000):
        rates.add({"w": worker(at_ms, 100)})
    assert rates.of("w") == 0
    rates.add({"w": worker(41_000, 10)})
    assert rates.of("w") == 0
    rates.add({"w": worker(42_000, 30)})
    assert rates.of("w") == 20
    rates.add({"w": None})
    assert rates.of("w") == 0


def test_healthz(api: TestClient) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
