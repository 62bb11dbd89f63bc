"""What a stored rule means: its type, whether it fires, what it is about."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.definitions.changes import Changes
from pipeline.core.notifications import rule
from pipeline.core.notifications.entitlement_rules import Rules
from pipeline.core.notifications.rule import (
    BalanceRule,
    CreditRule,
    ExpiringRule,
    InvoiceRule,
    ResetRule,
    Rule,
    VolumeRule,
)
from pipeline.core.notifications.threshold import Threshold
from pipeline.core.values.calendar import Interval
from pipeline.core.values.number import SCALE
from pipeline.records import Definition

BODY: dict[str, Any] = {
    "id": "r",
    "type": "a.later.type",
    "name": "n",
    "channels": ["c"],
    "disabled": False,
}
TYPES: list[tuple[type[Rule], dict[str, Any]]] = [
    (
        BalanceRule,
        {"type": rule.BALANCE, "thresholds": [{"type": "NUMBER", "value": "2.5"}], "rearm": "period"},
    ),
    (ResetRule, {"type": rule.RESET}),
    (ExpiringRule, {"type": rule.EXPIRING, "before": "P1M"}),
    (VolumeRule, {"type": rule.VOLUME, "meterSlug": "m", "windowSize": "DAY", "limit": "7"}),
    (CreditRule, {"type": rule.CREDIT, "currency": "USD", "threshold": "5"}),
    *((InvoiceRule, {"type": kind}) for kind in (rule.CREATED, rule.UPDATED, rule.OVERDUE)),
    (Rule, {}),
]


@pytest.mark.parametrize(("kind", "more"), TYPES, ids=lambda one: getattr(one, "__name__", ""))
def test_each_type_has_its_members(kind: type[Rule], more: dict[str, Any]) -> None:
    assert type(Rule.read({**BODY, **more})) is kind


def test_amounts_and_intervals_are_read_once() -> None:
    balance = BalanceRule.read({**BODY, **TYPES[0][1]})
    assert balance.levels == [Threshold("NUMBER", 5 * SCALE // 2)] and balance.levels is balance.levels
    assert ExpiringRule.read({**BODY, **TYPES[2][1]}).interval == Interval(1, 0, 0)


@pytest.mark.parametrize(
    ("more", "is_on"),
    [({}, True), ({"disabled": True}, False), ({"deletedAt": "2026-01-01T00:00:00Z"}, False)],
)
def test_a_rule_that_is_disabled_or_deleted_is_off(more: dict[str, Any], is_on: bool) -> None:
    reset = {**BODY, "type": rule.RESET, **more}
    assert Rule.read(reset).is_on is is_on
    rules = Rules()
    rules.update(Changes({"": Definition(1, "rule", "default", "r", "ann", 0, reset)}))
    assert bool(rules.watching("default", "f", "k").reset) is is_on


def test_a_rule_is_about_the_features_that_it_names_by_id_or_key_else_about_all() -> None:
    reset = {**BODY, "type": rule.RESET}
    some = ResetRule.read({**reset, "features": [{"id": "f", "key": "k"}]})
    assert some.watches("f", "other") and some.watches("other", "k") and not some.watches("other", "other")
    assert ResetRule.read(reset).watches("any", "any")


def test_a_rule_of_an_unknown_type_never_fires() -> None:
    rules = Rules()
    rules.update(Changes({"": Definition(1, "rule", "default", "r", "ann", 0, BODY)}))
    assert rules.watching("default", "f", "k") == ([], [], [])
