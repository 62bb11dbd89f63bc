"""Entitlements as they stand on the control log: found, and read.

Owns: which entitlement a name means, when it is in force, its usage periods. Does not own: the commands (entitlement),
grants (grant).

    {id, type, customerId, featureId, featureKey, activeFrom, activeTo?, metadata?, createdAt, updatedAt, deletedAt?,
     metered: usagePeriod {interval, anchor, timeZone?}, measureUsageFrom, isSoftLimit, isUnlimited, issueAfterReset?,
              issueAfterResetPriority?, preserveOverageAtReset, gracePeriod?,
              resets: [{effectiveAt, anchor, preserveOverage}],
     static: config}
Instants are RFC 3339 on whole minutes but for createdAt, updatedAt and deletedAt; amounts plain decimal text. An
anchor keeps the offset in which it was sent: usage periods step in it where there is no `timeZone`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.definitions.body import BodyReader, seconds_of, zone_of
from pipeline.core.definitions.index import Body, DefinitionIndex
from pipeline.core.definitions.kinds import (
    CUSTOMER,
    CUSTOMER_KEY,
    CUSTOMER_SUBJECT,
    ENTITLEMENT,
    ENTITLEMENT_CUSTOMER,
    SUBJECT,
)
from pipeline.core.values import calendar
from pipeline.core.values.calendar import NEVER_S, Recurrence, Reset, Schedule
from pipeline.errors import Broken, Rejected

StoredEntitlement = Mapping[str, object]


def customer_id(index: DefinitionIndex, namespace: str, wanted: str) -> str:
    """The id of the living customer with this id or key. Raises Rejected `not-found`."""
    for id in (wanted, index.one(namespace, CUSTOMER_KEY, wanted)):
        body = index.body(namespace, CUSTOMER, id) if id is not None else None
        if id is not None and body is not None and "deletedAt" not in body:
            return id
    raise Rejected("not-found", f"There is no customer with the id or key {wanted}.")


def holder_id(index: DefinitionIndex, namespace: str, sent: BodyReader) -> str | None:
    """The id of the customer that a command names, by `customerId` or as the holder of `subject`; None: neither.

    Raises Rejected `not-found`.
    """
    customer, subject = sent.text("customerId", 256), sent.text("subject", 256)
    if customer is not None and subject is not None:
        sent.refuse("either customerId or subject is given, not both")
    if customer is not None:
        return customer_id(index, namespace, customer)
    if subject is None:
        return None
    body = index.body(namespace, SUBJECT, subject)
    key = subject if body is None else str(body["key"])
    if (id := index.one(namespace, CUSTOMER_SUBJECT, key)) is None:
        raise Rejected("not-found", f"There is no customer with the subject {key}.")
    return id


def of_customer(index: DefinitionIndex, namespace: str, customer: str) -> list[Body]:
    """All entitlements of a customer (id), ended and deleted ones too, oldest first."""
    found = (
        index.body(namespace, ENTITLEMENT, id) for id in index.many(namespace, ENTITLEMENT_CUSTOMER, customer)
    )
    return sorted((body for body in found if body is not None), key=lambda body: str(body["id"]))


def find(index: DefinitionIndex, namespace: str, wanted: str, at_s: int, customer: str | None = None) -> Body:
    """The entitlement with this id, or of the customer (id) for this feature key at `at_s`.

    Deleted ones are not found. Raises Rejected `not-found`.
    """
    body = index.body(namespace, ENTITLEMENT, wanted)
    if body is not None and "deletedAt" not in body and customer in (None, body["customerId"]):
        return body
    if customer is not None:
        for body in of_customer(index, namespace, customer):
            if wanted == body["featureKey"] and "deletedAt" not in body and in_force(body, at_s):
                return body
    raise Rejected("not-found", f"There is no entitlement with the id or feature key {wanted}.")


def span(body: StoredEntitlement) -> tuple[int, int]:
    """[start, end) in which it is in force; the end is NEVER_S if none is set."""
    ends = [at_s for member in ("activeTo", "deletedAt") if (at_s := seconds_of(body, member)) is not None]
    start_s = seconds_of(body, "activeFrom")
    if start_s is None:
        raise Broken(f"The entitlement {body.get('id')} has no activeFrom.")
    return start_s, min(ends, default=NEVER_S)


def in_force(body: StoredEntitlement, at_s: int) -> bool:
    """Whether it is in force at an instant."""
    start_s, end_s = span(body)
    return start_s <= at_s < end_s


def schedule_of(body: StoredEntitlement) -> Schedule:
    """The usage periods of a metered entitlement."""
    usage_period, start_s = body.get("usagePeriod"), seconds_of(body, "measureUsageFrom")
    anchor_s = seconds_of(usage_period, "anchor") if isinstance(usage_period, Mapping) else None
    if not isinstance(usage_period, Mapping) or start_s is None or anchor_s is None:
        raise Broken(f"The entitlement {body.get('id')} has no usage period.")
    recurrence = Recurrence(calendar.parse(usage_period["interval"]), anchor_s, zone_of(usage_period))
    resets = (_reset(one, usage_period) for one in _list(body, "resets"))
    return Schedule(start_s, recurrence, tuple(resets))


def _reset(body: Any, usage_period: Mapping[str, object]) -> Reset:
    at_s, anchor_s = seconds_of(body, "effectiveAt"), seconds_of(body, "anchor")
    if at_s is None or anchor_s is None:
        raise Broken("A reset has no instant.")
    return Reset(
        at_s, anchor_s, bool(body["preserveOverage"]), zone_of({**usage_period, "anchor": body["anchor"]})
    )


def anchor(body: StoredEntitlement) -> tuple[str, str]:
    """The anchor of the newest usage periods of a metered entitlement, as text, and the zone in which they step."""
    usage_period, resets = body["usagePeriod"], _list(body, "resets")
    assert isinstance(usage_period, Mapping)
    text = str(resets[-1]["anchor"] if resets else usage_period["anchor"])
    return text, zone_of({**usage_period, "anchor": text})


def zone_name(index: DefinitionIndex, namespace: str, body: StoredEntitlement) -> str | None:
    """The named zone in which calendars of an entitlement step unless they name their own; None: in an offset.

    body: of the entitlement, or of one that is being made: at least its `customerId`.
    """
    usage_period = body.get("usagePeriod")
    zone = usage_period.get("timeZone") if isinstance(usage_period, Mapping) else None
    if zone is None:
        zone = (index.body(namespace, CUSTOMER, str(body["customerId"])) or {}).get("timeZone")
    return None if zone is None else str(zone)


def _list(body: StoredEntitlement, member: str) -> list[Any]:
    found = body.get(member)
    return found if isinstance(found, list) else []
