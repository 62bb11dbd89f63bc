"""Commands that send again: decided like any other, so that the audit log has them; no definition changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.records import Alert, WebhookWork
from tests.fixtures.control_log import AT_MS, Log

DAY_MS = 86_400_000
SPAN = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def endpoint(log: Log) -> str:
    secret = "whsec_" + "A" * 32
    body = {"name": "mine", "url": "https://example.com/hook", "signingSecret": secret}
    return str(log.do("endpoint.create", body)["id"])


def sent(log: Log, kind: str, asked: dict[str, Any]) -> tuple[Any, tuple[Alert | WebhookWork, ...]]:
    """The reply's body, and what goes to the webhook stage."""
    decision = log.run(log.command(kind, asked))
    assert decision.reply.error == "" and decision.definitions == []
    return decision.reply.body, decision.sends


def test_a_replay_is_of_failed_deliveries_unless_given(log: Log, endpoint: str) -> None:
    body, (work,) = sent(log, "endpoint.replay", {"id": endpoint, **SPAN})
    assert body == {**SPAN, "states": ["FAILED"]}
    assert work == WebhookWork(
        "replay", "default", endpoint, "", AT_MS, from_ms=AT_MS, to_ms=AT_MS + DAY_MS, states=["FAILED"], actor="ann"
    )  # fmt: skip
    body, (work,) = sent(log, "endpoint.replay", {"id": endpoint, **SPAN, "states": ["SUCCESS", "FAILED"]})
    assert isinstance(work, WebhookWork) and body["states"] == work.states == ["SUCCESS", "FAILED"]


def test_a_replay_begins_at_the_first_millisecond_that_is_in_it(log: Log, endpoint: str) -> None:
    span = {"from": "2026-01-01T00:00:00.0001Z", "to": "2026-01-01T00:00:00.0020Z"}
    _, (work,) = sent(log, "endpoint.replay", {"id": endpoint, **span})
    assert isinstance(work, WebhookWork) and (work.from_ms, work.to_ms) == (AT_MS + 1, AT_MS + 2)


def test_a_rule_is_tried_while_it_lives(log: Log, endpoint: str) -> None:
    rule = log.do("rule.create", {"type": "entitlements.reset", "name": "r", "channels": [endpoint]})
    body, (alert,) = sent(log, "rule.test", {"id": rule["id"]})
    assert isinstance(alert, Alert) and msgspec.convert(body, Alert) == alert
    assert (alert.rule, alert.endpoints, alert.at_ms) == (rule["id"], [endpoint], AT_MS)
    log.do("rule.delete", {"id": rule["id"]})
    assert log.refused("rule.test", {"id": rule["id"]})[0] == "not-found"


def test_an_event_goes_to_channels_that_it_went_to(log: Log) -> None:
    asked = {"id": "e", "deliveries": {"a": "d1", "b": "d2"}}
    body, work = sent(log, "event.resend", asked)
    assert body["channels"] == ["a", "b"]
    assert work == tuple(
        WebhookWork("resend", "default", endpoint, id, AT_MS, actor="ann")
        for endpoint, id in asked["deliveries"].items()
    )
    body, work = sent(log, "event.resend", asked | {"channels": ["b", "b"]})
    assert body["channels"] == ["b"] and [one.id for one in work] == ["d2"]
    body, work = sent(log, "delivery.resend", {"id": "d", "endpoint": "a"})
    assert body == {"id": "d", "endpoint": "a"}
    assert work == (WebhookWork("resend", "default", "a", "d", AT_MS, actor="ann"),)


@pytest.mark.parametrize(
    ("kind", "body", "reason", "part"),
    [
        ("delivery.resend", {"id": "d"}, "not-found", "There is no delivery with the id d."),
        ("event.resend", {"id": "e"}, "not-found", "There is no event with the id e."),
        (
            "event.resend",
            {"id": "e", "deliveries": {"a": "d"}, "channels": ["b"]},
            "bad-resend",
            "channels must be",
        ),
        (
            "event.resend",
            {"id": "e", "deliveries": {"a": "d"}, "channels": "a"},
            "bad-resend",
            "channels must be",
        ),
        ("rule.test", {"id": "r"}, "not-found", "There is no rule with the id r."),
        ("endpoint.replay", {"id": "x", **SPAN}, "not-found", "There is no endpoint with the id x."),
        ("endpoint.replay", {"from": SPAN["from"]}, "bad-replay", "from and to are required"),
        ("endpoint.replay", {**SPAN, "to": SPAN["from"]}, "bad-replay", "from must be before to"),
        ("endpoint.replay", {**SPAN, "states": ["LOST"]}, "bad-replay", "states must be a list of"),
        ("endpoint.replay", {**SPAN, "states": []}, "bad-replay", "states must be a list of"),
        ("endpoint.replay", {**SPAN, "all": True}, "bad-replay", "unknown member"),
    ],
)
def test_what_is_wrong_is_refused(
    log: Log, endpoint: str, kind: str, body: dict[str, Any], reason: str, part: str
) -> None:
    found, detail = log.refused(kind, {"id": endpoint, **body})
    assert found == reason and part in detail
    assert (log.audit[-1].kind, log.audit[-1].error) == (kind, reason)
