"""Entitlements that a subscription manages: they follow its items, and clients do not change them.

Owns: the state in which such an entitlement is ordered, deciding entitlement.follow, the refusal of a client's change.
Does not own: which entitlements a subscription gives (subscriptions.entitlements), those of clients
(entitlement_commands).

The command has the whole state, so that it may be repeated, and arrive after the entitlement has begun. An entitlement
that a client gave to the customer for the same feature ends where a managed one begins, as if it were overridden.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pipeline.core.catalog.feature import Feature
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import ENTITLEMENT, GRANT
from pipeline.core.metering.meter import Meter
from pipeline.core.quota import entitlement_lookup, grant_commands
from pipeline.core.quota.entitlement import (
    BOOLEAN,
    STATIC,
    Entitlement,
    MeteredEntitlement,
    StaticEntitlement,
    UsagePeriod,
)
from pipeline.core.quota.terms import counted
from pipeline.core.values import number, ulid
from pipeline.errors import Rejected

REASON: Final = f"bad-{ENTITLEMENT}"
EntitlementType = Literal["boolean", "static", "metered"]


class ManagedTerms(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """What an entitlement of a subscription is from its beginning to its end.

    Args:
        type: boolean, static or metered, which has the members of its type.
        active_from: RFC 3339, on a whole minute, as all instants.
    """

    subscription_id: str
    customer_id: str
    feature_id: str
    feature_key: str
    type: EntitlementType
    active_from: str
    metadata: dict[str, str] | None = None
    config: str | None = None
    usage_period: UsagePeriod | None = None
    measure_usage_from: str | None = None
    is_soft_limit: bool = False
    issue_after_reset: str | None = None
    issue_after_reset_priority: int | None = None
    preserve_overage_at_reset: bool = False


class FollowedEntitlement(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """The body of entitlement.follow. terms None: the subscription gives it no more. active_to None: without an end."""

    id: str
    active_to: str | None = None
    terms: ManagedTerms | None = None


def follow(context: CommandContext) -> Decided:
    """entitlement.follow {id, activeTo?, terms?}: an entitlement becomes as a subscription has it, or goes.

    Raises:
        Rejected: `not-found` without the customer or the feature; `bad-entitlement` if no balance can be kept, and for
            a body that is not of this form.
    """
    asked = _read(context)
    old = context.index.find(Entitlement, context.namespace, asked.id)
    if asked.terms is None:
        return _removed(context, old)
    ended = _others_ended(context, asked, asked.terms.active_from)
    if old is not None:
        new = old.changed(active_to=asked.active_to, deleted_at=None)
        if new == old:
            return Decided([])
        new = new.changed(updated_at=context.now)
        return Decided([*ended, DefinitionChange(ENTITLEMENT, new.id, new)], new.members)
    new = _made(context, asked, asked.terms)
    return Decided([*ended, DefinitionChange(ENTITLEMENT, new.id, new), *_issued(context, new)], new.members)


def check_free_to_change(entitlement: Entitlement) -> None:
    """Refuse a client's change of an entitlement that a subscription manages.

    Raises:
        Rejected: `entitlement_managed_by_subscription` (403).
    """
    if entitlement.managed_by is not None:
        raise Rejected(
            "entitlement_managed_by_subscription",
            f"entitlement is managed by subscription {entitlement.managed_by}",
        )


def check_can_be_counted(feature: Feature, meter: Meter | None) -> None:
    """Refuse a metered entitlement of which no balance can be kept. Raises Rejected `bad-entitlement`."""
    if meter is None:
        raise Rejected(REASON, f"feature {feature.key} has no meter: a metered entitlement needs one")
    if counted(meter.aggregation) is None:
        raise Rejected(
            REASON,
            f"meter {meter.slug} has the aggregation {meter.aggregation}, which no balance can be kept of",
        )


def _read(context: CommandContext) -> FollowedEntitlement:
    try:
        asked = msgspec.convert(dict(context.body), FollowedEntitlement)
    except msgspec.ValidationError as error:
        raise Rejected(REASON, f"entitlement.follow cannot be read: {str(error)[:512]}") from error
    if not ulid.is_ulid(asked.id):
        raise Rejected(REASON, "entitlement.follow must name its entitlement by a ULID")
    return asked


def _removed(context: CommandContext, old: Entitlement | None) -> Decided:
    """It was never in force, whatever the time of this record is."""
    if old is None or old.is_deleted:
        return Decided([])
    gone = old.changed(active_to=old.active_from, deleted_at=context.now, updated_at=context.now)
    return Decided([DefinitionChange(ENTITLEMENT, old.id, gone)], gone.members)


def _others_ended(context: CommandContext, asked: FollowedEntitlement, from_: str) -> list[DefinitionChange]:
    """The entitlements of clients that would be in force together with this one: they end as it begins."""
    assert asked.terms is not None
    mine = Entitlement(
        id=asked.id,
        type=asked.terms.type,
        customer_id=asked.terms.customer_id,
        feature_id=asked.terms.feature_id,
        feature_key=asked.terms.feature_key,
        active_from=from_,
        active_to=asked.active_to,
    ).span
    changes = []
    for other in entitlement_lookup.of_customer(context.index, context.namespace, asked.terms.customer_id):
        start_s, end_s = other.span
        overlaps = max(start_s, mine[0]) < min(end_s, mine[1])
        if other.managed_by is None and other.feature_key == asked.terms.feature_key and overlaps:
            end = from_ if start_s <= mine[0] else other.active_from
            ended = other.changed(active_to=end, updated_at=context.now)
            changes.append(DefinitionChange(ENTITLEMENT, other.id, ended))
    return changes


def _made(context: CommandContext, asked: FollowedEntitlement, terms: ManagedTerms) -> Entitlement:
    customer = context.index.find(Customer, context.namespace, terms.customer_id)
    feature = context.index.find(Feature, context.namespace, terms.feature_id)
    if customer is None or customer.is_deleted:
        raise Rejected("not-found", f"There is no customer with the id {terms.customer_id[:64]}.")
    if feature is None:
        raise Rejected("not-found", f"There is no feature with the id {terms.feature_id[:64]}.")
    common = Entitlement(
        id=asked.id,
        type=terms.type,
        customer_id=terms.customer_id,
        feature_id=terms.feature_id,
        feature_key=terms.feature_key,
        active_from=terms.active_from,
        active_to=asked.active_to,
        metadata=terms.metadata,
        managed_by=terms.subscription_id,
        created_at=context.now,
        updated_at=context.now,
    )
    members = msgspec.structs.asdict(common)
    if terms.type == BOOLEAN:
        return common
    if terms.type == STATIC:
        return StaticEntitlement(**members, config=terms.config or "null")
    if terms.usage_period is None or terms.measure_usage_from is None:
        raise Rejected(REASON, "a metered entitlement must have usagePeriod and measureUsageFrom")
    slug = feature.meter_slug
    check_can_be_counted(
        feature, None if slug is None else context.index.find(Meter, context.namespace, slug)
    )
    return MeteredEntitlement(
        **members,
        usage_period=terms.usage_period,
        measure_usage_from=terms.measure_usage_from,
        is_soft_limit=terms.is_soft_limit,
        is_unlimited=False,
        issue_after_reset=terms.issue_after_reset,
        issue_after_reset_priority=terms.issue_after_reset_priority,
        preserve_overage_at_reset=terms.preserve_overage_at_reset,
        resets=[],
    )


def _issued(context: CommandContext, entitlement: Entitlement) -> list[DefinitionChange]:
    return [] if not isinstance(entitlement, MeteredEntitlement) else issued_grant(context, entitlement)


def issued_grant(context: CommandContext, entitlement: MeteredEntitlement) -> list[DefinitionChange]:
    """The grant of what is issued after each reset; none of an amount of 0."""
    amount = entitlement.issue_after_reset
    if amount is None or number.exact(amount) <= 0:
        return []
    issued = {
        "amount": amount, "priority": entitlement.issue_after_reset_priority,
        "effectiveAt": entitlement.measure_usage_from, "minRolloverAmount": amount, "maxRolloverAmount": amount,
    }  # fmt: skip
    reader = BodyReader(GRANT, issued, grant_commands.MEMBERS)
    issue = grant_commands.define(context, reader, entitlement, context.id(1), entitlement.schedule.start_s)
    return [DefinitionChange(GRANT, issue.id, issue.changed(issued_after_reset=True))]
