"""Alerting: what a record does to an account, and the balance that comes of it."""

from __future__ import annotations

import json

import pytest

from pipeline.core.quota.balance_update import called, keep_called
from pipeline.records import Balance
from tests.fixtures.alert_desk import (
    AT_S,
    DAY_S,
    HOUR_S,
    METERED,
    MINUTE_S,
    Usage,
    amount,
    desk,
    fired,
    watch,
)
from tests.fixtures.control_log import AT
from tests.fixtures.fake_transaction import DictTable


def access(balance: Balance) -> tuple[str, bool, str]:
    return balance.type, balance.has_access, balance.entitlement


def test_boolean_and_static_ones_begin_and_end_on_time() -> None:
    made, customer, _ = desk()
    sso = {"customerId": "acme", "featureKey": "sso", "type": "boolean", "activeTo": "2026-01-02T00:00:00Z"}
    plain = {"customerId": "acme", "featureKey": "gpt", "type": "static", "config": '{"seats": 5}'}
    begin_s = AT_S + HOUR_S
    boolean = made.do("entitlement.create", sso)["id"]
    static = made.do("entitlement.create", {**plain, "activeFrom": "2026-01-01T01:00:00Z"})["id"]
    assert access(made.balance(customer, "sso")) == ("boolean", True, boolean)
    assert access(made.balance(customer)) == ("", False, "")
    assert made.balance(customer).next_at_ms == begin_s * 1000
    made.clock(begin_s)
    assert access(made.balance(customer)) == ("static", True, static)
    assert json.loads(made.balance(customer).config) == {"seats": 5}
    assert made.balance(customer).next_at_ms == 0
    made.clock(AT_S + DAY_S)
    assert access(made.balance(customer, "sso")) == ("", False, boolean)


def test_usage_of_what_is_not_metered_changes_nothing() -> None:
    made, customer, _ = desk()
    static = {"customerId": "acme", "featureKey": "gpt", "type": "static", "config": "1"}
    made.do("entitlement.create", static)
    before = made.balance(customer)
    made.use([Usage(1).event("a", AT_S)], AT_S + 1)
    assert made.balance(customer) == before


@pytest.mark.parametrize("issued", [None, 10])
def test_an_unlimited_entitlement_gives_access_whatever_was_used(issued: int | None) -> None:
    made, customer, endpoint = desk()
    made.do("rule.create", watch(endpoint, 5, 15))
    until = {"activeTo": "2026-01-02T00:00:00Z"}
    made.do("entitlement.create", {**METERED, **until, "isUnlimited": True, "issueAfterReset": issued})
    assert made.balance(customer).has_access
    made.use([Usage(1).event("a", AT_S, 15)], AT_S + 30)
    after = made.balance(customer)
    assert (after.has_access, amount(after.balance), amount(after.usage)) == (True, 0, 15)
    assert amount(after.overage) == 15 - (issued or 0)
    assert fired(made.alerts) == ["usage_value:15", "usage_value:5"]
    made.clock(AT_S + DAY_S)
    assert not made.balance(customer).has_access  # it has ended


def test_an_entitlement_that_measures_from_the_beginning_of_time_is_kept() -> None:
    made, customer, _ = desk()
    made.do("entitlement.create", {**METERED, "measureUsageFrom": "1970-01-01T00:00:00Z"})
    made.use([Usage(1).event("a", AT_S, 3)], AT_S + 30)
    assert amount(made.balance(customer).balance) == 97


def test_a_deleted_entitlement_gives_nothing_and_takes_no_usage() -> None:
    made, customer, endpoint = desk()
    made.do("rule.create", watch(endpoint, 5))
    first = made.do("entitlement.create", METERED)["id"]
    usage = Usage(1)
    (alert,) = made.use([usage.event("a", AT_S, 10)], AT_S + 30)
    made.do("entitlement.delete", {"id": first}, AT_S + HOUR_S)
    assert access(made.balance(customer)) == ("", False, first)
    resolved = made.alerts[-1]
    assert resolved.annotations == {"threshold": "usage_value:5", "state": "resolved"}
    assert resolved.id != alert.id
    made.use([usage.event("a", AT_S + HOUR_S, 10)], AT_S + HOUR_S + 30)
    assert len(made.alerts) == 2
    second = made.do("entitlement.create", METERED, AT_S + HOUR_S + MINUTE_S)["id"]
    assert access(made.balance(customer)) == ("metered", True, second)
    assert made.balance(customer).usage == "0"


