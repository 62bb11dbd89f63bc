"""The entitlements that a subscription gives by the templates of its items.

Owns: which entitlements follow from a subscription and when each is in force, the commands that make them so. Does not
own: what the commands do (quota.managed_entitlement), templates (catalog.entitlement_template), which items are in
force (timeline).

An entitlement is in force in the minutes in which its item begins up to that in which it ends: consecutive ones share
no minute. A new version of an item whose template is the same continues the entitlement, with all grants that were
added to it. Another template ends it and begins one with another id, which counts the usage of the whole usage period,
so that buying an add-on does not give the period's balance twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.entitlement_template import EntitlementTemplate, MeteredTemplate, StaticTemplate
from pipeline.core.metering.meter import Meter
from pipeline.core.quota.entitlement import UsagePeriod
from pipeline.core.quota.managed_entitlement import (
    FollowedEntitlement,
    ManagedTerms,
    check_can_be_counted,
)
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import PlacedItem, placed_items
from pipeline.core.values import calendar, ulid
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import Recurrence
from pipeline.errors import Rejected
from pipeline.records import Command

ACTOR: Final = "billing"


class GivenEntitlement(NamedTuple):
    """An entitlement and the versions of the item that give it."""

    item_ids: tuple[str, ...]
    followed: FollowedEntitlement


def given_entitlements(subscription: Subscription) -> list[GivenEntitlement]:
    """The entitlements of a subscription, past and future ones too; none of a deleted one."""
    return [] if subscription.is_deleted else list(_given(subscription))


def entitlement_commands(
    before: Iterable[Subscription], after: Iterable[Subscription], namespace: str, now_ms: int
) -> list[Command]:
    """The commands that make entitlements follow subscriptions that changed.

    Args:
        before, after: the changed subscriptions; one that is only in `after` is new.
        namespace: of the customer.
        now_ms: of the record that changed them.

    Returns:
        Those that end entitlements first, so that one begins where another has ended. The same for the same arguments.
    """
    had, have = _by_id(before), _by_id(after)
    changed = [
        have.get(id) or FollowedEntitlement(id=id)
        for id in sorted({*had, *have})
        if had.get(id) != have.get(id)
    ]
    changed.sort(key=lambda one: (one.terms is not None and one.id not in had, _begins(one), one.id))
    return [_command(one, namespace, now_ms) for one in changed]


def check_entitlements(subscriptions: Iterable[Subscription], catalog: CatalogNow, now_s: int) -> None:
    """Refuse subscriptions whose entitlements, from now on, cannot be given.

    Raises:
        Rejected: `not-found` without the feature; `bad-entitlement` if no balance of it can be kept.
    """
    for subscription in subscriptions:
        for placed in placed_items(subscription):
            card, end_s = placed.item.card, placed.span.end_s
            if card.entitlement_template is None or (end_s is not None and end_s <= now_s):
                continue
            feature = catalog.feature(card.feature_key, card.feature_id)
            if feature is None:
                raise Rejected("not-found", f"There is no feature {card.feature_key}.")
            if isinstance(card.entitlement_template, MeteredTemplate):
                slug = feature.meter_slug
                meter = None if slug is None else catalog.index.find(Meter, catalog.namespace, slug)
                check_can_be_counted(feature, meter)


def _by_id(subscriptions: Iterable[Subscription]) -> dict[str, FollowedEntitlement]:
    return {given.followed.id: given.followed for one in subscriptions for given in given_entitlements(one)}


def _begins(followed: FollowedEntitlement) -> str:
    return "" if followed.terms is None else followed.terms.active_from


def _command(followed: FollowedEntitlement, namespace: str, now_ms: int) -> Command:
    body = msgspec.to_builtins(followed)
    id = ulid.make(now_ms, f"{namespace}/{followed.id}/{followed.active_to}/{followed.terms is None}")
    return Command(id, "entitlement.follow", namespace, ACTOR, now_ms, body)


class _Run(NamedTuple):
    """Versions of an item that follow one another without a gap and give the same entitlement.

    Attributes:
        first_s: the begin of the first version before which there is a gap, also of one that gave another entitlement.
        period: the usage period as an ISO 8601 duration.
    """

    placed: tuple[PlacedItem, ...]
    first_s: int
    template: EntitlementTemplate
    period: str

    @property
    def end_s(self) -> int | None:
        return self.placed[-1].span.end_s


def _runs(subscription: Subscription) -> Iterator[_Run]:
    last: dict[tuple[str, str], _Run] = {}
    for placed in placed_items(subscription):
        card, start_s = placed.item.card, placed.span.start_s
        template, place = card.entitlement_template, (placed.phase.id, card.key)
        before = last.pop(place, None)
        if before is not None and before.end_s != start_s:
            yield before
            before = None
        if template is None:
            yield from () if before is None else (before,)
            continue
        usage_period = template.usage_period if isinstance(template, MeteredTemplate) else None
        period = usage_period or card.billing_cadence or subscription.billing_cadence
        run = _Run((placed,), start_s if before is None else before.first_s, template, period)
        if before is not None and (before.template, before.period) == (template, period):
            run = before._replace(placed=(*before.placed, placed))
        elif before is not None:
            yield before
        last[place] = run
    yield from last.values()


def _given(subscription: Subscription) -> Iterator[GivenEntitlement]:
    for run in _runs(subscription):
        from_s = calendar.floor_minute(run.placed[0].span.start_s)
        to_s = None if run.end_s is None else calendar.floor_minute(run.end_s)
        if from_s != to_s:
            terms = _terms(subscription, run, from_s)
            seed = f"{run.placed[0].item.id}/{msgspec.json.encode(terms).decode()}"
            followed = FollowedEntitlement(
                id=ulid.make(from_s * 1000, seed),
                active_to=None if to_s is None else zones.text_of(to_s),
                terms=terms,
            )
            yield GivenEntitlement(tuple(one.item.id for one in run.placed), followed)


def _terms(subscription: Subscription, run: _Run, from_s: int) -> ManagedTerms:
    card, template = run.placed[0].item.card, run.template
    terms = ManagedTerms(
        subscription_id=subscription.id,
        customer_id=subscription.customer_id,
        feature_id=card.feature_id or "",
        feature_key=card.feature_key or card.key,
        type="boolean",
        active_from=zones.text_of(from_s),
        metadata=template.metadata,
    )
    if isinstance(template, StaticTemplate):
        return msgspec.structs.replace(terms, type="static", config=template.config)
    if not isinstance(template, MeteredTemplate):
        return terms
    anchor_s, zone = calendar.floor_minute(subscription.billing_anchor_s), subscription.zone
    recurrence = Recurrence(calendar.parse(run.period), anchor_s, zone)
    measured_s = max(calendar.bounds(recurrence, from_s)[0], calendar.floor_minute(run.first_s))
    named = zone if zones.fixed_s(zone) is None else None
    amount = template.issue_after_reset
    return msgspec.structs.replace(
        terms,
        type="metered",
        usage_period=UsagePeriod(run.period, zones.text_of(anchor_s, zone), named),
        measure_usage_from=zones.text_of(measured_s),
        is_soft_limit=template.is_soft_limit or False,
        issue_after_reset=amount,
        issue_after_reset_priority=None if amount is None else template.issue_after_reset_priority or 1,
        preserve_overage_at_reset=template.preserve_overage_at_reset or False,
    )
