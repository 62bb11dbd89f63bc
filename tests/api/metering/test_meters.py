"""Meters over HTTP: what is answered, and that an answer means that every worker knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Consumer
from fastapi.testclient import TestClient

from pipeline.errors import Unavailable
from pipeline.records import Worker
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.commands import Commands, behind
from pipeline.stores.kafka.definitions import Replies, WorkersView
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import PATIENCE_S, slowed

TOKENS: dict[str, Any] = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}
CALLS: dict[str, Any] = {"slug": "calls", "eventType": "request", "aggregation": "COUNT"}

pytestmark = pytest.mark.usefixtures("decider")


@pytest.fixture(autouse=True)
def nothing_yet(api: TestClient, decider: ControlStage) -> Iterator[None]:
    """Every test begins without meters and workers."""
    yield
    for worker in ("aggregate-1", "aggregate-2"):
        decider.beat(worker, None)
    for meter in api.get("/meters").json():
        assert api.delete(f"/meters/{meter['slug']}").status_code == 204


def test_a_meter_from_creation_to_deletion(api: TestClient) -> None:
    assert api.get("/meters").json() == []
    created = api.post("/meters", json=TOKENS)
    assert created.status_code == 201
    assert created.json() | TOKENS == created.json()
    revision = created.json()["revision"]
    id = created.json()["id"]
    assert created.json()["createdAt"] == created.json()["updatedAt"]
    assert api.get("/meters").json() == [created.json()] == [api.get("/meters/tokens").json()]

    changed = api.post("/meters/apply", json=[CALLS, {**TOKENS, "name": "Tokens"}])
    assert (changed.status_code, changed.json()["revision"]) == (200, revision + 2)
    found = {meter["slug"]: meter for meter in changed.json()["meters"]}
    assert list(found) == ["calls", "tokens"] and found["tokens"]["id"] == id
    assert api.get(f"/meters/{id}").json() == found["tokens"]

    renamed = api.put(f"/meters/{id}", json={"name": "T", "groupBy": {"model": "$.model"}})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "T")
    assert renamed.json()["createdAt"] == found["tokens"]["createdAt"] < renamed.json()["updatedAt"]

    assert api.delete("/meters/tokens").status_code == 204
    assert [meter["slug"] for meter in api.get("/meters").json()] == ["calls"]
    assert api.post("/meters", json=TOKENS).json()["id"] != id


def test_meters_page_by_page(api: TestClient) -> None:
    api.post("/meters/apply", json=[{**CALLS, "slug": f"m{number}"} for number in range(5)])

    def slugs(query: str) -> list[str]:
        return [meter["slug"] for meter in api.get(f"/meters?{query}").json()]

    assert slugs("page=2&pageSize=2") == ["m2", "m3"]
    assert slugs("orderBy=name&order=DESC&pageSize=1") == ["m4"]
    assert slugs("page=9") == []
    assert problem(api.get("/meters?orderBy=secret"))[:2] == (400, "bad-query")
    assert problem(api.get("/meters?pageSize=1001"))[:2] == (400, "bad-request")


def problem(response: Any) -> tuple[int, str, str]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code and body["type"] == "about:blank" and body["title"]
    assert body["instance"] == response.request.url.path
    return response.status_code, body["reason"], body["detail"]


def test_every_error_is_a_problem(api: TestClient) -> None:
    api.post("/meters", json=TOKENS)
    taken = api.post("/meters", json=TOKENS)
    assert problem(taken) == (409, "meter-conflict", "A meter with the slug tokens exists already.")
    bad = api.post("/meters", json={**CALLS, "aggregation": ""})
    assert problem(bad) == (400, "bad-meter", "meter aggregation is required")
    absent = (404, "not-found", "There is no meter with the slug x.")
    assert problem(api.get("/meters/x")) == absent
    assert problem(api.delete("/meters/x")) == absent
    assert problem(api.get("/meters/x/query")) == absent
    assert problem(api.post("/meters/apply", json=[{**TOKENS, "aggregation": "MAX"}]))[:2] == (
        409,
        "meter-conflict",
    )
    assert problem(api.post("/meters/apply", json={}))[:2] == (400, "bad-request")
    assert problem(api.post("/meters/apply", content=b"{"))[:2] == (400, "bad-request")
    assert problem(api.get("/nowhere"))[:2] == (404, "not-found")
    assert problem(api.put("/meters"))[:2] == (405, "method-not-allowed")


def test_apply_returns_once_a_live_worker_knows(api: TestClient, decider: ControlStage) -> None:
    decider.beat("aggregate-1", 0)
    late = threading.Timer(0.5, decider.beat, ("aggregate-1", decider.revision + 1))
    began = time.monotonic()
    late.start()
    assert api.post("/meters/apply", json=[TOKENS]).status_code == 200
    assert 0.4 < time.monotonic() - began < slowed(5)


def test_apply_names_the_worker_that_does_not_know(api: TestClient, decider: ControlStage) -> None:
    decider.beat("aggregate-1", 0)
    decider.beat("aggregate-2", decider.revision + 9)
    status, reason, detail = problem(api.post("/meters/apply?wait_s=0.3", json=[TOKENS]))
    assert (status, reason) == (503, "unavailable")
    assert "aggregate-1" in detail and "aggregate-2" not in detail
    assert len(api.get("/meters").json()) == 1


def test_a_silent_member_of_the_group_is_waited_for(
    api: TestClient, served: Settings, decider: ControlStage
) -> None:
    config = kafka.client_config(served) | {
        "client.id": "aggregate-silent",
        "group.id": "tallymark-aggregate",
    }
    member = Consumer(config)
    assigned = threading.Event()
    member.subscribe(["events-unique"], on_assign=lambda *_: assigned.set())
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not assigned.is_set() and time.monotonic() < deadline:
            member.poll(0.1)
        _, _, detail = problem(api.post("/meters/apply?wait_s=0.3", json=[TOKENS]))
        assert "aggregate-silent" in detail
    finally:
        member.close()
    assert api.post("/meters/apply", json=[CALLS]).status_code == 200


WORKERS = {
    "fresh": Worker("fresh", "aggregate", "h", 1, 0, 0, 2, [], 0, ""),
    "stale": Worker("stale", "aggregate", "h", 1, 0, 0, 1, [], 0, ""),
    "other": Worker("other", "ingest", "h", 1, 0, 0, 0, [], 0, ""),
}


@pytest.mark.parametrize(
    ("live", "owners", "revision", "expected"),
    [
        ([], [], 2, set()),
        (["fresh"], [], 2, set()),
        (["fresh", "stale"], [], 2, {"stale"}),
        (["fresh", "stale"], [], 1, set()),
        ([], ["stale"], 2, {"stale"}),
        ([], ["unheard-of"], 2, {"unheard-of"}),
        (["fresh"], ["fresh"], 3, {"fresh"}),
        (["other"], [], 2, set()),
    ],
)
def test_who_is_behind(live: list[str], owners: list[str], revision: int, expected: set[str]) -> None:
    assert behind(WORKERS.values(), [WORKERS[id] for id in live], owners, revision) == expected


def test_without_a_control_stage_the_error_names_it(served: Settings, decider: ControlStage) -> None:
    replies, workers = Replies(served), WorkersView(served)
    with (
        decider.stopped(),
        replies,
        closing(Commands(served, replies, workers, reply_timeout_s=0.3)) as commands,
        pytest.raises(Unavailable, match=r"did not answer within 0\.3 s; is `tallymark worker control`"),
    ):
        commands.run("meter.create", "default", TOKENS)
