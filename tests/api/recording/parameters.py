"""Whether each query parameter, and each member of a question's body, changes the answer.

Owns: values to try, generated and by name, and what a parameter needs beside it. Does not own: any test. A parameter
that is added to OpenAPI needs a value here, and has to change an answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tests.api.openapi import OPERATIONS, resolved
from tests.api.recording.metering import METERS
from tests.api.recording.world import World

UNKNOWN = "zz"  # leaves nothing of a list, or is refused because there is no such thing
CSV = "application/json;q=0.1, text/csv"
VALUES: dict[str, tuple[str, ...]] = {
    "page": ("2",),
    "pageSize": ("1",),
    "page[number]": ("2",),
    "page[size]": ("1",),
    "order": ("ASC", "DESC"),
    "offset": ("1",),
    "limit": ("1",),
    "includeDeleted": ("true",),
    "includeDisabled": ("true",),
    "includeArchived": ("true",),
    "includeLatest": ("true",),
    "includeAllCustomers": ("false",),
    "customersWithoutPinnedProfile": ("true",),
    "expand": ("apps", "lines"),
    "status": ("draft",),
    **dict.fromkeys(("currency", "filter[currency]", "filter[feature_key]"), (UNKNOWN,)),
    "excludeInactive": ("true",),
    "from": ("2026-01-15T12:31:00Z", "2026-01-15T13:05:00Z", "2026-01-16"),
    "to": ("2026-01-15T12:31:00Z", "2026-01-15T13:05:00Z"),
    "ingestedAtFrom": ("2026-12-01",),
    "ingestedAtTo": ("2026-12-01",),
    "time": ("2026-01-15T12:45:00Z",),
    "at": ("2020-01-01T00:00:00Z",),
    "windowSize": ("HOUR", "MINUTE"),
    "windowTimeZone": ("Asia/Tokyo",),
    "groupBy": ("model",),
    "advancedMeterGroupByFilters": ('{"model":{"$eq":"gpt-3"}}',),
    "csvSafe": ("true",),
    "filter": ('{"id":{"$eq":"id1"}}',),
    "fate": ("duplicate",),
    "meter": ("tokens", UNKNOWN),
    "refused": ("true",),
    "state": ("SUCCESS",),
    "entitlementType": ("boolean",),
    "statuses": ("voided",),
    "extendedStatuses": ("draft.invalid",),
    **dict.fromkeys(("invoiceId", "filter[customer_id]", "filter[invoice_id]"), (UNKNOWN,)),
    "includeDeletedLines": ("true",),
    "customers": (UNKNOWN,),
    **dict.fromkeys(("issuedAfter", "createdAfter", "periodStartAfter"), ("2100-01-01",)),
    **dict.fromkeys(("issuedBefore", "createdBefore", "periodStartBefore"), ("2000-01-01",)),
    **dict.fromkeys(
        ("clientId", "id", "subject", "source", "type", "customerId", "filterCustomerId", "search", "key", "name",
         "primaryEmail",
         "feature", "rule", "channel", "endpoint", "event", "actor", "kind", "customer", "customerKeys", "customerIds",
         "meterSlug", "billingProfile", "customerName", "customerKey", "customerPrimaryEmail", "app"),
        (UNKNOWN,),
    ),
}  # fmt: skip
# What stands beside a parameter so that it can act.
BESIDE = {
    "windowTimeZone": "windowSize=DAY&from=2026-01-14T00:00:00Z",
    "windowSize": "from=2026-01-14T00:00:00Z",
    "offset": "limit=1000",
    "orderBy": "includeDeleted=true",
}
# Accepted so that clients of OpenMeter work; the description of each says that it has no effect.
WITHOUT_EFFECT = {
    "clientId": "accepted, without effect",
    "includeDeleted": "without effect: grants are voided",
}
# Of operations that change something: what it does is tested there.
ELSEWHERE = {
    "wait_s": "tests/api/metering/test_meters.py",
    "at": "tests/api/quota/test_grants.py",
    **dict.fromkeys(("page", "pageSize"), "tests/api/invoices/test_explain.py"),
}
# Subscriptions of a customer follow one another, so each order of OpenMeter gives the same; another one is refused.
ONE_ORDER = {"GET /api/v1/customers/{customerIdOrKey}/subscriptions"}
BODY: dict[str, Any] = {
    "from": "2026-01-15T12:31:00Z",
    "to": "2026-01-15T12:31:00Z",
    "windowSize": "HOUR",
    "windowTimeZone": "Asia/Tokyo",
    "subject": [UNKNOWN],
    "filterCustomerId": [UNKNOWN],
    "filterGroupBy": {"model": [UNKNOWN]},
    "advancedMeterGroupByFilters": {"model": {"$eq": UNKNOWN}},
    "groupBy": ["model"],
    "csvSafe": True,
}


def query_parameters() -> Iterator[tuple[str, str, str]]:
    """Each query parameter: operation, name, description."""
    for operation, described in OPERATIONS.items():
        for one in described.get("parameters", []):
            if one["in"] == "query":
                yield operation, one["name"], one.get("description", one["schema"].get("description", ""))


def acts(world: World, operation: str, name: str, description: str) -> bool:
    """Whether a value of a parameter changes the answer, or is refused with a reason of its own."""
    path = _path(world, operation)
    if name == "includeDeleted" and path.endswith("/grants"):
        path = _of_deleted(world, path)
    beside = (
        BESIDE.get(name, "") if any(one["name"] in BESIDE.get(name, "") for one in _of(operation)) else ""
    )
    if any(one["name"] == "wait_s" for one in _of(operation)):
        beside = f"{beside}&wait_s=0"  # no stage runs, so that the counts never become quiet
    values = description.split(", ") if name == "orderBy" else _values(world, name)
    if name == "orderBy" and operation in ONE_ORDER:
        values = [UNKNOWN]
    before = _answer(world, operation, f"{path}?{beside}")
    return any(_answer(world, operation, f"{path}?{beside}&{name}={quote(one)}") != before for one in values)


def question_acts(world: World, name: str) -> bool:
    """Whether a member of a query's body changes the answer."""
    beside = {"windowSize": "DAY"} if name == "windowTimeZone" else {}
    path, sent = f"{METERS}/tokens/query", {**beside, name: BODY[name]}
    return bool(world.answer("POST", path, beside) != world.answer("POST", path, sent))


