"""Meters, subjects, customers, features, channels and rules of an OpenMeter as bodies of our API.

Owns: which members are taken over, which only a server writes, and a sentence for each that is left out. Does not own:
plans (plan_translation), entitlements and grants (entitlement_carry, grant_carry), whether the API takes a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.errors import Rejected

JsonObject = dict[str, Any]

_STAMPS = frozenset({"id", "createdAt", "updatedAt", "deletedAt", "annotations"})
_MAPS = frozenset(
    {"metadata", "groupBy", "customHeaders", "meterGroupByFilters"}
)  # their values stay as they are


class Translation(NamedTuple):
    """key: what names the object to a reader. body: of the request. notes: a sentence for each thing left out."""

    key: str
    body: JsonObject
    notes: tuple[str, ...] = ()


class ObjectForm(NamedTuple):
    """Which members of a kind are taken over, and which others only the source's server writes."""

    taken: tuple[str, ...]
    written: frozenset[str] = frozenset()


FORMS: Mapping[str, ObjectForm] = {
    "meter": ObjectForm(
        ("slug", "eventType", "aggregation", "valueProperty", "groupBy", "name", "description", "eventFrom",
         "metadata"),
        frozenset({"windowSize", "meterId", "revision"}),
    ),
    "subject": ObjectForm(
        ("key", "displayName", "metadata", "stripeCustomerId"),
        frozenset({"currentPeriodStart", "currentPeriodEnd"}),
    ),
    "customer": ObjectForm(
        ("key", "name", "description", "usageAttribution", "primaryEmail", "currency", "billingAddress", "timeZone",
         "metadata"),
        frozenset({"currentSubscriptionId", "subscriptions"}),
    ),
    "feature": ObjectForm(
        ("key", "name", "meterSlug", "meterGroupByFilters", "advancedMeterGroupByFilters", "metadata", "unitCost"),
        frozenset({"archivedAt"}),
    ),
    "channel": ObjectForm(
        ("type", "name", "url", "customHeaders", "signingSecret", "disabled", "metadata"),
        frozenset({"disabledReason", "disabledAt"}),
    ),
    "rule": ObjectForm(
        ("type", "name", "metadata", "thresholds", "rearm", "before", "meterSlug", "windowSize", "limit", "customers",
         "groupBy", "currency", "threshold"),
        frozenset({"channels", "features", "disabled"}),
    ),
}  # fmt: skip


def pruned(value: Any) -> Any:
    """A JSON value without the members that are null or an empty text, which our API takes as absent or refuses."""
    if isinstance(value, dict):
        kept = {name: one if name in _MAPS else pruned(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one is not None and one != ""}
    return [pruned(one) for one in value] if isinstance(value, list) else value


def taken(kind: str, key: str, row: Mapping[str, Any], form: ObjectForm) -> Translation:
    """The members that are taken over, and a sentence for each other one that holds something.

    Args:
        kind: in sentences.
        key: what names the object.
        row: as the source shows it.
        form: of the kind.
    """
    shown = pruned(dict(row))
    body = {member: shown[member] for member in form.taken if member in shown}
    left = [
        member for member, value in shown.items()
        if member not in form.taken and member not in form.written | _STAMPS and value not in ({}, [])
    ]  # fmt: skip
    return Translation(
        key, body, tuple(f"The {kind} {key} has {member}, which is not taken over." for member in left)
    )


def key_of(row: Mapping[str, Any], *members: str) -> str:
    """The first of the members that names the object."""
    found = next((row[member] for member in members if row.get(member)), None)
    return str(found) if found is not None else "without a name"


def meter(row: Mapping[str, Any]) -> Translation:
    return taken("meter", key_of(row, "slug"), row, FORMS["meter"])


def subject(row: Mapping[str, Any]) -> Translation:
    return taken("subject", key_of(row, "key"), row, FORMS["subject"])


def customer(row: Mapping[str, Any]) -> Translation:
    """A customer with its subjects; its subscription is named, since it is not taken over."""
    found = taken("customer", customer_key(row), row, FORMS["customer"])
    if (attribution := found.body.get("usageAttribution")) is not None:
        found.body["usageAttribution"] = {"subjectKeys": attribution.get("subjectKeys") or []}
    if row.get("currentSubscriptionId") is None:
        return found
    note = f"The customer {found.key} has a subscription, which is not taken over: create it here."
    return found._replace(notes=(*found.notes, note))


def customer_key(row: Mapping[str, Any]) -> str:
    """What names a customer on both sides: its key, else its first subject, else its name."""
    subjects = (row.get("usageAttribution") or {}).get("subjectKeys") or [None]
    return key_of({**row, "subject": subjects[0]}, "key", "subject", "name")


def feature(row: Mapping[str, Any]) -> Translation:
    """OpenMeter shows filters in both forms; one is taken: the plain one if it says the same."""
    found = taken("feature", key_of(row, "key"), row, FORMS["feature"])
    advanced = found.body.get("advancedMeterGroupByFilters") or {}
    plain = {
        name: one["$eq"] for name, one in advanced.items() if isinstance(one, dict) and list(one) == ["$eq"]
    }
    if plain.keys() == advanced.keys():
        found.body.pop("advancedMeterGroupByFilters", None)
        found.body.update({"meterGroupByFilters": plain} if plain else {})
    else:
        found.body.pop("meterGroupByFilters", None)
    if isinstance(cost := found.body.get("unitCost"), dict):
        cost.pop("pricing", None)  # what the source's own price list says at present
    return found


def channel(row: Mapping[str, Any]) -> Translation:
    """A channel with its secret, so that receivers verify signatures as before."""
    found = taken("channel", key_of(row, "name", "id"), row, FORMS["channel"])
    if "signingSecret" in found.body:
        return found
    note = (
        f"The channel {found.key} comes without its signing secret, so a new one is made: `tallymark endpoints update "
        "ID FILE` sets the one that its receiver knows, where FILE has all members of the channel and signingSecret."
    )
    return found._replace(notes=(*found.notes, note))


def rule(row: Mapping[str, Any], channels: Mapping[str, str]) -> Translation:
    """A rule, disabled, so that what the source has already fired is not sent again.

    Args:
        row: as the source shows it.
        channels: our id of each channel of the source that was taken over.

    Raises:
        Rejected: `not-taken-over` if one of its channels was not.
    """
    found = taken("rule", key_of(row, "name", "id"), row, FORMS["rule"])
    names = [str(one["id"]) for one in row.get("channels") or []]
    if missing := [name for name in names if name not in channels]:
        raise Rejected("not-taken-over", f"Its channel {missing[0]} was not taken over.")
    found.body.update(channels=[channels[name] for name in names], disabled=True)
    if features := [str(one["key"]) for one in row.get("features") or []]:
        found.body["features"] = features
    return found
