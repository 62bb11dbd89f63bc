"""Entitlements are given as they are at the source, and their usage counts from the start of the period that runs."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.migration.entitlement_carry import carried, has_ended
from pipeline.core.values.timestamp import minute_s
from pipeline.errors import Rejected

NOW = "2026-03-20T12:00:30Z"
NOW_S = minute_s(NOW)
COMMON: dict[str, Any] = {
    "id": "01E", "customerId": "01C", "customerKey": "acme", "featureKey": "tokens", "featureId": "01F",
    "createdAt": "2026-01-10T00:00:00Z", "updatedAt": "2026-01-10T00:00:00Z", "activeFrom": "2026-01-10T00:00:00Z",
    "annotations": None,
}  # fmt: skip
METERED = COMMON | {
    "type": "metered", "isSoftLimit": False, "issueAfterReset": 100, "issueAfterResetPriority": 1,
    "issue": {"amount": 100, "priority": 1}, "preserveOverageAtReset": True, "lastReset": "2026-03-10T00:00:00Z",
    "measureUsageFrom": "2026-01-10T00:00:00Z",
    "usagePeriod": {"interval": "MONTH", "intervalISO": "P1M", "anchor": "2026-01-10T00:00:00Z"},
    "currentUsagePeriod": {"from": "2026-03-10T00:00:00Z", "to": "2026-04-10T00:00:00Z"},
}  # fmt: skip


def test_a_metered_one_counts_from_the_period_that_runs() -> None:
    found = carried(METERED, NOW_S)
    assert (found.customer, found.feature, found.since_s, found.notes) == (
        "01C", "tokens", minute_s("2026-03-10T00:00:00Z"), ()
    )  # fmt: skip
    assert found.body == {
        "type": "metered", "featureKey": "tokens", "isSoftLimit": False, "issueAfterReset": 100,
        "issueAfterResetPriority": 1, "preserveOverageAtReset": True,
        "usagePeriod": {"interval": "MONTH", "anchor": "2026-01-10T00:00:00Z"},
        "measureUsageFrom": "2026-03-10T00:00:00.000Z",
    }  # fmt: skip


def test_usage_from_before_it_was_measured_does_not_count() -> None:
    later = METERED | {"measureUsageFrom": "2026-03-12T08:00:00Z"}
    assert carried(later, NOW_S).since_s == minute_s("2026-03-12T08:00:00Z")


@pytest.mark.parametrize(
    ("period", "anchor", "notes"),
    [
        # A reset on 15 March moved the calendar.
        (("2026-03-15T09:00:00Z", "2026-04-15T09:00:00Z"), "2026-03-15T09:00:00Z", 0),
        # A reset on 15 March kept it.
        (("2026-03-15T09:00:00Z", "2026-04-10T00:00:00Z"), "2026-01-10T00:00:00Z", 0),
        # OpenMeter's calendar, which overflows at the end of a month.
        (("2026-03-03T00:00:00Z", "2026-03-31T00:00:00Z"), "2026-03-03T00:00:00Z", 1),
    ],
)
def test_the_calendar_is_the_one_that_ends_the_period(
    period: tuple[str, str], anchor: str, notes: int
) -> None:
    found = carried(METERED | {"currentUsagePeriod": {"from": period[0], "to": period[1]}}, NOW_S)
    assert found.body["usagePeriod"]["anchor"] == anchor
    assert found.since_s == minute_s(period[0]) and len(found.notes) == notes


def test_one_that_is_yet_to_begin_keeps_its_begin() -> None:
    found = carried(COMMON | {"type": "boolean", "activeFrom": "2026-04-01T00:00:00Z"}, NOW_S)
    assert found.body == {"type": "boolean", "featureKey": "tokens", "activeFrom": "2026-04-01T00:00:00.000Z"}
    assert found.since_s is None


@pytest.mark.parametrize(("config", "text"), [('{"a": 1}', '{"a": 1}'), ({"a": 1}, '{"a":1}')])
def test_the_config_is_text(config: object, text: str) -> None:
    assert carried(COMMON | {"type": "static", "config": config}, NOW_S).body["config"] == text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"annotations": {"subscription.managed": True}}, "A subscription gives it"),
        ({"type": "other"}, "type other"),
        ({**METERED, "usagePeriod": {"interval": "FORTNIGHT", "anchor": NOW}}, "interval"),
    ],
)
def test_what_is_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(Rejected, match=words):
        carried(COMMON | {"type": "boolean"} | more, NOW_S)


@pytest.mark.parametrize(
    ("more", "ended"),
    [
        ({}, False),
        ({"activeTo": "2026-03-20T12:00:00Z"}, True),
        ({"activeTo": "2026-03-20T12:01:00Z"}, False),
        ({"deletedAt": NOW}, True),
    ],
)
def test_what_has_ended(more: dict[str, Any], ended: bool) -> None:
    assert has_ended(COMMON | more, NOW_S) is ended
