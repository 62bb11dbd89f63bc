"""Billing profiles and the overrides of customers: which settings are in force for a customer.

Owns: what they hold, which changes are allowed, with their codes. Does not own: the settings (workflow), apps
(billing.app), where profiles and overrides are kept. An override only names another profile. An invoice keeps the
profile that it was created with, so no change reaches an invoice that exists.
Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/profile.go`, `openmeter/billing/errors.go` for the codes.
`time_zone`, `numbering` and `tax_rates` are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NoReturn

import msgspec

from pipeline.core.customers.customer import BillingAddress, Customer
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import BILLING_OVERRIDE, BILLING_PROFILE
from pipeline.core.invoices.numbering import Numbering, check_apart, check_numbering
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.rating.tax import TaxRate
from pipeline.errors import Rejected

CODES: Final[Mapping[str, str]] = {
    "default_profile_not_found": "There is no default billing profile.",
    "profile_not_found": "There is no billing profile with this id.",
    "profile_already_deleted": "The billing profile is deleted already.",
    "profile_referenced": "The billing profile is used by overrides of customers.",
    "default_profile_cannot_be_deleted": "The default billing profile cannot be deleted: make another one the default.",
    "default_profile_cannot_be_unset": "A billing profile stops being the default when another one becomes it.",
    "profile_apps_differ": "All apps of a billing profile must be the same.",
    "customer_override_not_found": "The customer has no override.",
    "customer_override_deleted": "The override of the customer is deleted already.",
    "customer_not_found": "There is no customer with this id.",
    "customer_deleted": "The customer is deleted.",
}
USUAL_ZONE: Final = "UTC"
NOT_FOUND: Final = frozenset({"profile_not_found", "customer_override_not_found", "customer_not_found"})


class PartyTaxId(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """code: of 1 to 32 characters."""

    code: str


class Supplier(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """Who sends an invoice. addresses: at most one."""

    key: str | None = None
    name: str | None = None
    tax_id: PartyTaxId | None = None
    addresses: tuple[BillingAddress, ...] = ()


class ProfileApps(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The ids of the apps that compute taxes, send invoices and collect payments."""

    tax: str
    invoicing: str
    payment: str


class BillingProfile(DefinitionBody, frozen=True, kw_only=True):
    """A profile. id: a ULID. Instants are RFC 3339 in UTC with milliseconds.

    Attributes:
        default: it is in force for customers without an override.
        time_zone: of the IANA database, in which days and months of its invoices are counted.
        tax_rates: with which its invoices are taxed (taxed_lines); none: an app does it.
    """

    kind = BILLING_PROFILE

    id: str
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    supplier: Supplier
    default: bool
    workflow: BillingWorkflow
    apps: ProfileApps
    time_zone: str = USUAL_ZONE
    numbering: Numbering = Numbering()
    tax_rates: tuple[TaxRate, ...] = ()
    created_at: str
    updated_at: str
    deleted_at: str | None = None


class CustomerOverride(DefinitionBody, frozen=True, kw_only=True):
    """Which profile a customer has. billing_profile_id: None: whichever is the default.

    The name of the definition is the customer's id.
    """

    kind = BILLING_OVERRIDE

    customer_id: str
    billing_profile_id: str | None = None
    created_at: str
    updated_at: str
    deleted_at: str | None = None


Profiles = Mapping[str, BillingProfile]


def refuse(code: str) -> NoReturn:
    """Raises Rejected with a code of CODES and its sentence."""
    raise Rejected(code, CODES[code])


def saved(profiles: Profiles, profile: BillingProfile) -> list[BillingProfile]:
    """The profiles that change when one is created or replaced: itself, and the default before it.

    Args:
        profiles: by id, deleted ones too.
        profile: as it shall be. Only one becomes the default by being sent as it.

    Raises:
        Rejected: a code of CODES, or `bad-billing-profile` for its numbering.
    """
    old = profiles.get(profile.id)
    if old is not None and old.deleted_at is not None:
        refuse("profile_already_deleted")
    if old is not None and old.default and not profile.default:
        refuse("default_profile_cannot_be_unset")
    if len({profile.apps.tax, profile.apps.invoicing, profile.apps.payment}) > 1:
        refuse("profile_apps_differ")
    check_numbering(profile.numbering)
    check_apart(profile.numbering, profile.id, {one.id: one.numbering for one in profiles.values()})
    before = [one for one in profiles.values() if profile.default and one.default and one.id != profile.id]
    return [
        profile,
        *(one.changed(default=False, updated_at=profile.updated_at) for one in before),
    ]


def deleted(profiles: Profiles, id: str, overrides: Iterable[CustomerOverride], now: str) -> BillingProfile:
    """A profile after its deletion.

    Args:
        overrides: of all customers.
        now: RFC 3339.

    Raises:
        Rejected: a code of CODES.
    """
    profile = profiles.get(id)
    if profile is None:
        refuse("profile_not_found")
    if profile.deleted_at is not None:
        refuse("profile_already_deleted")
    if profile.default:
        refuse("default_profile_cannot_be_deleted")
    if any(one.billing_profile_id == id and one.deleted_at is None for one in overrides):
        refuse("profile_referenced")
    return profile.changed(deleted_at=now, updated_at=now)


def default_of(profiles: Profiles) -> BillingProfile:
    """The default profile.

    Raises:
        Rejected: `default_profile_not_found`.
    """
    found = next((one for one in profiles.values() if one.default and one.deleted_at is None), None)
    return refuse("default_profile_not_found") if found is None else found


def in_force(profiles: Profiles, override: CustomerOverride | None) -> BillingProfile:
    """The profile of a customer, which a new invoice takes over.

    Raises:
        Rejected: `profile_not_found`, `default_profile_not_found`.
    """
    if override is None or override.deleted_at is not None or override.billing_profile_id is None:
        return default_of(profiles)
    found = profiles.get(override.billing_profile_id)
    return refuse("profile_not_found") if found is None or found.deleted_at is not None else found


def overridden(
    profiles: Profiles,
    customer: Customer | None,
    old: CustomerOverride | None,
    profile_id: str | None,
    now: str,
) -> CustomerOverride:
    """The override of a customer after it was created or replaced. The same again changes nothing.

    Raises:
        Rejected: a code of CODES.
    """
    if customer is None:
        refuse("customer_not_found")
    if customer.deleted_at is not None:
        refuse("customer_deleted")
    kept = old is not None and old.deleted_at is None
    if kept and old is not None and old.billing_profile_id == profile_id:
        return old
    created_at = old.created_at if kept and old is not None else now
    new = CustomerOverride(
        customer_id=customer.id, billing_profile_id=profile_id, created_at=created_at, updated_at=now
    )
    in_force(profiles, new)
    return new


def override_deleted(old: CustomerOverride | None, now: str) -> CustomerOverride:
    """An override after its deletion.

    Raises:
        Rejected: a code of CODES.
    """
    if old is None:
        refuse("customer_override_not_found")
    if old.deleted_at is not None:
        refuse("customer_override_deleted")
    return old.changed(deleted_at=now, updated_at=now)
