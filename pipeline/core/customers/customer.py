"""Customers: who pays, and whose usage is whose.

Owns: what the definition of a customer holds, deciding customer.*. Does not own: usage (metering.aggregate), subjects'
own data (subject). A subject belongs to one customer of a namespace at most. An event whose subject equals a customer's
key is that customer's too, so keys and subjectKeys share one space.

Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` CustomerCreate, `openmeter/customer` for the sentences.
`timeZone` is ours.
"""

from __future__ import annotations

import re

import msgspec

from pipeline.core.customers.attribution import NO_CUSTOMER, Attribution, hand_over
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import ATTRIBUTION, CUSTOMER, CUSTOMER_KEY, CUSTOMER_SUBJECT
from pipeline.errors import Rejected

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
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII).fullmatch
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII).fullmatch


class UsageAttribution(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The subjects whose usage is the customer's; its own key is one without being listed."""

    subject_keys: list[str]


class BillingAddress(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """country: ISO 3166-1 alpha-2."""

    country: str | None = None
    postal_code: str | None = None
    state: str | None = None
    city: str | None = None
    line1: str | None = None
    line2: str | None = None
    phone_number: str | None = None


class Customer(DefinitionBody, frozen=True, kw_only=True):
    """A customer, deleted ones too. id: a ULID. Instants are RFC 3339 in UTC with milliseconds.

    currency: ISO 4217. time_zone: of the IANA database; calendars of its entitlements step in it.
    """

    kind = CUSTOMER

    id: str
    key: str | None = None
    name: str
    description: str | None = None
    usage_attribution: UsageAttribution
    primary_email: str | None = None
    currency: str | None = None
    billing_address: BillingAddress | None = None
    time_zone: str | None = None
    metadata: dict[str, str] | None = None
    created_at: str
    updated_at: str
    deleted_at: str | None = None

    @property
    def subjects(self) -> list[str]:
        """The subjects whose usage is the customer's: its subjectKeys, then its own key, each once."""
        own = [] if self.key is None else [self.key]
        return list(dict.fromkeys([*self.usage_attribution.subject_keys, *own]))


def create(context: CommandContext) -> Decided:
    """customer.create: a new customer, which has its subjects from now on.

    Raises:
        Rejected: `bad-customer`; `customer-conflict` or `subject-conflict` if another customer has the key or a
            subject.
    """
    sent = BodyReader(CUSTOMER, context.body, _MEMBERS, _WRITTEN)
    customer = _read(sent, context.id(), context.now, context.now)
    _check_free(context, customer)
    moved = _moved_subjects(context, customer.id, [], customer.subjects)
    return Decided([DefinitionChange(CUSTOMER, customer.id, customer), *moved], customer.members)


def update(context: CommandContext) -> Decided:
    """customer.update: replaces everything but id and createdAt. The same again changes nothing.

    Raises:
        Rejected: as for `create`; `not-found`.
    """
    old = _existing(context)
    sent = BodyReader(CUSTOMER, context.asked("id"), _MEMBERS, _WRITTEN, old.members)
    new = _read(sent, old.id, old.created_at, old.updated_at)
    if new == old:
        return Decided([], old.members)
    _check_free(context, new)
    new = new.in_place_of(old).changed(updated_at=context.now)
    moved = _moved_subjects(context, old.id, old.subjects, new.subjects)
    return Decided([DefinitionChange(CUSTOMER, old.id, new), *moved], new.members)


def delete(context: CommandContext) -> Decided:
    """customer.delete: the customer can still be read by its id; its key and subjects are free again.

    Raises:
        Rejected: `not-found`.
    """
    BodyReader(CUSTOMER, context.body, ("id",))
    old = _existing(context)
    deleted = old.changed(deleted_at=context.now, updated_at=context.now)
    moved = _moved_subjects(context, old.id, old.subjects, [])
    return Decided([DefinitionChange(CUSTOMER, old.id, deleted), *moved])


def _moved_subjects(
    context: CommandContext, id: str, before: list[str], after: list[str]
) -> list[DefinitionChange]:
    """The new attribution of each subject that the customer gets or gives up."""
    owners = {subject: NO_CUSTOMER for subject in before if subject not in after}
    owners |= {subject: id for subject in after if subject not in before}
    changes = []
    for subject, owner in owners.items():
        stored = context.index.find(Attribution, context.namespace, subject)
        earlier = [] if stored is None else stored.holders
        later = hand_over(earlier, owner, context.at_ms)
        if later != earlier:
            attribution = (
                Attribution(subject=subject, holders=later)
                if stored is None
                else stored.changed(holders=later)
            )
            changes.append(DefinitionChange(ATTRIBUTION, subject, attribution))
    return changes


def _existing(context: CommandContext) -> Customer:
    """The customer that the body's `id` names by id or key."""
    wanted = BodyReader(CUSTOMER, {"id": context.body.get("id")}, ("id",)).required("id", MAX_KEY)
    customer = context.index.find_by(Customer, context.namespace, CUSTOMER_KEY, wanted, deleted=False)
    if customer is None:
        raise Rejected("not-found", f"There is no customer with the id or key {wanted}.")
    return customer


def _read(sent: BodyReader, id: str, created_at: str, updated_at: str) -> Customer:
    attribution = BodyReader(CUSTOMER, sent.nested("usageAttribution") or {}, ("subjectKeys",))
    currency = sent.text("currency", 3)
    if currency is not None and not _CURRENCY(currency):
        sent.refuse("customer currency must be three capital letters, as ISO 4217 has it")
    return Customer(
        id=id,
        key=sent.text("key", MAX_KEY),
        name=sent.required("name", MAX_NAME),
        description=sent.text("description", 1024, multiline=True),
        usage_attribution=UsageAttribution(attribution.texts("subjectKeys", MAX_SUBJECTS, MAX_SUBJECT) or []),
        primary_email=sent.text("primaryEmail", 256),
        currency=currency,
        billing_address=_address(sent),
        time_zone=sent.zone("timeZone"),
        metadata=sent.metadata(),
        created_at=created_at,
        updated_at=updated_at,
    )


def _address(sent: BodyReader) -> BillingAddress | None:
    nested = sent.nested("billingAddress")
    if nested is None:
        return None
    parts = BodyReader(CUSTOMER, nested, BillingAddress.__struct_encode_fields__)
    country = parts.text("country", 2)
    if country is not None and not _COUNTRY(country):
        sent.refuse("customer country must be two capital letters, as ISO 3166 has it")
    return BillingAddress(
        country, *(parts.text(part, 256) for part in BillingAddress.__struct_encode_fields__[1:])
    )


def _check_free(context: CommandContext, customer: Customer) -> None:
    """Raises Rejected, in OpenMeter's words, if another customer has the key or one of the subjects."""
    index, namespace, key = context.index, context.namespace, customer.key
    if key is not None and index.one(namespace, CUSTOMER_KEY, key) not in (None, customer.id):
        raise Rejected(
            "customer-conflict",
            f'key "{key}" is already used by an another customer in the namespace {namespace}',
        )
    taken = [
        subject
        for subject in customer.subjects
        if index.one(namespace, CUSTOMER_SUBJECT, subject) not in (None, customer.id)
    ]
    if taken:
        raise Rejected(
            "subject-conflict",
            f"one or multiple subject keys of [{', '.join(taken)[:1024]}] are already associated with an "
            f"different customer in the namespace {namespace}",
        )