def test_two_that_follow_one_another_share_usage_but_not_alerts() -> None:
    """The second counts usage of the first from where it measures; its thresholds fire again."""
    made, customer, endpoint = desk()
    made.do("rule.create", watch(endpoint, 5))
    half = {**METERED, "activeTo": "2026-01-01T12:00:00Z"}
    first = made.do("entitlement.create", half)["id"]
    later: dict[str, object] = {"activeFrom": "2026-01-01T12:00:00Z", "measureUsageFrom": AT}
    later["usagePeriod"] = {"interval": "MONTH", "anchor": AT}
    second = made.do("entitlement.create", {**METERED, **later})["id"]
    usage = Usage(1)
    made.use([usage.event("a", AT_S + MINUTE_S, 10)], AT_S + 2 * MINUTE_S)
    made.clock(made.timers.next_s())
    assert made.balance(customer).entitlement == second
    assert made.balance(customer).usage == "10"
    fired = [(one.annotations["state"], of(one.payload)) for one in made.alerts]
    assert fired == [("fired", first), ("resolved", first), ("fired", second)]
    assert len({one.id for one in made.alerts}) == 3


def of(payload: str) -> str:
    return str(json.loads(payload)["data"]["entitlement"]["id"])


def test_time_does_not_go_back_to_the_entitlement_before() -> None:
    made, customer, _ = desk()
    made.do("entitlement.create", {**METERED, "activeTo": "2026-01-01T12:00:00Z"})
    second = made.do("entitlement.create", {**METERED, "activeFrom": "2026-01-01T12:00:00Z"})["id"]
    made.clock(AT_S + 12 * HOUR_S)
    assert made.balance(customer).entitlement == second
    made.use([Usage(1).event("a", AT_S + 12 * HOUR_S, 3)], AT_S + 12 * HOUR_S - 1)
    assert (made.balance(customer).entitlement, made.balance(customer).usage) == (second, "3")


def test_an_override_ends_the_one_before() -> None:
    made, customer, _ = desk()
    made.do("entitlement.create", METERED)
    made.use([Usage(1).event("a", AT_S, 30)], AT_S + 30)
    more = {"id": "gpt", "customerId": "acme", "entitlement": {**METERED, "issueAfterReset": 500}}
    made.do("entitlement.override", more, AT_S + HOUR_S)
    assert amount(made.balance(customer).balance) == 500


def test_only_usage_that_the_features_filter_matches_counts() -> None:
    made, customer, _ = desk()
    large = {"key": "large", "name": "L", "meterSlug": "tokens", "meterGroupByFilters": {"model": "large"}}
    made.do("feature.create", large)
    made.do("entitlement.create", METERED)
    made.do("entitlement.create", {**METERED, "featureKey": "large"})
    usage = Usage(1)
    windows = [usage.event("a", AT_S, 7), usage.event("b", AT_S, 9, "large")]
    made.use(windows, AT_S + 1)
    assert (made.balance(customer).usage, made.balance(customer, "large").usage) == ("16", "9")


def test_what_a_clock_record_found_due_is_kept_while_it_may_be_read_again() -> None:
    table = DictTable()
    keep_called(table, 5, [b"a" * 17, b"b" * 17], 5)
    keep_called(table, 7, [b"a" * 17], 5)
    table.commit()
    assert called(table, 5) == [b"a" * 17, b"b" * 17] and called(table, 6) == []
    keep_called(table, 9, [], 7)
    table.commit()
    assert called(table, 5) == [] and called(table, 7) == [b"a" * 17]
