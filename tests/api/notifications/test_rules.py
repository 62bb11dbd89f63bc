"""Rules over HTTP, in the shapes that OpenMeter's clients expect."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.fixtures.control_stage import ControlStage

PATH = "/notification/rules"


@pytest.fixture(scope="module")
def channel(api: TestClient, decider: ControlStage) -> str:
    """A channel, and a feature to have rules about."""
    api.post("/meters", json={"slug": "calls", "eventType": "x", "aggregation": "COUNT"})
    assert api.post("/features", json={"key": "f1", "name": "F", "meterSlug": "calls"}).status_code == 201
    made = api.post("/notification/channels", json={"name": "c", "url": "https://example.com/"})
    return str(made.json()["id"])


def refused(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["reason"]


def threshold(channel: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "entitlements.balance.threshold",
        "name": "80 %",
        "channels": [channel],
        "features": ["f1"],
        "thresholds": [{"type": "usage_percentage", "value": 80}, {"type": "NUMBER", "value": "0.5"}],
        **more,
    }


def test_a_rule_from_creation_to_its_end(api: TestClient, channel: str) -> None:
    created = api.post(PATH, json=threshold(channel))
    assert created.status_code == 201, created.text
    made = created.json()
    assert made["channels"] == [{"id": channel, "type": "WEBHOOK"}]
    assert made["thresholds"] == [{"type": "usage_percentage", "value": 80}, {"type": "NUMBER", "value": 0.5}]
    assert [one["key"] for one in made["features"]] == ["f1"] and made["disabled"] is False
    url = f"{PATH}/{made['id']}"
    assert api.get(url).json() == made and api.get(PATH).json()["items"] == [made]
    for query, there in (("feature=f1", 1), ("feature=f2", 0), (f"channel={channel}", 1), ("channel=x", 0)):
        assert api.get(f"{PATH}?{query}").json()["totalCount"] == there

    changed = api.put(url, json=threshold(channel, name="all", disabled=True)).json()
    assert (changed["name"], changed["disabled"], changed["createdAt"]) == ("all", True, made["createdAt"])
    assert api.get(PATH).json()["items"] == []
    assert api.get(PATH + "?includeDisabled=true").json()["items"] == [changed]
    assert api.delete(url).status_code == 204
    assert api.get(url).json()["deletedAt"]
    for response in (api.delete(url), api.put(url, json=threshold(channel)), api.post(url + "/test")):
        assert refused(response) == (404, "not-found")


def kinds(channel: str) -> list[dict[str, Any]]:
    base = {"name": "r", "channels": [channel]}
    return [
        threshold(channel),
        base | {"type": "entitlements.reset"},
        base | {"type": "entitlements.grant.expiring", "before": "P3D"},
        base
        | {"type": "meter.volume.threshold", "meterSlug": "calls", "windowSize": "HOUR", "limit": 1000.5},
        *(base | {"type": f"invoice.{what}"} for what in ("created", "updated", "overdue")),
    ]


def test_each_type_can_be_tried(api: TestClient, channel: str) -> None:
    for wanted in kinds(channel):
        rule = api.post(PATH, json=wanted)
        assert rule.status_code == 201, rule.text
        tried = api.post(f"{PATH}/{rule.json()['id']}/test")
        assert tried.status_code == 201, tried.text
        event = tried.json()
        assert event["type"] == event["payload"]["type"] == wanted["type"]
        assert event["annotations"] == {"notification.rule.test": "true"}
        assert event["id"] == event["payload"]["id"] and event["rule"] == rule.json()
        (status,) = event["deliveryStatus"]
        assert (status["channel"]["id"], status["state"]) == (channel, "PENDING")
        listed = api.get(f"/notification/events?rule={rule.json()['id']}").json()
        assert listed["items"] == [event] == [api.get(f"/notification/events/{event['id']}").json()]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"type": "x"}, "rule type must be one of"),
        ({"channels": []}, "rule channels must have 1 to 5 members"),
        ({"channels": ["x"]}, "there is no channel with the id x"),
        ({"thresholds": []}, "rule thresholds must be a list of 1 to 10 objects"),
        ({"features": ["nothing"]}, "there is no feature with the id or key nothing"),
        ({"name": None}, "rule name is required"),
        ({"type": "invoice.created"}, "rule has an unknown member 'features'"),
        ({"thresholds": [{"type": "mood", "value": 1}]}, "rule threshold type must be one of balance_value,"),
        ({"createdAt": "2026-01-01T00:00:00Z"}, "rule createdAt is written by the server"),
    ],
)
def test_a_wrong_rule_is_refused(api: TestClient, channel: str, change: dict[str, Any], detail: str) -> None:
    response = api.post(PATH, json=threshold(channel) | change)
    assert refused(response) == (400, "bad-rule")
    assert detail in response.json()["detail"]


def test_what_arms_a_threshold_again_is_kept(api: TestClient, channel: str) -> None:
    made = api.post(PATH, json=threshold(channel, rearm="resolved")).json()
    assert made["rearm"] == "resolved"
    assert api.post(PATH, json=threshold(channel)).json()["rearm"] == "period"
    changed = api.put(f"{PATH}/{made['id']}", json=threshold(channel, id=made["id"])).json()
    assert changed["rearm"] == "period"
    response = api.put(f"{PATH}/{made['id']}", json=threshold(channel, id="another"))
    assert refused(response) == (400, "bad-rule") and "named by the path" in response.json()["detail"]
