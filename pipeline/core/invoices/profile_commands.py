"""The commands about billing profiles and the overrides of customers.

Owns: deciding billing-profile.* and billing-override.*. Does not own: which change is allowed (profile), which values
the members may have (profile_reading), which profiles there are (profiles_now).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipeline.core.customers.customer import MAX_KEY, Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import BILLING_OVERRIDE, BILLING_PROFILE, CUSTOMER_KEY
from pipeline.core.invoices.profile import (
    BillingProfile,
    deleted,
    overridden,
    override_deleted,
    refuse,
    saved,
)
from pipeline.core.invoices.profile_json import profile_json
from pipeline.core.invoices.profile_reading import read_changed_profile, read_new_profile
from pipeline.core.invoices.profiles_now import ProfilesNow
from pipeline.errors import Rejected

MOST_PROFILES: Final = 200  # of a namespace, without deleted ones
MOST_ID: Final = 64


def create(context: CommandContext) -> Decided:
    """billing-profile.create: a new profile. One that is the default takes that from the profile before it.

    Raises:
        Rejected: `bad-billing-profile`, a code of profile.CODES.
    """
    profiles = _profiles(context)
    new = read_new_profile(context.body, context.id(), context.now)
    for id in (new.apps.tax, new.apps.invoicing, new.apps.payment):
        _check_app(profiles, id)
    if sum(not one.is_deleted for one in profiles.profiles.values()) >= MOST_PROFILES:
        raise Rejected("bad-billing-profile", f"a namespace has at most {MOST_PROFILES} billing profiles")
    return Decided(saved_changes(profiles, new), profile_json(new))


def update(context: CommandContext) -> Decided:
    """billing-profile.update: replaces all but the apps. The same again changes nothing.

    Raises:
        Rejected: `bad-billing-profile`, a code of profile.CODES.
    """
    profiles = _profiles(context)
    old = profiles.profiles.get(_id(context.body, "id", BILLING_PROFILE))
    if old is None:
        refuse("profile_not_found")
    new = read_changed_profile(context.asked("id"), old, old.updated_at)
    if new == old:
        return Decided([], profile_json(old))
    new = new.in_place_of(old).changed(updated_at=context.now)
    return Decided(saved_changes(profiles, new), profile_json(new))


def delete(context: CommandContext) -> Decided:
    """billing-profile.delete: the profile can still be read by its id. No override may name it.

    Raises:
        Rejected: a code of profile.CODES.
    """
    BodyReader(BILLING_PROFILE, context.body, ("id",))
    profiles, id = _profiles(context), _id(context.body, "id", BILLING_PROFILE)
    gone = deleted(profiles.profiles, id, profiles.overrides_of(id), context.now)
    return Decided([DefinitionChange(BILLING_PROFILE, gone.id, gone)])


def upsert_override(context: CommandContext) -> Decided:
    """billing-override.upsert: the profile of a customer; without one that is named, always the default profile.

    The same again changes nothing.

    Raises:
        Rejected: `bad-billing-override`, a code of profile.CODES.
    """
    sent = BodyReader(BILLING_OVERRIDE, context.body, ("customerId", "billingProfileId"))
    profiles, profile_id = _profiles(context), sent.text("billingProfileId", MOST_ID)
    customer = _customer(context)
    old = None if customer is None else profiles.override(customer.id)
    new = overridden(profiles.profiles, customer, old, profile_id, context.now)
    if new is old:
        return Decided([], new.members)
    if old is not None and not old.is_deleted:
        new = new.in_place_of(old)
    return Decided([DefinitionChange(BILLING_OVERRIDE, new.customer_id, new)], new.members)


def delete_override(context: CommandContext) -> Decided:
    """billing-override.delete: the customer has the default profile.

    Raises:
        Rejected: `bad-billing-override`, a code of profile.CODES.
    """
    BodyReader(BILLING_OVERRIDE, context.body, ("customerId",))
    customer = _customer(context)
    if customer is None:
        refuse("customer_not_found")
    gone = override_deleted(_profiles(context).override(customer.id), context.now)
    return Decided([DefinitionChange(BILLING_OVERRIDE, gone.customer_id, gone)])


def saved_changes(profiles: ProfilesNow, profile: BillingProfile) -> list[DefinitionChange]:
    """The changes that create or replace a profile.

    Raises:
        Rejected: as profile.saved.
    """
    return [DefinitionChange(BILLING_PROFILE, one.id, one) for one in saved(profiles.profiles, profile)]


def _profiles(context: CommandContext) -> ProfilesNow:
    return ProfilesNow(context.index, context.namespace)


def _id(body: Mapping[str, object], member: str, kind: str) -> str:
    return BodyReader(kind, {member: body.get(member)}, (member,)).required(member, MAX_KEY)


def _customer(context: CommandContext) -> Customer | None:
    """The customer that the body names by its id, deleted or not, or by its key."""
    wanted = _id(context.body, "customerId", BILLING_OVERRIDE)
    return context.index.find_by(Customer, context.namespace, CUSTOMER_KEY, wanted)


def _check_app(profiles: ProfilesNow, id: str) -> None:
    """Raises Rejected `bad-billing-profile` for an app that is not installed."""
    app = profiles.apps.find(id)
    if app is None or app.is_deleted:
        raise Rejected("bad-billing-profile", f"billing-profile apps names no installed app: {id}")