def question_members() -> Iterator[str]:
    """The members of a query's body."""
    media = OPERATIONS[f"POST {METERS}/{{idOrSlug}}/query"]["requestBody"]["content"]["application/json"]
    yield from resolved(media["schema"])["properties"]


def _of(operation: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = OPERATIONS[operation].get("parameters", [])
    return found


def _values(world: World, name: str) -> tuple[str, ...]:
    if name == "cursor":
        return (world.answer("GET", "/api/v2/events?limit=1", None)[1]["nextCursor"],)
    return VALUES[name]


def _path(world: World, operation: str) -> str:
    """A path of the operation that was answered."""
    for one in world.recorder.exchanges[operation]:
        if one.answer.status < 300 and one.request.key in ("admin", "portal", ""):
            return one.request.path.partition("?")[0]
    raise AssertionError(f"{operation} was never answered")


def _of_deleted(world: World, path: str) -> str:
    """The path of the grants of one entitlement, with an entitlement that was deleted in place of its own."""
    if "/entitlements/" not in path:
        return path
    entitlements = path.partition("/entitlements/")[0] + "/entitlements"
    listed = world.answer("GET", f"{entitlements}?includeDeleted=true", None)[1]
    rows = listed["items"] if isinstance(listed, dict) else listed
    deleted = next(row["id"] for row in rows if "deletedAt" in row)
    return f"{entitlements}/{deleted}/grants"


def _answer(world: World, operation: str, path: str) -> tuple[int, Any]:
    if path.startswith("/api/v1/portal/invoices"):
        return world.answer("GET", path, None, {"authorization": f"Bearer {world.keys['portal']}"})
    return world.answer("GET", path, None, {"accept": CSV} if "csvSafe" in path else None)
