"""Entitlements of an OpenMeter as this Tallymark gives them.

Owns: from when the usage of an entitlement counts here, so that its balance is the same, and which are left out. Does
not own: its grants (grant_carry).

The cut is the start of the entitlement's usage period that runs: usage since then is counted again from its events, and
grants that began before carry over what was left of them at that instant. What lay before is history of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline.core.migration.translation import JsonObject, ObjectForm, key_of, pruned, taken
from pipeline.core.values import calendar, timestamp
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import NEVER_S, Recurrence
from pipeline.errors import Rejected

_encode = msgspec.json.Encoder(decimal_format="number").encode
_WRITTEN = frozenset({
    "subjectKey", "customerKey", "customerId", "featureId", "currentUsagePeriod", "lastReset", "activeFrom", "issue",
    "measureUsageFrom", "subscriptionId",
})  # fmt: skip
_COMMON = ("type", "featureKey", "activeTo", "metadata")
FORMS = {
    "boolean": ObjectForm(_COMMON, _WRITTEN | {"usagePeriod"}),
    "static": ObjectForm((*_COMMON, "config"), _WRITTEN | {"usagePeriod"}),
    "metered": ObjectForm(
        (*_COMMON, "isSoftLimit", "isUnlimited", "issueAfterReset", "issueAfterResetPriority", "preserveOverageAtReset",
         "gracePeriod", "usagePeriod"),
        _WRITTEN,
    ),
}  # fmt: skip


class CarriedEntitlement(NamedTuple):
    """An entitlement to create.

    Args:
        id: at the source.
        customer: its id at the source.
        feature: the key of its feature.
        body: of the request.
        since_s: from when its usage counts, in seconds since 1970; None if it counts none.
        notes: a sentence for each thing that differs.
    """

    id: str
    customer: str
    feature: str
    body: JsonObject
    since_s: int | None
    notes: tuple[str, ...]


def has_ended(row: Mapping[str, Any], now_s: int) -> bool:
    """Whether it gives nothing any more."""
    ends = row.get("activeTo")
    return row.get("deletedAt") is not None or (ends is not None and timestamp.minute_s(ends) <= now_s)


def carried(row: Mapping[str, Any], now_s: int) -> CarriedEntitlement:
    """An entitlement as it is created here.

    Args:
        row: as the source shows it.
        now_s: seconds since 1970.

    Raises:
        Rejected: `not-taken-over` with the reason.
    """
    notes = row.get("annotations") or {}
    if notes.get("subscription.managed") or "subscription.id" in notes:
        raise Rejected("not-taken-over", "A subscription gives it: create the subscription here.")
    kind, feature = str(row.get("type")), key_of(row, "featureKey")
    if kind not in FORMS:
        raise Rejected("not-taken-over", f"Its type {kind} is not known.")
    found = taken("entitlement to", feature, row, FORMS[kind])
    body = found.body
    begins_s = timestamp.minute_s(row["activeFrom"]) if row.get("activeFrom") else now_s
    if begins_s > now_s:
        body["activeFrom"] = zones.text_of(begins_s)
    since_s: int | None = None
    more: tuple[str, ...] = ()
    if kind == "static" and not isinstance(body.get("config"), str):
        body["config"] = _encode(row.get("config")).decode()
    if kind == "metered":
        since_s, more = _metered(row, body, max(begins_s, now_s))
    return CarriedEntitlement(
        str(row["id"]), str(row["customerId"]), feature, body, since_s, (*found.notes, *more)
    )


def _metered(row: Mapping[str, Any], body: JsonObject, at_s: int) -> tuple[int, tuple[str, ...]]:
    """Set the usage period and since when usage counts. Returns the latter, and notes."""
    running, period = row["currentUsagePeriod"], pruned(row["usagePeriod"])
    since_s, until_s = timestamp.minute_s(running["from"]), timestamp.minute_s(running["to"])
    since_s = min(max(since_s, timestamp.minute_s(row["measureUsageFrom"])), at_s)
    body["usagePeriod"] = {
        name: period[name] for name in ("interval", "anchor", "timeZone") if name in period
    }
    body["measureUsageFrom"] = zones.text_of(since_s)
    notes: tuple[str, ...] = ()
    if _end_s(body["usagePeriod"], at_s) != until_s:  # a reset has moved the calendar since
        body["usagePeriod"]["anchor"] = running["from"]
        if (ends_s := _end_s(body["usagePeriod"], at_s)) != until_s:
            notes = (
                f"Its usage period ends at {zones.text_of(ends_s)}; at the source it ends at {running['to']}.",
            )
    return since_s, notes


def _end_s(period: Mapping[str, str], at_s: int) -> int:
    zone = zones.named_or_offset(period.get("timeZone"), period["anchor"])
    recurrence = Recurrence(calendar.parse(period["interval"]), timestamp.minute_s(period["anchor"]), zone)
    return min(calendar.bounds(recurrence, at_s)[1], NEVER_S)
