"""Rules and endpoints on the control log: limits, what refers to what, and that no secret comes back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pipeline.core.notifications import rule
from pipeline.core.notifications.rule import BalanceRule, ExpiringRule, ResetRule, Rule
from pipeline.core.notifications.threshold import Threshold
from pipeline.core.values.calendar import Interval
from pipeline.core.values.number import SCALE
from tests.fixtures.control_log import AT, AT_MS, Log

SECRET = "whsec_" + "A" * 32
OTHER = "whsec_" + "B" * 32
ENDPOINT: dict[str, Any] = {"name": "mine", "url": "https://example.com/hook", "signingSecret": SECRET}
METER: dict[str, Any] = {
    "slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}  # fmt: skip


def log() -> tuple[Log, str]:
    made = Log()
    made.do("meter.apply", METER)
    made.do("meter.apply", {**METER, "slug": "distinct", "aggregation": "UNIQUE_COUNT"})
    made.do("feature.create", {"key": "gpt", "name": "GPT", "meterSlug": "tokens"})
    made.do("customer.create", {"key": "acme", "name": "Acme"})
    return made, made.do("endpoint.create", ENDPOINT)["id"]


def balance(channel: str, **more: Any) -> dict[str, Any]:
    thresholds = [{"type": "usage_percentage", "value": 80}, {"type": "NUMBER", "value": "2.5"}]
    return {
        "type": rule.BALANCE, "name": "watch", "channels": [channel], "thresholds": thresholds,
        "features": ["gpt"], **more,
    }  # fmt: skip


def test_a_threshold_rule() -> None:
    made, channel = log()
    body = made.do("rule.create", balance(channel))
    feature = body["features"][0]["id"]
    assert body == {
        "id": body["id"], "type": rule.BALANCE, "name": "watch", "channels": [channel], "disabled": False,
        "features": [{"id": feature, "key": "gpt"}], "rearm": "period",
        "thresholds": [{"type": "usage_percentage", "value": "80"}, {"type": "NUMBER", "value": "2.5"}],
        "createdAt": AT, "updatedAt": AT,
    }  # fmt: skip
    stored = BalanceRule.read(body)
    assert stored.levels == [
        Threshold("usage_percentage", 80 * SCALE), Threshold("NUMBER", 5 * SCALE // 2)
    ]  # fmt: skip
    assert stored.watches(feature, "new") and stored.watches("new", "gpt")
    assert not stored.watches("new", "new")
    assert stored.is_on


def test_the_other_types() -> None:
    made, channel = log()
    every = {"name": "n", "channels": [channel]}
    body = made.do("rule.create", {**every, "type": rule.RESET})
    assert ResetRule.read(body).watches("any", "any")
    expiring = made.do("rule.create", {**every, "type": rule.EXPIRING, "before": "P1M1W"})
    assert ExpiringRule.read(expiring).interval == Interval(1, 0, 7)
    volume = {**every, "type": rule.VOLUME, "meterSlug": "tokens", "windowSize": "HOUR", "limit": 1000}
    body = made.do("rule.create", {**volume, "customers": ["acme"], "groupBy": {"model": "large"}})
    assert (body["limit"], body["groupBy"]) == ("1000", {"model": "large"})
    assert len(body["customers"][0]) == 26


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"type": "other"}, "type must be one of"),
        ({"name": ""}, "name is required"),
        ({"channels": []}, "1 to 5"),
        ({"channels": list("abcdef")}, "at most 5"),
        ({"channels": ["none"]}, "no channel"),
        ({"thresholds": []}, "1 to 10"),
        ({"thresholds": None}, "required"),
        ({"thresholds": [{"type": "usage_value", "value": n} for n in range(11)]}, "1 to 10"),
        ({"thresholds": [{"type": "usage_value"}]}, "type and a value"),
        ({"thresholds": [{"type": "mood", "value": 1}]}, "rule threshold type must be one of balance_value"),
        ({"thresholds": [{"type": 5, "value": 1}]}, "rule threshold type must be a string"),
        ({"thresholds": [{"type": "usage_value", "value": "x"}]}, "rule threshold value is not valid"),
        (
            {"thresholds": [{"type": "usage_value", "value": 1, "for": "PT5M"}]},
            "rule threshold has an unknown",
        ),
        ({"type": "invoice.created"}, "thresholds"),
        ({"type": "invoice.paid", "thresholds": ...}, "rule type must be one of"),
        ({"id": "mine"}, "rule id is written by the server"),
        ({"deletedAt": AT}, "rule deletedAt is written by the server"),
        ({"thresholds": [{"type": "usage_value", "value": -1}]}, "negative"),
        ({"thresholds": [{"type": "NUMBER", "value": 5}, {"type": "usage_value", "value": "5.0"}]}, "twice"),
        ({"features": ["nothing"]}, "no feature"),
        ({"rearm": "never"}, "one of period"),
        ({"before": "P1D"}, "unknown member"),
        ({"type": rule.EXPIRING, "thresholds": ..., "before": None}, "before is required"),
        ({"type": rule.EXPIRING, "thresholds": ..., "before": "PT1M"}, "at least PT1H"),
    ],
)
def test_what_is_no_rule(more: dict[str, Any], detail: str) -> None:
    made, channel = log()
    body = {name: value for name, value in balance(channel, **more).items() if value is not ...}
    reason, found = made.refused("rule.create", body)
    assert (reason, detail in found) == ("bad-rule", True), found


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"meterSlug": "none"}, "meter not found"),
        ({"meterSlug": "distinct"}, "adds up"),
        ({"windowSize": "YEAR"}, "one of MINUTE"),
        ({"windowSize": None}, "windowSize is required"),
        ({"limit": None}, "limit is required"),
        ({"groupBy": {"color": "red"}}, "no group-by key"),
    ],
)
def test_what_is_no_volume_rule(more: dict[str, Any], detail: str) -> None:
    made, channel = log()
    every = {"type": rule.VOLUME, "name": "n", "channels": [channel]}
    body = {**every, "meterSlug": "tokens", "windowSize": "DAY", "limit": 5, **more}
    reason, found = made.refused("rule.create", body)
    assert (reason, detail in found) == ("bad-rule", True), found


def test_a_meter_keeps_the_dimension_that_a_rule_needs() -> None:
    made, channel = log()
    volume = {
        "type": rule.VOLUME, "name": "v", "channels": [channel], "meterSlug": "tokens", "windowSize": "DAY",
        "limit": 1, "groupBy": {"model": "large"},
    }  # fmt: skip
    id = made.do("rule.create", volume)["id"]
    reason, detail = made.refused("meter.update", {"slug": "tokens", "groupBy": {}})
    assert reason == "meter-conflict"
    assert detail == f"meter group by key model cannot be removed: the notification rule {id} needs it"
    made.do("meter.update", {"slug": "tokens", "groupBy": {"model": "$.model", "more": "$.more"}})
    made.do("rule.delete", {"id": id})
    made.do("meter.update", {"slug": "tokens", "groupBy": {}})
    made.do("meter.apply", METER)
    made.do("rule.create", volume)
    made.do("feature.archive", {"id": "gpt"})
    made.do("meter.delete", {"slug": "tokens"})
    made.do("meter.apply", METER)
    made.do("meter.update", {"slug": "tokens", "groupBy": {}})  # the rule is about the meter before


def test_changing_and_ending_a_rule() -> None:
    made, channel = log()
    old = made.do("rule.create", balance(channel))
    same = made.run(made.command("rule.update", {"id": old["id"], **balance(channel)}), AT_MS + 1000)
    assert (same.definitions, same.reply.body) == ([], old)
    off = made.do("rule.update", {"id": old["id"], **balance(channel, disabled=True)}, at_ms=AT_MS + 1000)
    assert not Rule.read(off).is_on and off["createdAt"] == AT != off["updatedAt"]
    body = {"id": old["id"], **balance(channel), "createdAt": "2020-01-01T00:00:00Z"}
    assert "createdAt is written by the server" in made.refused("rule.update", body)[1]
    other = {"id": old["id"], "type": rule.RESET, "name": "n", "channels": [channel]}
    assert "type of a rule" in made.refused("rule.update", other)[1]
    assert "deletedAt" in made.do("rule.delete", {"id": old["id"]})
    assert made.refused("rule.delete", {"id": old["id"]})[0] == "not-found"
    assert made.refused("rule.update", {"id": old["id"], **balance(channel)})[0] == "not-found"


def test_an_endpoint_goes_when_no_rule_needs_it() -> None:
    made, channel = log()
    body = made.do("rule.create", balance(channel))
    reason, detail = made.refused("endpoint.delete", {"id": channel})
    assert reason == "endpoint-conflict" and body["id"] in detail
    made.do("rule.delete", {"id": body["id"]})
    made.do("endpoint.delete", {"id": channel})
    assert made.body("endpoint", channel)["signingSecret"] == ""
    assert made.refused("endpoint.delete", {"id": channel})[0] == "not-found"
    assert "no channel" in made.refused("rule.create", balance(channel))[1]


def test_no_secret_comes_back() -> None:
    made, channel = log()
    made.do("endpoint.update", {"id": channel, **ENDPOINT, "signingSecret": OTHER})
    made.do("endpoint.rotate", {"id": channel, "signingSecret": SECRET})
    made.do("endpoint.disable", {"id": channel, "reason": "gone"})
    made.do("endpoint.delete", {"id": channel})
    published = json.dumps([reply.body for reply in made.replies]) + str(made.audit)
    assert "A" * 32 not in published and "B" * 32 not in published


def test_turning_a_secret() -> None:
    made, channel = log()
    made.do("endpoint.update", {"id": channel, **{**ENDPOINT, "signingSecret": None, "name": "other"}})
    assert made.body("endpoint", channel)["signingSecret"] == SECRET
    assert "previousSecret" not in made.body("endpoint", channel)
    made.do("endpoint.rotate", {"id": channel, "signingSecret": OTHER, "overlapS": 3600})
    body = made.body("endpoint", channel)
    assert body["signingSecret"] == OTHER
    assert body["previousSecret"] == {"secret": SECRET, "until": "2026-01-01T01:00:00.000Z"}
    again = {"id": channel, "signingSecret": OTHER}
    assert "new one" in made.refused("endpoint.rotate", again)[1]
    sealed = {"id": channel, "signingSecret": "sealed:v1:01234567:AAAA"}
    made.do("endpoint.rotate", sealed)


def test_disabling() -> None:
    made, channel = log()
    body = made.do("endpoint.disable", {"id": channel, "reason": "gone"})
    assert (body["disabled"], body["disabledReason"], body["disabledAt"]) == (True, "gone", AT)
    assert made.run(made.command("endpoint.disable", {"id": channel, "reason": "failing"})).definitions == []
    kept = made.do("endpoint.update", {"id": channel, **ENDPOINT, "disabled": True, "name": "n"})
    assert kept["disabledReason"] == "gone"
    on = made.do("endpoint.update", {"id": channel, **ENDPOINT, "disabled": False})
    assert on["disabled"] is False and "disabledReason" not in on


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"url": "ftp://example.com"}, "https://"),
        ({"url": "https:///path"}, "name a host"),
        ({"url": None}, "url is required"),
        ({"name": None}, "name is required"),
        ({"type": "EMAIL"}, "WEBHOOK"),
        ({"signingSecret": None}, "signingSecret is required"),
        ({"signingSecret": "whsec_AAAA"}, "24 to 64"),
        ({"signingSecret": "whsec_!"}, "not base64"),
        ({"customHeaders": {"a b": "c"}}, "not a header"),
        ({"customHeaders": {"a": "c\r\nx: y"}}, "not a header"),
    ],
)
def test_what_is_no_endpoint(more: dict[str, Any], detail: str) -> None:
    reason, found = Log().refused("endpoint.create", {**ENDPOINT, **more})
    assert (reason, detail in found) == ("bad-endpoint", True), found
    assert "AAAA" not in found


def test_another_namespace_sees_nothing() -> None:
    made, channel = log()
    for kind in ("endpoint.delete", "endpoint.disable", "rule.delete"):
        assert made.refused(kind, {"id": channel}, "other")[0] == "not-found"
    assert "no channel" in made.refused("rule.create", balance(channel, features=None), "other")[1]


@pytest.mark.parametrize("kind", ["rule", "endpoint"])
def test_an_update_keeps_what_this_version_does_not_know(kind: str) -> None:
    made, channel = log()
    sent = ENDPOINT if kind == "endpoint" else balance(channel)
    id = channel if kind == "endpoint" else made.do("rule.create", sent)["id"]
    place = f"default/{kind}/{id}"
    made.do(f"{kind}.update", {**sent, "id": id, "name": "other"})
    stored = made.state[place]
    assert stored.body is not None
    made.state[place] = msgspec.structs.replace(stored, body={**stored.body, "priority": {"level": 3}})
    reply = made.do(f"{kind}.update", {**sent, "id": id, "name": "another"})
    assert (reply["name"], reply["priority"]) == ("another", {"level": 3})
    assert list(made.body(kind, id)) == [*stored.body, "priority"]
