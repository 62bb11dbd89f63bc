"""Commands that send again: decided like any other, so that the audit log has them, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.control_log import Log

SPAN = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def endpoint(log: Log) -> str:
    secret = "whsec_" + "A" * 32
    wish = {"name": "mine", "url": "https://example.com/hook", "signingSecret": secret}
    return str(log.do("endpoint.create", wish)["id"])


def test_a_replay_is_of_failed_deliveries_unless_said(log: Log, endpoint: str) -> None:
    assert log.do("endpoint.replay", {"id": endpoint, **SPAN}) == {**SPAN, "states": ["FAILED"]}
    wish = {"id": endpoint, **SPAN, "states": ["SUCCESS", "FAILED"]}
    assert log.do("endpoint.replay", wish) == {**SPAN, "states": ["SUCCESS", "FAILED"]}


def test_a_rule_is_tried_while_it_lives(log: Log, endpoint: str) -> None:
    rule = log.do("rule.create", {"type": "entitlements.reset", "name": "r", "channels": [endpoint]})
    assert log.do("rule.test", {"id": rule["id"]}) == rule
    log.do("rule.delete", {"id": rule["id"]})
    assert log.refused("rule.test", {"id": rule["id"]})[0] == "not-found"


def test_an_event_goes_to_channels_that_it_went_to(log: Log) -> None:
    wish = {"id": "e", "sentTo": ["a", "b"]}
    assert log.do("event.resend", wish)["channels"] == ["a", "b"]
    assert log.do("event.resend", wish | {"channels": ["b", "b"]})["channels"] == ["b"]
    assert log.do("delivery.resend", {"id": "d", "endpoint": "a"}) == {"id": "d", "endpoint": "a"}


@pytest.mark.parametrize(
    ("kind", "wish", "reason", "said"),
    [
        ("delivery.resend", {"id": "d"}, "not-found", "There is no delivery with the id d."),
        ("event.resend", {"id": "e"}, "not-found", "There is no event with the id e."),
        ("event.resend", {"id": "e", "sentTo": ["a"], "channels": ["b"]}, "bad-resend", "channels must be"),
        ("event.resend", {"id": "e", "sentTo": ["a"], "channels": "a"}, "bad-resend", "channels must be"),
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
    log: Log, endpoint: str, kind: str, wish: dict[str, Any], reason: str, said: str
) -> None:
    found, detail = log.refused(kind, {"id": endpoint, **wish})
    assert found == reason and said in detail
    assert (log.audit[-1].kind, log.audit[-1].error) == (kind, reason)
