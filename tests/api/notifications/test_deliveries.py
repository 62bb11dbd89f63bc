"""Deliveries over HTTP, with a webhook worker that sends to a receiver: listed with tries, sent again, replayed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.core.notifications.standard_webhooks import secret_text
from pipeline.core.values import timestamp
from pipeline.local import process
from pipeline.local.webhook_receiver import Receiver
from pipeline.settings import PREFIX, Settings
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
SECRET = secret_text(bytes(32))


@pytest.fixture(scope="module")
def worker(
    served: Settings, decider: ControlStage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """`tallymark worker webhook`, whose webhooks may reach this machine and are tried twice."""
    folder = tmp_path_factory.mktemp("webhook")
    values = {
        "kafka": served.kafka,
        "state_dir": folder / "state",
        "webhook_allow_http": "true",
        "webhook_allow_hosts": "127.0.0.1:*",
        "webhook_schedule_s": "0,0.1",
    }
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment |= {PREFIX + name.upper(): str(value) for name, value in values.items()}
    command = [sys.executable, "-m", "pipeline.cli", "worker", "webhook"]
    running = process.spawn(command, folder / "log", environment=environment)
    yield
    process.stop(running, 20)


@pytest.fixture(scope="module")
def api(served: Settings) -> Iterator[TestClient]:
    """Takes channels on this machine, as the worker does."""
    allowed = {"webhook_allow_http": True, "webhook_allow_hosts": "127.0.0.1:*"}
    app = create_app(served.model_copy(update=allowed))
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver([SECRET]) as listening:
        yield listening


def until(probe: Callable[[], Any]) -> Any:
    """What `probe` gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := probe()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.usefixtures("worker")
def test_from_a_test_to_a_replay(api: TestClient, receiver: Receiver) -> None:
    wanted = {"name": "here", "url": receiver.url, "signingSecret": SECRET}
    channel = api.post("/notification/channels", json=wanted).json()["id"]
    rule = {"type": "entitlements.reset", "name": "r", "channels": [channel]}
    rule_id = api.post("/notification/rules", json=rule).json()["id"]
    begin_ms = time.time_ns() // 1_000_000
    event = api.post(f"/notification/rules/{rule_id}/test").json()
    assert receiver.wait(1, PATIENCE_S)

    def listed(query: str = "") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = api.get(f"/deliveries?event={event['id']}&{query}").json()["items"]
        return items

    (delivery,) = until(lambda: listed("state=SUCCESS"))
    assert (delivery["channel"]["id"], delivery["rule"]["id"]) == (channel, rule_id)
    (tried,) = delivery["attempts"]
    assert (tried["number"], tried["state"], tried["response"]["statusCode"]) == (1, "SUCCESS", 200)
    assert api.get(f"/deliveries/{delivery['id']}").json() == delivery
    shown = api.get(f"/notification/events/{event['id']}").json()["deliveryStatus"]
    assert [(one["state"], one["attempts"]) for one in shown] == [("SUCCESS", [tried])]
    for query, there in (
        (f"endpoint={channel}", True), ("endpoint=x", False), ("state=FAILED,PENDING", False),
        (f"from={timestamp.text_of(begin_ms)}", True), (f"to={timestamp.text_of(begin_ms)}", False),
    ):  # fmt: skip
        assert bool(listed(query)) == there, query

    receiver.status = 500  # once more, and it fails for good
    assert api.post(f"/notification/events/{event['id']}/resend").status_code == 202
    (failed,) = until(lambda: listed("state=FAILED"))
    assert (failed["tries"], failed["reason"]) == (3, "exhausted")
    assert [one["response"].get("statusCode") for one in failed["attempts"]] == [500, 500, 200]

    receiver.status = 200
    span = {"from": timestamp.text_of(begin_ms), "to": "2999-01-01T00:00:00Z"}
    replayed = api.post(f"/endpoints/{channel}/replay", json=span)
    assert (replayed.status_code, replayed.json()["states"]) == (202, ["FAILED"])
    (again,) = until(lambda: listed("state=SUCCESS"))
    assert again["tries"] == 4
    assert api.post(f"/deliveries/{delivery['id']}/resend", json={}).status_code == 202
    until(lambda: [one["tries"] for one in listed("state=SUCCESS")] == [5])
    assert {message.id for message in receiver.messages} == {event["id"]}
    wrong = api.post(f"/notification/events/{event['id']}/resend", json={"channels": ["other"]})
    assert (wrong.status_code, wrong.json()["reason"]) == (400, "bad-resend")


@pytest.mark.usefixtures("decider")
def test_events_are_found_by_what_they_are_about(api: TestClient) -> None:
    channel = api.post("/notification/channels", json={"name": "c", "url": "https://a.example/"}).json()["id"]
    rule = {"type": "entitlements.reset", "name": "r", "channels": [channel]}
    rule_id = api.post("/notification/rules", json=rule).json()["id"]
    events = [api.post(f"/notification/rules/{rule_id}/test").json()["id"] for _ in range(3)]

    def listed(query: str) -> list[str]:
        answer = api.get(f"/notification/events?{query}").json()
        assert set(answer) == {"totalCount", "page", "pageSize", "items"}
        return [row["id"] for row in answer["items"]]

    assert sorted(listed(f"rule={rule_id}")) == sorted(events)
    assert listed(f"channel={channel}") == listed(f"channel={channel}&order=ASC")[::-1]
    assert len(listed(f"channel={channel}&page=2&pageSize=2")) == 1
    assert listed("feature=nothing") == listed("subject=unknown") == listed("to=2020-01-01") == []
    assert api.get("/notification/events?from=x").status_code == 400
    assert api.get("/deliveries?state=LOST").json()["reason"] == "bad-query"
    assert api.get("/deliveries/nothing").status_code == api.get("/notification/events/x").status_code == 404
