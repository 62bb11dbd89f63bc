"""Entitlements and grants on the control log: what may be given, changed and taken, and the terms that follow."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.definitions.kinds import GRANT_ENTITLEMENT
from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement
from pipeline.core.quota.grant import GrantDefinition
from pipeline.core.quota.terms import Terms, terms_of
from pipeline.core.values import calendar
from pipeline.core.values.calendar import DAY_S, MINUTE_S, NEVER_S
from pipeline.core.values.number import SCALE
from tests.fixtures.control_log import AT, AT_MS, Log

MINUTE_MS, DAY_MS = 60_000, 86_400_000
METER: dict[str, Any] = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
}
MONTHLY = {"interval": "MONTH", "anchor": "2025-12-15T00:00:30Z"}
METERED: dict[str, Any] = {
    "customerId": "acme",
    "featureKey": "gpt",
    "type": "metered",
    "usagePeriod": MONTHLY,
}


def log() -> Log:
    made = Log()
    made.do("meter.apply", METER)
    for key, more in {"gpt": {"meterSlug": "tokens"}, "sso": {}}.items():
        made.do("feature.create", {"key": key, "name": key, **more})
    made.do("customer.create", {"key": "acme", "name": "Acme"})
    return made


def terms(made: Log, id: str) -> Terms:
    grants = made.catalog.having(GrantDefinition, "default", GRANT_ENTITLEMENT, id)
    return terms_of(MeteredEntitlement.read(made.body("entitlement", id)), grants, "SUM", made.revision)


def seconds(at_ms: int) -> int:
    return at_ms // 1000


def test_a_metered_entitlement_and_its_defaults() -> None:
    made = log()
    body = made.do("entitlement.create", METERED)
    customer, feature = body["customerId"], body["featureId"]
    assert body == {
        "id": body["id"], "type": "metered", "customerId": customer, "featureId": feature, "featureKey": "gpt",
        "activeFrom": AT, "usagePeriod": {"interval": "MONTH", "anchor": "2025-12-15T00:00:00.000Z"},
        "measureUsageFrom": AT, "isSoftLimit": False, "isUnlimited": False, "preserveOverageAtReset": False,
        "resets": [], "createdAt": AT, "updatedAt": AT,
    }  # fmt: skip
    found = terms(made, body["id"])
    assert (found.schedule.start_s, found.order, found.ends_at_s) == (seconds(AT_MS), (), NEVER_S)
    assert calendar.usage_period(found.schedule, seconds(AT_MS))[1] == seconds(AT_MS) + 14 * DAY_S


def test_the_other_types() -> None:
    made = log()
    made.do("entitlement.create", {"customerId": "acme", "featureKey": "sso", "type": "boolean"})
    static = {"customerId": "acme", "featureKey": "gpt", "type": "static", "config": '{"seats": 5}'}
    assert made.do("entitlement.create", static)["config"] == '{"seats": 5}'


def test_what_is_issued_after_each_reset_is_a_grant() -> None:
    made = log()
    body = made.do("entitlement.create", {**METERED, "issueAfterReset": 100.5, "issueAfterResetPriority": 4})
    (grant,) = terms(made, body["id"]).order
    assert (grant.amount, grant.priority) == (1005 * SCALE // 10, 4)
    assert (grant.min_rollover, grant.max_rollover, grant.expires_at_s) == (
        grant.amount,
        grant.amount,
        NEVER_S,
    )
    assert grant.effective_at_s == seconds(AT_MS)
    same = made.do("entitlement.override", {
        "id": "gpt", "customerId": "acme", "entitlement": {**METERED, "issue": {"amount": "100.5", "priority": 4}},
    })  # fmt: skip
    assert terms(made, same["id"]).order[0].amount == grant.amount


def test_grants_that_come_along() -> None:
    made = log()
    grants = [{"amount": 10, "priority": 2}, {"amount": "5", "effectiveAt": "2026-01-20T10:00:59Z"}]
    body = made.do("entitlement.create", {**METERED, "grants": grants})
    assert [(grant.amount, grant.effective_at_s) for grant in terms(made, body["id"]).order] == [
        (5 * SCALE, seconds(AT_MS) + 19 * DAY_S + 36_000),
        (10 * SCALE, seconds(AT_MS)),
    ]


@pytest.mark.parametrize(
    ("wanted", "from_"),
    [
        ("NOW", AT),
        ("CURRENT_PERIOD_START", "2025-12-15T00:00:00.000Z"),
        ("2025-06-01T10:30:59Z", "2025-06-01T10:30:00.000Z"),
    ],
)
def test_since_when_usage_counts(wanted: str, from_: str) -> None:
    body = log().do("entitlement.create", {**METERED, "measureUsageFrom": wanted})
    assert body["measureUsageFrom"] == from_


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"type": "other"}, "type must be one of"),
        ({"type": "static"}, "unknown member 'usagePeriod'"),
        ({"usagePeriod": None}, "usagePeriod is required"),
        ({"usagePeriod": {"anchor": AT}}, "must have an interval"),
        ({"usagePeriod": {"interval": "PT59M"}}, "at least PT1H"),
        ({"usagePeriod": {"interval": "FORTNIGHT"}}, "DAY, WEEK, MONTH, YEAR"),
        ({"featureKey": "sso"}, "has no meter"),
        ({"featureKey": None}, "either featureKey or featureId"),
        ({"issueAfterReset": -1}, "must not be negative"),
        ({"issueAfterReset": 0.1234567890123456}, "too many digits"),
        ({"issueAfterReset": 1, "issue": {"amount": 1}}, "only one of issue"),
        ({"issueAfterResetPriority": 1}, "issueAfterReset is required"),
        ({"issueAfterReset": 1, "issueAfterResetPriority": 256}, "from 1 to 255"),
        ({"gracePeriod": "P1M"}, "minutes, hours, days or weeks"),
        ({"gracePeriod": "soon"}, "gracePeriod is not valid"),
        ({"isSoftLimit": "yes"}, "true or false"),
        ({"isUnlimited": 1}, "isUnlimited must be true or false"),
        ({"gracePeriod": "PT1H", "isSoftLimit": True}, "gracePeriod has no effect"),
        ({"gracePeriod": "PT1H", "isUnlimited": True}, "gracePeriod has no effect"),
        ({"measureUsageFrom": "2027-01-01T00:00:00Z"}, "must not be after"),
        ({"measureUsageFrom": "LATER"}, "not valid"),
        ({"measureUsageFrom": "1969-12-31T23:59:00Z"}, "must not be before 1970"),
        ({"measureUsageFrom": "0001-01-01T00:00:00Z"}, "must not be before 1970"),
        (
            {
                "measureUsageFrom": "CURRENT_PERIOD_START",
                "usagePeriod": {"interval": "P1000Y", "anchor": "2900-01-01T00:00:00Z"},
            },
            "must not be before 1970",
        ),
        (
            {"measureUsageFrom": "2024-01-01T00:00:00Z", "usagePeriod": {"interval": "PT1H"}},
            "at most 10000 usage",
        ),
        ({"activeFrom": "2025-12-31T23:59:00Z"}, "in the past"),
        ({"activeTo": AT}, "after activeFrom"),
        ({"grants": [{"amount": 0}]}, "grant amount must be positive"),
        (
            {"grants": [{"amount": 1, "effectiveAt": "2025-12-14T00:00:00Z"}]},
            "before the current usage period",
        ),
        ({"metadata": {"a": 1}}, "object of strings"),
        ({"usagePeriod": {"interval": "DAY", "color": 1}}, "usagePeriod has an unknown member"),
        ({"issue": {"amount": -1}}, "entitlement issue amount must not be negative"),
        ({"currentUsagePeriod": {"from": AT, "to": AT}}, "currentUsagePeriod is written by the server"),
        ({"lastReset": AT}, "lastReset is written by the server"),
        ({"id": "mine"}, "entitlement id is written by the server"),
    ],
)
def test_what_is_refused(more: dict[str, Any], detail: str) -> None:
    reason, found = log().refused("entitlement.create", {**METERED, **more})
    assert reason in ("bad-entitlement", "bad-grant")
    assert detail in found


@pytest.mark.parametrize(
    "more", [{"customerId": "unknown"}, {"featureKey": "nothing"}, {"featureId": "nothing"}]
)
def test_what_is_not_there(more: dict[str, Any]) -> None:
    assert log().refused("entitlement.create", {**METERED, **more})[0] == "not-found"


def test_one_at_a_time() -> None:
    made = log()
    first = made.do("entitlement.create", {**METERED, "activeTo": "2026-02-01T00:00:00Z"})
    reason, detail = made.refused("entitlement.create", METERED)
    assert reason == "entitlement-conflict" and first["id"] in detail
    assert made.refused("entitlement.create", {**METERED, "activeFrom": "2026-01-31T23:59:00Z"})[0] == reason
    following = made.do("entitlement.create", {**METERED, "activeFrom": "2026-02-01T00:00:00Z"})
    assert made.refused("entitlement.create", {**METERED, "activeFrom": "2026-05-01T00:00:00Z"})[0] == reason
    made.do("entitlement.delete", {"id": following["id"]})
    made.do("entitlement.create", {**METERED, "activeFrom": "2026-03-01T00:00:00Z"})


def test_of_an_archived_feature_nothing_new_comes() -> None:
    made = log()
    feature = made.do("feature.archive", {"id": "gpt"})
    more = {**METERED, "featureKey": None, "featureId": feature["id"]}
    assert "archived" in made.refused("entitlement.create", more)[1]
    made.do("feature.create", {"key": "gpt", "name": "new", "meterSlug": "tokens"})
    made.do("entitlement.create", METERED)


def test_override_ends_the_old_as_the_new_begins() -> None:
    made = log()
    old = made.do("entitlement.create", METERED)
    body_ = {"id": "gpt", "customerId": "acme", "entitlement": {**METERED, "isSoftLimit": True}}
    new = made.do("entitlement.override", body_, at_ms=AT_MS + DAY_MS + 30_000)
    ended = made.body("entitlement", old["id"])
    assert ended["activeTo"] == new["activeFrom"] == "2026-01-02T00:00:00.000Z"
    other = {**METERED, "featureKey": "sso", "type": "boolean"}
    del other["usagePeriod"]
    again = {"id": new["id"], "entitlement": other}
    assert (
        "same customer and feature"
        in made.refused("entitlement.override", again, at_ms=AT_MS + 2 * DAY_MS)[1]
    )
    gone = {"id": old["id"], "entitlement": METERED}
    assert "active" in made.refused("entitlement.override", gone, at_ms=AT_MS + 2 * DAY_MS)[1]


def test_delete_ends_it_and_frees_the_feature() -> None:
    made = log()
    old = made.do("entitlement.create", METERED)
    made.do("entitlement.delete", {"id": "gpt", "customerId": "acme"}, at_ms=AT_MS + 90_000)
    assert terms(made, old["id"]).ends_at_s == seconds(AT_MS) + MINUTE_S
    assert made.refused("entitlement.delete", {"id": old["id"]})[0] == "not-found"
    made.do("entitlement.create", METERED, at_ms=AT_MS + 95_000)


def test_what_names_a_subscription_is_refused_and_what_is_stored_with_one_can_end() -> None:
    made = log()
    _, detail = made.refused("entitlement.create", {**METERED, "subscriptionId": "s"})
    assert "entitlement subscriptionId is written by the server" in detail
    old = made.do("entitlement.create", METERED)
    made.body("entitlement", old["id"])["subscriptionId"] = "s"  # as an earlier release took it
    made.do("entitlement.override", {"id": old["id"], "entitlement": METERED}, at_ms=AT_MS + MINUTE_MS)
    made.do("entitlement.delete", {"id": "gpt", "customerId": "acme"}, at_ms=AT_MS + 2 * MINUTE_MS)


def test_another_namespace_sees_nothing() -> None:
    made = log()
    body = made.do("entitlement.create", METERED)
    for kind in ("entitlement.delete", "entitlement.reset"):
        assert made.refused(kind, {"id": body["id"]}, "other")[0] == "not-found"
    assert made.refused("grant.create", {"entitlementId": body["id"], "amount": 1}, "other")[0] == "not-found"


@pytest.mark.parametrize("retain", [True, False])
def test_a_reset_begins_a_period(retain: bool) -> None:
    made = log()
    body = made.do("entitlement.create", {**METERED, "preserveOverageAtReset": True})
    body_ = {"id": body["id"], "effectiveAt": "2026-01-05T12:00:40Z", "retainAnchor": retain}
    made.do("entitlement.reset", body_, at_ms=AT_MS + 5 * DAY_MS)
    found = terms(made, body["id"])
    (reset,) = found.schedule.resets
    at_s = seconds(AT_MS) + 4 * DAY_S + 43_200
    assert (reset.at_s, reset.preserve) == (at_s, True)
    end_s = seconds(AT_MS) + (14 * DAY_S if retain else 35 * DAY_S + 43_200)
    assert calendar.usage_period(found.schedule, at_s) == (at_s, end_s)


@pytest.mark.parametrize(
    ("effective_at", "detail"),
    [
        ("2026-01-21T00:00:01Z", "in the future"),
        ("2026-01-14T23:59:59Z", "before the current usage period"),
        ("2026-01-16T00:00:30Z", "after the last reset"),
    ],
)
def test_when_a_reset_may_be(effective_at: str, detail: str) -> None:
    made = log()
    body = made.do("entitlement.create", METERED)
    first = {"id": body["id"], "effectiveAt": "2026-01-16T00:00:00Z", "retainAnchor": True}
    made.do("entitlement.reset", first, at_ms=AT_MS + 20 * DAY_MS)
    if "before" in detail:  # the period that the first reset began has ended by itself
        reason, found = made.refused(
            "entitlement.reset", {"id": body["id"], "effectiveAt": effective_at}, at_ms=AT_MS + 50 * DAY_MS
        )
    else:
        reason, found = made.refused(
            "entitlement.reset", {"id": body["id"], "effectiveAt": effective_at}, at_ms=AT_MS + 20 * DAY_MS
        )
    assert (reason, detail in found) == ("bad-entitlement", True)


def test_only_metered_ones_are_reset_and_given_grants() -> None:
    made = log()
    body = made.do("entitlement.create", {"customerId": "acme", "featureKey": "sso", "type": "boolean"})
    assert "metered" in made.refused("entitlement.reset", {"id": body["id"]})[1]
    assert "metered" in made.refused("grant.create", {"entitlementId": body["id"], "amount": 1})[1]


GRANT: dict[str, Any] = {"entitlementId": "gpt", "customerId": "acme", "amount": 10}


def given(**more: Any) -> tuple[Log, Any]:
    made = log()
    made.do("entitlement.create", METERED)
    return made, made.do("grant.create", {**GRANT, **more}, at_ms=AT_MS + 90_000)


def test_a_grant_and_its_defaults() -> None:
    _, body = given()
    assert body["effectiveAt"] == "2026-01-01T00:01:00.000Z"
    assert (body["amount"], body["priority"]) == ("10", 1)
    assert (body["minRolloverAmount"], body["maxRolloverAmount"]) == ("0", "0")
    assert "expiresAt" not in body


@pytest.mark.parametrize(
    ("duration", "count", "expires"),
    [
        ("HOUR", 5, "2026-01-31T15:00:00.000Z"),
        ("DAY", 2, "2026-02-02T10:00:00.000Z"),
        ("WEEK", 1, "2026-02-07T10:00:00.000Z"),
        ("MONTH", 1, "2026-02-28T10:00:00.000Z"),  # there is no 31 February
        ("MONTH", 2, "2026-03-31T10:00:00.000Z"),
        ("YEAR", 2, "2028-01-31T10:00:00.000Z"),
    ],
)
def test_when_a_grant_expires(duration: str, count: int, expires: str) -> None:
    _, body = given(effectiveAt="2026-01-31T10:00:00Z", expiration={"duration": duration, "count": count})
    assert body["expiresAt"] == expires


def test_a_recurring_grant() -> None:
    made, body = given(
        recurrence={"interval": "WEEK"}, priority=255, maxRolloverAmount="2.5", minRolloverAmount=1
    )
    assert body["recurrence"] == {"interval": "WEEK", "anchor": body["effectiveAt"]}
    (grant,) = terms(made, body["entitlementId"]).order
    assert grant.recurrence is not None and grant.recurrence.interval == calendar.NAMED["WEEK"]
    assert (grant.max_rollover, grant.min_rollover) == (5 * SCALE // 2, SCALE)


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"amount": 0}, "must be positive"),
        ({"amount": -1}, "grant amount must be positive"),
        ({"amount": -1, "maxRolloverAmount": -1}, "grant amount must be positive"),
        ({"amount": None}, "must be positive"),
        ({"amount": "ten"}, "not valid"),
        ({"amount": 1e30}, "not valid"),
        ({"amount": True}, "not valid"),
        ({"priority": 0}, "1 to 255"),
        ({"priority": 256}, "1 to 255"),
        ({"effectiveAt": "2025-12-14T23:59:00Z"}, "before the current usage period"),
        ({"expiration": {"duration": "DAY", "count": 1001}}, "1 to 1000"),
        ({"expiration": {"duration": "DECADE", "count": 1}}, "one of HOUR"),
        ({"expiration": {"count": 1}}, "duration and count"),
        ({"expiration": {"duration": 1, "count": 1}}, "grant expiration duration must be a string"),
        ({"minRolloverAmount": 2, "maxRolloverAmount": 1}, "must not be above maxRolloverAmount"),
        ({"recurrence": {"interval": "DAY", "intervalISO": "P2D"}}, "intervalISO must be the interval"),
        ({"expiresAt": AT}, "grant expiresAt is written by the server"),
        ({"voidedAt": AT}, "grant voidedAt is written by the server"),
        ({"recurrence": {"anchor": AT}}, "interval"),
        ({"minRolloverAmount": -1}, "negative"),
        ({"minRolloverAmount": 1}, "must not be above maxRolloverAmount, which is 0"),
        ({"color": "red"}, "unknown member"),
    ],
)
def test_what_is_no_grant(more: dict[str, Any], detail: str) -> None:
    made = log()
    made.do("entitlement.create", METERED)
    reason, found = made.refused("grant.create", {**GRANT, **more})
    assert (reason, detail in found) == ("bad-grant", True), found


def test_voiding() -> None:
    made, body = given()
    later = AT_MS + 3 * DAY_MS
    assert (
        "future"
        in made.refused("grant.void", {"id": body["id"], "at": "2026-01-04T00:00:01Z"}, at_ms=later)[1]
    )
    early = {"id": body["id"], "at": "2025-12-31T00:00:00Z"}
    assert "before the current usage period" in made.refused("grant.void", early, at_ms=later)[1]
    voided = made.do("grant.void", {"id": body["id"], "at": "2026-01-02T10:00:59Z"}, at_ms=later)
    assert voided["voidedAt"] == "2026-01-02T10:00:00.000Z"
    assert terms(made, body["entitlementId"]).order[0].ends_at_s == seconds(AT_MS) + DAY_S + 36_000
    assert made.refused("grant.void", {"id": body["id"]}, at_ms=later)[0] == "grant-conflict"
    assert made.refused("grant.void", {"id": "none"})[0] == "not-found"


def test_voiding_now() -> None:
    made, body = given()
    assert (
        made.do("grant.void", {"id": body["id"]}, at_ms=AT_MS + 200_000)["voidedAt"]
        == "2026-01-01T00:03:00.000Z"
    )


def test_an_entitlement_to_come_has_its_first_period_already() -> None:
    made = log()
    body = made.do("entitlement.create", {**METERED, "activeFrom": "2026-03-01T00:00:00Z"})
    body_ = {"entitlementId": body["id"], "amount": 1, "effectiveAt": "2026-02-01T00:00:00Z"}
    assert made.refused("grant.create", body_)[0] == "bad-grant"
    made.do("grant.create", {**body_, "effectiveAt": "2026-03-01T00:00:00Z"})
    assert not Entitlement.read(body).in_force(seconds(AT_MS))
