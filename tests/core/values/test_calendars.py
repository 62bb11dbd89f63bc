"""In which zone the calendars of entitlements, grants and volumes step, and that an anchor keeps its text."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement
from pipeline.core.quota.entitlement_json import entitlement_json, grant_json
from pipeline.core.quota.grant import GrantDefinition, grant_of
from pipeline.core.values import calendar, timestamp
from pipeline.core.values.zone import text_of
from tests.core.quota.test_entitlement_commands import METERED, log, terms
from tests.fixtures.control_log import AT_MS, Log

DAY_MS = 86_400_000
BERLIN = "Europe/Berlin"
EARLY, LATE = "0001-01-01T00:00:00+01:00", "9999-01-01T00:00:00Z"


def at(text: str) -> int:
    return timestamp.parse_ns(text) // 1_000_000_000


def entitle(made: Log, anchor: str | None, interval: str = "MONTH", **more: Any) -> Any:
    usage_period = {"interval": interval, "anchor": anchor, **more}
    return made.do("entitlement.create", {**METERED, "usagePeriod": usage_period})


def ends(body: Any, at_s: int, number: int) -> list[str]:
    """When so many usage periods end, the first of them that in which `at_s` lies."""
    found: list[str] = []
    schedule = MeteredEntitlement.read(body).schedule
    for _ in itertools.repeat(None, number):
        at_s = calendar.usage_period(schedule, at_s)[1]
        found.append(text_of(at_s)[:16])
    return found


@pytest.mark.parametrize(
    ("anchor", "text", "found"),
    [
        ("2026-03-01T00:00:00+01:00", "2026-03-01T00:00:00.000+01:00",
         ["2026-01-31T23:00", "2026-02-28T23:00", "2026-03-31T23:00"]),
        ("2026-03-01T00:00:00+11:00", "2026-03-01T00:00:00.000+11:00",
         ["2026-01-31T13:00", "2026-02-28T13:00", "2026-03-31T13:00"]),
        ("2026-12-01T00:00:30+09:00", "2026-12-01T00:00:00.000+09:00",
         ["2026-01-31T15:00", "2026-02-28T15:00", "2026-03-31T15:00"]),
        ("2025-12-31T00:00:00-00:00", "2025-12-31T00:00:00.000Z",
         ["2026-01-31T00:00", "2026-02-28T00:00", "2026-03-31T00:00"]),
    ],
)  # fmt: skip
def test_a_month_steps_in_the_offset_of_its_anchor(anchor: str, text: str, found: list[str]) -> None:
    body = entitle(log(), anchor)
    assert body["usagePeriod"] == {"interval": "MONTH", "anchor": text}
    assert ends(body, AT_MS // 1000, 3) == found
    shown = entitlement_json(Entitlement.read(body), AT_MS // 1000, None)
    assert shown["usagePeriod"] == {"interval": "MONTH", "anchor": text, "intervalISO": "P1M"}
    assert shown["currentUsagePeriod"]["to"][:16] == found[0]


def test_in_a_named_zone_local_midnight_is_kept_over_changes_of_the_clock() -> None:
    body = entitle(log(), "2026-01-01T00:00:00+01:00", timeZone=BERLIN)
    assert ends(body, AT_MS // 1000, 4) == [
        "2026-01-31T23:00", "2026-02-28T23:00", "2026-03-31T22:00", "2026-04-30T22:00",
    ]  # fmt: skip
    daily = entitle(log(), "2026-01-01T00:00:00+01:00", "DAY", timeZone=BERLIN)
    assert ends(daily, at("2026-03-28T12:00:00Z"), 2) == ["2026-03-28T23:00", "2026-03-29T22:00"]
    assert entitlement_json(Entitlement.read(body), AT_MS // 1000, None)["usagePeriod"]["timeZone"] == BERLIN


def test_the_zone_of_the_customer_is_that_of_what_is_given_to_it_afterwards() -> None:
    made = log()
    before = entitle(made, "2026-01-01T00:00:00Z")
    made.do("customer.update", {"id": "acme", "key": "acme", "name": "Acme", "timeZone": BERLIN})
    grant = made.do(
        "grant.create", {"entitlementId": before["id"], "amount": 1, "recurrence": {"interval": "MONTH"}}
    )
    assert grant["recurrence"] == {
        "interval": "MONTH", "anchor": "2026-01-01T01:00:00.000+01:00", "timeZone": BERLIN,
    }  # fmt: skip
    made.do("entitlement.delete", {"id": before["id"]})
    after = entitle(made, None)
    assert after["usagePeriod"] == {
        "interval": "MONTH", "anchor": "2026-01-01T01:00:00.000+01:00", "timeZone": BERLIN,
    }  # fmt: skip
    made.do("entitlement.delete", {"id": after["id"]})
    own = entitle(made, "2026-01-01T00:00:00+01:00", timeZone="Asia/Tokyo")
    assert own["usagePeriod"]["timeZone"] == "Asia/Tokyo"
    made.do("customer.update", {"id": "acme", "key": "acme", "name": "Acme", "timeZone": "Asia/Kolkata"})
    assert [terms(made, one["id"]).schedule.recurrence.zone for one in (before, after, own)] == [
        "Z", BERLIN, "Asia/Tokyo",
    ]  # fmt: skip


def test_a_definition_that_was_stored_in_utc_stays_as_it_is() -> None:
    made = log()
    body = entitle(made, "2025-12-31T00:00:00.000Z")
    made.do(
        "entitlement.reset",
        {"id": body["id"], "effectiveAt": "2026-01-05T12:00:00Z"},
        at_ms=AT_MS + 9 * DAY_MS,
    )
    stored = made.body("entitlement", body["id"])
    assert stored["resets"][0]["anchor"] == "2026-01-05T12:00:00.000Z"
    assert "timeZone" not in stored["usagePeriod"]
    assert ends(stored, at("2026-01-06T00:00:00Z"), 2) == ["2026-02-05T12:00", "2026-03-05T12:00"]


def test_without_an_anchor_the_offset_of_the_first_instant_counts() -> None:
    body = log().do("entitlement.create", {
        **METERED, "usagePeriod": {"interval": "MONTH"}, "activeFrom": "2026-03-01T00:00:00+01:00",
    })  # fmt: skip
    assert body["usagePeriod"]["anchor"] == "2026-03-01T00:00:00.000+01:00"
    assert ends(body, at("2026-03-10T00:00:00Z"), 2) == ["2026-03-31T23:00", "2026-04-30T23:00"]


@pytest.mark.parametrize(
    ("zone", "reset", "anchor", "following"),
    [
        ({}, {"effectiveAt": "2026-01-30T22:00:00+01:00"}, "2026-01-30T22:00:00.000+01:00", "2026-02-28T21:00"),
        ({}, {"effectiveAt": "2026-01-31T00:00:00Z"}, "2026-01-31T00:00:00.000Z", "2026-02-28T00:00"),
        ({}, {}, "2026-02-09T05:00:00.000+05:00", "2026-03-09T00:00"),
        ({}, {"retainAnchor": True}, "2026-01-01T00:00:00.000+05:00", "2026-02-28T19:00"),
        ({"timeZone": BERLIN}, {"effectiveAt": "2026-01-31T00:00:00Z"}, "2026-01-31T00:00:00.000Z", "2026-02-28T00:00"),
        ({"timeZone": BERLIN}, {}, "2026-02-09T01:00:00.000+01:00", "2026-03-09T00:00"),
    ],
)  # fmt: skip
def test_a_reset_moves_the_anchor_with_its_offset_or_keeps_both(
    zone: dict[str, str], reset: dict[str, Any], anchor: str, following: str
) -> None:
    made = log()
    body = entitle(
        made, "2026-01-01T00:00:00+05:00", "MONTH" if "effectiveAt" not in reset else "P2M", **zone
    )
    made.do("entitlement.reset", {"id": body["id"], **reset}, at_ms=AT_MS + 39 * DAY_MS)
    stored = made.body("entitlement", body["id"])
    assert stored["resets"][0]["anchor"] == anchor
    shown = entitlement_json(Entitlement.read(stored), AT_MS // 1000 + 40 * 86_400, None)
    assert shown["usagePeriod"]["anchor"] == anchor
    monthly = {**stored, "usagePeriod": {**stored["usagePeriod"], "interval": "MONTH"}}
    assert ends(monthly, at(stored["resets"][0]["effectiveAt"]), 1) == [following]


@pytest.mark.parametrize(
    ("more", "expires"),
    [
        ({"effectiveAt": "2026-01-31T00:00:00+01:00"}, "2026-02-27T23:00"),
        ({"effectiveAt": "2026-01-31T00:00:00Z"}, "2026-02-28T00:00"),
        ({"effectiveAt": "2026-03-01T00:00:00+01:00", "recurrence": {"interval": "P1W", "timeZone": BERLIN}},
         "2026-03-31T22:00"),
        ({"effectiveAt": "2026-03-01T00:00:00+01:00", "recurrence": {"interval": "P1W"}}, "2026-03-31T23:00"),
    ],
)  # fmt: skip
def test_a_grant_expires_by_its_own_calendar(more: dict[str, Any], expires: str) -> None:
    made = log()
    body = entitle(made, None)
    grant = made.do("grant.create", {
        "entitlementId": body["id"], "amount": 1, "expiration": {"duration": "MONTH", "count": 1}, **more,
    })  # fmt: skip
    assert grant["expiresAt"][:16] == expires


def test_a_grant_follows_the_zone_of_its_entitlement() -> None:
    made = log()
    usage_period = {"interval": "MONTH", "timeZone": BERLIN}
    grants = [{
        "amount": 1, "effectiveAt": "2026-03-01T00:00:00+01:00", "recurrence": {"interval": "MONTH"},
        "expiration": {"duration": "YEAR", "count": 1},
    }]  # fmt: skip
    body = made.do("entitlement.create", {**METERED, "usagePeriod": usage_period, "grants": grants})
    (grant,) = (
        made.body("grant", name) for name in made.catalog.many("default", "grant/entitlement", body["id"])
    )
    assert grant["recurrence"]["anchor"] == "2026-03-01T00:00:00.000+01:00"
    assert grant["expiresAt"] == "2027-02-28T23:00:00.000Z"
    shown = grant_json(GrantDefinition.read(grant), at("2026-03-02T00:00:00Z"))
    assert shown["nextRecurrence"] == "2026-03-31T22:00:00.000Z"
    assert shown["recurrence"]["intervalISO"] == "P1M"
    assert grant_of(GrantDefinition.read(grant)).filled(at("2026-03-31T22:00:00Z"))


@pytest.mark.parametrize(
    ("kind", "more", "detail"),
    [
        ("entitlement.create", {"usagePeriod": {"interval": "DAY", "timeZone": "localtime"}},
         "entitlement usagePeriod timeZone is not valid: invalid time zone: localtime"),
        ("entitlement.create", {"usagePeriod": {"interval": "DAY", "timeZone": "+01:00"}}, "timeZone is not valid"),
        ("entitlement.create", {"usagePeriod": {"interval": "DAY", "timeZone": 1}}, "timeZone must be a string"),
        ("entitlement.create", {"usagePeriod": {"interval": "DAY", "anchor": LATE}}, "1 and 9998"),
        ("entitlement.create", {"usagePeriod": {"interval": "DAY", "anchor": EARLY}}, "years 1 to 9999 in UTC"),
        ("entitlement.create", {"activeFrom": "9999-06-01T00:00:00Z"}, "1 and 9998"),
        ("entitlement.create", {"activeTo": "9999-06-01T00:00:00Z"}, "1 and 9998"),
        ("entitlement.create", {"grants": [{"amount": 1, "recurrence": {"interval": "DAY", "timeZone": "Nowhere"}}]},
         "grant recurrence timeZone is not valid"),
        ("entitlement.create", {"grants": [{"amount": 1, "effectiveAt": "9998-06-01T00:00:00Z",
                                            "expiration": {"duration": "YEAR", "count": 1}}]}, "before the year 9999"),
        ("customer.create", {"timeZone": "Europe"}, "customer timeZone is not valid: invalid time zone: Europe"),
    ],
)  # fmt: skip
def test_what_no_calendar_steps_in_is_refused(kind: str, more: dict[str, Any], detail: str) -> None:
    body = {"name": "n", **more} if kind == "customer.create" else {**METERED, **more}
    reason, found = log().refused(kind, body)
    assert reason.startswith("bad-") and detail in found
