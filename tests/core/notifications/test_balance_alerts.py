"""Telling: which rules look at an account, what an alert says, which event it names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.core.notifications import rule
from pipeline.core.notifications.balance_events import RESOLVED, crossing_event
from pipeline.core.notifications.threshold import Threshold
from pipeline.core.quota.balance_result import BalanceOutcome, BalanceStatus, OpenPhase
from pipeline.core.quota.balance_update import BalanceMoved
from pipeline.core.quota.burndown import Snapshot
from pipeline.core.quota.grant import Grant
from pipeline.core.values.number import SCALE
from pipeline.records import Alert, Window
from tests.fixtures.alert_desk import (
    AT_S,
    DAY_S,
    HOUR_S,
    METER,
    METERED,
    MINUTE_S,
    Usage,
    data,
    desk,
    fired,
    watch,
)

GRANTED = {"amount": 10, "effectiveAt": "2026-01-01T00:00:00Z", "expiration": {"duration": "DAY", "count": 2}}


def kinds(alerts: list[Alert]) -> list[str]:
    return [one.type for one in alerts]


def test_an_alert_says_what_happened_to_which_customer_and_by_which_event() -> None:
    made, customer, endpoint = desk()
    watching = made.do("rule.create", watch(endpoint, 20, 40, kind="usage_percentage", metadata={"a": "b"}))
    entitlement = made.do("entitlement.create", METERED)
    usage = Usage(1)
    windows = [usage.event("a", AT_S, 20, id="first"), usage.event("b", AT_S, 25, id="second")]
    (alert,) = made.use(windows, AT_S + 90)
    assert (alert.type, alert.rule, alert.endpoints) == (rule.BALANCE, watching["id"], [endpoint])
    assert (alert.customer, alert.feature, alert.subject, alert.at_ms) == (
        customer, "gpt", "b", (AT_S + 90) * 1000
    )  # fmt: skip
    body = json.loads(alert.payload)
    assert (body["id"], body["type"], body["timestamp"]) == (alert.id, alert.type, "2026-01-01T00:01:30.000Z")
    found = data(alert)
    assert found.pop("customer")["key"] == "acme"
    assert found.pop("entitlement")["id"] == entitlement["id"]
    assert found == {
        "feature": {"id": entitlement["featureId"], "key": "gpt"},
        "subject": {"key": "b"},
        "value": {
            "hasAccess": True, "balance": 55, "usage": 45, "overage": 0, "totalAvailableGrantAmount": 100,
        },
        "period": {"from": "2026-01-01T00:00:00.000Z", "to": "2026-02-01T00:00:00.000Z"},
        "threshold": {"type": "usage_percentage", "value": 40},
        "state": "fired",
        "passed": ["usage_percentage:20"],
        "event": {"source": "/source", "id": "second"},
    }  # fmt: skip


def standing(balance: int, usage: int, total: int) -> BalanceStatus:
    return BalanceStatus(
        "e", 0, 0, 0, balance * SCALE, usage * SCALE, 0, total * SCALE, True, 0, 0, 0, 0, {}
    )  # fmt: skip


def phase(balance: int, usage: int, total: int) -> OpenPhase:
    grant = Grant("g", total * SCALE, -MINUTE_S)
    before = Snapshot(0, {"g": balance * SCALE}, 0, 0, usage * SCALE, (total - balance) * SCALE)
    return OpenPhase((grant,), before, DAY_S, 0)


@pytest.mark.parametrize(
    ("kind", "value", "before", "named"),
    [
        ("usage_value", 0, (100, 0, 100), "e0"),
        ("usage_value", 9, (100, 0, 100), "e0"),
        ("usage_value", 10, (100, 0, 100), "e0"),
        ("usage_value", 11, (100, 0, 100), "e1"),
        ("usage_value", 30, (100, 0, 100), "e2"),
        ("usage_percentage", 10, (100, 0, 100), "e0"),
        ("usage_percentage", 11, (100, 0, 100), "e1"),
        ("usage_percentage", 33, (30, 0, 30), "e0"),  # 9.9 of 30
        ("usage_percentage", 34, (30, 0, 30), "e1"),  # 10.2 of 30
        ("usage_percentage", 50, (21, 19, 40), "e0"),
        ("balance_value", 89, (100, 0, 100), "e1"),
        ("balance_value", 90, (100, 0, 100), "e0"),
        ("balance_value", 91, (100, 0, 100), "e0"),
        ("balance_value", 0, (20, 80, 100), "e1"),
        ("usage_value", 99, (100, 0, 100), "e2"),  # not by these alone: the newest
    ],
)
def test_the_event_that_crossed_is_named(
    kind: str, value: int, before: tuple[int, int, int], named: str
) -> None:
    made, _, _ = desk()
    made.do("entitlement.create", METERED)
    (account,) = made.known.accounts.of("default", next(iter(made.balances))[0])
    usage = Usage(1)
    windows = [usage.event("a", AT_S + minute * MINUTE_S, 10) for minute in range(3)]
    outcome = BalanceOutcome(standing(0, 0, 0), [], [], None)
    moved = BalanceMoved(account, None, made.balance_of, 0, phase(*before), outcome, windows)
    assert crossing_event(moved, Threshold(kind, value * SCALE)) == ("/source", named)
    silent: list[Window] = usage.stored()
    assert crossing_event(moved._replace(windows=silent), Threshold(kind, value * SCALE)) is None


def test_a_period_arms_again_and_a_new_rule_looks_at_what_is_there() -> None:
    made, _, endpoint = desk()
    made.do("rule.create", watch(endpoint, 5))
    made.do("entitlement.create", {**METERED, "usagePeriod": {"interval": "DAY"}})
    usage = Usage(1)
    made.use([usage.event("a", AT_S, 6)], AT_S + 1)
    made.do("rule.create", watch(endpoint, 3), AT_S + 60)
    assert fired(made.alerts) == ["usage_value:3", "usage_value:5"]
    made.clock(AT_S + DAY_S)
    assert kinds(made.alerts[2:]) == [RESOLVED, RESOLVED]
    made.use([usage.event("a", AT_S + DAY_S, 4)], AT_S + DAY_S + 1)
    made.use([usage.event("a", AT_S + DAY_S, 4)], AT_S + DAY_S + 2)
    assert fired(made.alerts[4:]) == ["usage_value:3", "usage_value:5"]
    assert len({one.id for one in made.alerts}) == len(made.alerts) == 6


@pytest.mark.parametrize("rearm", ["period", "resolved"])
def test_after_a_top_up_a_threshold_fires_again_if_it_is_armed_by_being_resolved(rearm: str) -> None:
    made, _, endpoint = desk()
    made.do("rule.create", watch(endpoint, 80, kind="usage_percentage", rearm=rearm))
    made.do("entitlement.create", METERED)
    usage = Usage(1)
    made.use([usage.event("a", AT_S, 80)], AT_S + 1)
    made.do("grant.create", {"customerId": "acme", "entitlementId": "gpt", "amount": 100}, AT_S + 60)
    made.use([usage.event("a", AT_S, 79)], AT_S + 90)
    assert kinds(made.alerts) == [rule.BALANCE, RESOLVED]  # 159 of 200
    made.use([usage.event("a", AT_S, 1)], AT_S + 91)
    assert kinds(made.alerts[2:]) == ([rule.BALANCE] if rearm == "resolved" else [])
    assert len({one.id for one in made.alerts}) == len(made.alerts)


def test_a_manual_reset_fires_and_arms_again() -> None:
    made, _, endpoint = desk()
    made.do("rule.create", watch(endpoint, 5))
    reset = {"type": rule.RESET, "name": "n", "channels": [endpoint], "features": ["gpt"]}
    made.do("rule.create", reset)
    entitlement = made.do("entitlement.create", METERED)
    usage = Usage(1)
    made.use([usage.event("a", AT_S, 6)], AT_S + 1)
    made.do("entitlement.reset", {"id": entitlement["id"]}, AT_S + HOUR_S)
    assert sorted(kinds(made.alerts)) == sorted([rule.BALANCE, RESOLVED, rule.RESET])
    (reset,) = [one for one in made.alerts if one.type == rule.RESET]
    assert data(reset)["period"] == {"from": "2026-01-01T00:00:00.000Z", "to": "2026-01-01T01:00:00.000Z"}
    made.use([usage.event("a", AT_S + HOUR_S, 6)], AT_S + HOUR_S + 1)
    assert fired(made.alerts) == ["usage_value:5", "usage_value:5"]


def test_a_grant_that_ends_soon_fires_once_on_time() -> None:
    made, _, endpoint = desk()
    expiring = {"type": rule.EXPIRING, "name": "n", "channels": [endpoint], "before": "P1D"}
    made.do("rule.create", expiring)
    made.do("entitlement.create", {**METERED, "issueAfterReset": None, "grants": [GRANTED]})
    assert made.timers.next_s() == AT_S + DAY_S
    made.use([Usage(1).event("a", AT_S, 4)], AT_S + 60)
    (ending,) = made.clock(AT_S + DAY_S)
    grant = data(ending)["grant"]
    assert (grant["endsAt"], grant["balance"]) == ("2026-01-03T00:00:00.000Z", 6)
    assert made.clock(AT_S + DAY_S + HOUR_S) == [] and made.clock(AT_S + 2 * DAY_S) == []


@pytest.mark.parametrize(
    ("more", "fires"),
    [
        ({}, True),
        ({"features": ["gpt"]}, True),
        ({"features": ["sso"]}, False),
        ({"disabled": True}, False),
    ],
)
def test_a_rule_watches_its_features_while_it_is_on(more: dict[str, Any], fires: bool) -> None:
    made, _, endpoint = desk()
    watching = made.do("rule.create", watch(endpoint, 5, **more))
    made.do("entitlement.create", METERED)
    usage = Usage(1)
    assert bool(made.use([usage.event("a", AT_S, 6)], AT_S + 1)) == fires
    made.do("rule.delete", {"id": watching["id"]})
    made.do("entitlement.reset", {"id": made.balance_of().entitlement}, AT_S + HOUR_S)
    made.use([usage.event("a", AT_S + HOUR_S, 6)], AT_S + HOUR_S + 1)
    assert len(made.alerts) == fires


@pytest.mark.parametrize("name_by", ["key", "id"])
def test_a_rule_follows_the_key_of_its_feature_to_the_next_feature(name_by: str) -> None:
    """A feature is changed by archiving it and creating another one with its key."""
    made, _, endpoint = desk()
    first = made.log.catalog.one("default", "feature/key", "gpt")
    made.do("rule.create", watch(endpoint, 5, features=["gpt" if name_by == "key" else first]))
    made.do("entitlement.create", {**METERED, "activeTo": "2026-01-01T01:00:00Z"})
    made.do("feature.archive", {"id": "gpt"})
    usage = Usage(1)
    old = made.use([usage.event("a", AT_S, 6)], AT_S + 1)
    made.do("meter.delete", {"slug": "tokens"})
    made.do("meter.apply", METER)
    again = made.do("feature.create", {"key": "gpt", "name": "GPT", "meterSlug": "tokens"})
    made.do("entitlement.create", METERED, AT_S + HOUR_S)
    assert made.use([usage.event("a", AT_S + HOUR_S, 6)], AT_S + HOUR_S + 1) == []  # of the deleted meter
    meter_id = made.log.body("meter", "tokens")["meterId"]
    new = made.use([Usage(meter_id).event("a", AT_S + HOUR_S, 6)], AT_S + HOUR_S + 2)
    assert [data(one)["feature"]["id"] for one in (*old, *new)] == [first, again["id"]]
    assert again["id"] != first and fired([*old, *new]) == ["usage_value:5", "usage_value:5"]


def test_other_namespaces_rules_tell_nothing() -> None:
    made, _, endpoint = desk()
    other = made.log.do(
        "endpoint.create", {"name": "o", "url": "https://example.com/", "signingSecret": SECRET}, "other"
    )
    made.log.do("rule.create", watch(other["id"], 5), "other")
    made.follow()
    made.do("entitlement.create", METERED)
    assert made.use([Usage(1).event("a", AT_S, 6)], AT_S + 1) == []
    assert endpoint


SECRET = "whsec_" + "A" * 32
