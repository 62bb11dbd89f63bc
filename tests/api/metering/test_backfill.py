"""Progress of a backfill over HTTP, from the steps that the stage leaves on its topic."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.core.metering.backfill import key_of
from pipeline.records import Backfill
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from tests.fixtures.patience import PATIENCE_S

CALLS: dict[str, Any] = {"slug": "calls", "eventType": "request", "aggregation": "COUNT"}

pytestmark = pytest.mark.usefixtures("decider")


def publish(settings: Settings, *steps: Backfill) -> None:
    producer = Producer(kafka.producer_config(settings))
    for step in steps:
        producer.produce("backfill-work", msgspec.json.encode(step), key_of(step), partition=step.shard)
    assert producer.flush(PATIENCE_S) == 0


def until(api: TestClient, state: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer: dict[str, Any] = api.get("/meters/calls/backfill").json()
        if answer["state"] == state:
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)


def test_progress_in_all_and_by_shard(api: TestClient, served: Settings) -> None:
    made = api.post("/meters", json=CALLS).json()
    steps = [
        Backfill(
            "default",
            "calls",
            int(made["revision"]),
            CALLS,
            shard,
            2,
            state="copying",
            events=10,
            read=shard + 1,
        )
        for shard in range(2)
    ]
    publish(served, *steps)
    answer = until(api, "copying")
    assert answer == {
        "meter": "calls",
        "state": "copying",
        "events": 20,
        "read": 3,
        "counted": 0,
        "shards": [
            {"shard": shard, "state": "copying", "events": 10, "read": shard + 1, "counted": 0,
             "updatedAt": "1970-01-01T00:00:00Z"}
            for shard in range(2)
        ],
    }  # fmt: skip
    publish(served, *[msgspec.structs.replace(step, state="done", read=10, counted=9) for step in steps])
    done = until(api, "done")
    assert (done["read"], done["counted"]) == (20, 18)


def test_no_such_meter(api: TestClient) -> None:
    assert api.get("/meters/nothing/backfill").status_code == 404
