"""Customers: who pays, and whose usage is whose.

Owns: a customer's rules, deciding customer.*. Does not own: usage (metering.aggregate), subjects' own data (subject).
A subject belongs to one customer of a namespace at most. An event whose subject equals a customer's key is that
customer's too, so keys and subjectKeys share one space. Rules and texts: OpenMeter's CustomerCreate.
"""

from __future__ import annotations

import re

from pipeline.core.customers import attribution
from pipeline.core.definitions import attribution_history
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.index import subjects_of
from pipeline.core.definitions.kinds import ATTRIBUTION, CUSTOMER_KEY, CUSTOMER_SUBJECT
from pipeline.core.values import zone
from pipeline.errors import Rejected

KIND = "customer"
MAX_KEY = 256
MAX_NAME = 256
MAX_SUBJECTS = 1000
MAX_SUBJECT = 1024  # as an event's subject

_MEMBERS = (
    "key", "name", "description", "usageAttribution", "primaryEmail", "currency", "billingAddress", "metadata",
    "timeZone",
)  # fmt: skip
_WRITTEN = (
    "id",
    "createdAt",
    "updatedAt",
    "deletedAt",
    "currentSubscriptionId",
    "subscriptions",
    "annotations",
)
_ADDRESS = ("country", "postalCode", "state", "city", "line1", "line2", "phoneNumber")
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII).fullmatch
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII).fullmatch


def create(context: CommandContext) -> Decided:
    """customer.create. 409 if its key or one of its subjects is another's."""
    id, sent = context.id(), BodyReader(KIND, context.body, _MEMBERS, _WRITTEN)
    body = {"id": id, **_read(sent), "createdAt": context.now, "updatedAt": context.now}
    _check_free(context, id, body)
    return Decided(
        [DefinitionChange(KIND, id, body), *_handed_over(context, id, [], subjects_of(body))], body
    )


def update(context: CommandContext) -> Decided:
    """customer.update replaces everything but id and createdAt. The same again changes nothing."""
    id, old = _find(context)
    sent = BodyReader(KIND, context.asked("id"), _MEMBERS, _WRITTEN, old)
    body = {"id": id, **_read(sent), "createdAt": old["createdAt"], "updatedAt": old["updatedAt"]}
    if body == old:
        return Decided([], old)
    _check_free(context, id, body)
    body["updatedAt"] = context.now
    handed_over = _handed_over(context, id, subjects_of(old), subjects_of(body))
    return Decided([DefinitionChange(KIND, id, body), *handed_over], body)


def delete(context: CommandContext) -> Decided:
    """customer.delete: it stays readable by its id; its key and subjects are free again."""
    BodyReader(KIND, context.body, ("id",))
    id, old = _find(context)
    gone = {**old, "deletedAt": context.now, "updatedAt": context.now}
    return Decided([DefinitionChange(KIND, id, gone), *_handed_over(context, id, subjects_of(old), [])])


def _handed_over(
    context: CommandContext, id: str, before: list[str], after: list[str]
) -> list[DefinitionChange]:
    """The histories of the subjects that come to the customer or leave it."""
    holders = {subject: attribution_history.NOBODY for subject in before if subject not in after}
    holders |= {subject: id for subject in after if subject not in before}
    changes = []
    for subject, holder in holders.items():
        known = context.index.get(context.namespace, ATTRIBUTION, subject)
        earlier = [] if known is None else attribution_history.read(known)
        later = attribution.hand_over(earlier, holder, context.at_ms)
        if later != earlier:
            changes.append(DefinitionChange(ATTRIBUTION, subject, attribution_history.body(subject, later)))
    return changes


def _find(context: CommandContext) -> tuple[str, Body]:
    wanted = BodyReader(KIND, {"id": context.body.get("id")}, ("id",)).required("id", MAX_KEY)
    for id in (wanted, context.index.one(context.namespace, CUSTOMER_KEY, wanted)):
        body = context.index.body(context.namespace, KIND, id) if id is not None else None
        if id is not None and body is not None and "deletedAt" not in body:
            return id, body
    raise Rejected("not-found", f"There is no customer with the id or key {wanted}.")


def _read(sent: BodyReader) -> Body:
    attributed = BodyReader(KIND, sent.nested("usageAttribution") or {}, ("subjectKeys",))
    currency = sent.text("currency", 3)
    if currency is not None and not _CURRENCY(currency):
        sent.refuse("customer currency must be three capital letters, as ISO 4217 has it")
    found = {
        "key": sent.text("key", MAX_KEY),
        "name": sent.required("name", MAX_NAME),
        "description": sent.text("description", 1024, multiline=True),
        "usageAttribution": {"subjectKeys": attributed.texts("subjectKeys", MAX_SUBJECTS, MAX_SUBJECT) or []},
        "primaryEmail": sent.text("primaryEmail", 256),
        "currency": currency,
        "billingAddress": _address(sent),
        "timeZone": _time_zone(sent),
        "metadata": sent.metadata(),
    }
    return {name: value for name, value in found.items() if value is not None}


def _time_zone(sent: BodyReader) -> str | None:
    name = sent.text("timeZone", 64)
    try:
        return None if name is None else zone.named(name)
    except Rejected as refusal:
        sent.refuse(f"customer timeZone is not valid: {refusal.detail}")


def _address(sent: BodyReader) -> Body | None:
    nested = sent.nested("billingAddress")
    if nested is None:
        return None
    parts = BodyReader(KIND, nested, _ADDRESS)
    country = parts.text("country", 2)
    if country is not None and not _COUNTRY(country):
        sent.refuse("customer country must be two capital letters, as ISO 3166 has it")
    return {part: text for part in _ADDRESS if (text := parts.text(part, 256)) is not None}


def _check_free(context: CommandContext, id: str, body: Body) -> None:
    """Raises Rejected in OpenMeter's words."""
    key = body.get("key")
    if isinstance(key, str) and context.index.one(context.namespace, CUSTOMER_KEY, key) not in (None, id):
        raise Rejected(
            "customer-conflict",
            f'key "{key}" is already used by an another customer in the namespace {context.namespace}',
        )
    taken = [
        subject
        for subject in subjects_of(body)
        if context.index.one(context.namespace, CUSTOMER_SUBJECT, subject) not in (None, id)
    ]
    if taken:
        raise Rejected(
            "subject-conflict",
            f"one or multiple subject keys of [{', '.join(taken)[:1024]}] are already associated with an "
            f"different customer in the namespace {context.namespace}",
        )
