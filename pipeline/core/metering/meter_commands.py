"""Commands about meters: which of them may be made, changed or go.

Owns: deciding meter.*. Does not own: what a definition may say and how it may change (meter).
A meter's `meterId` is the revision at which its slug was made, so a slug that was deleted and created again is
another meter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.core.catalog.feature import Feature
from pipeline.core.definitions.body import check_written
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import (
    ENTITLEMENT,
    FEATURE_METER,
    METER,
    RULE,
    RULE_METER,
    STRIPE_METER,
    STRIPE_METER_METER,
)
from pipeline.core.metering.meter import (
    METER_ID,
    REVISION,
    WRITTEN,
    Meter,
    change,
    define,
    with_update,
)
from pipeline.core.values import timestamp
from pipeline.errors import Rejected

MAX_LIST = 1000


def apply(context: CommandContext) -> Decided:
    """meter.apply: new meters, or other definitions of those in force; of a list all or none.

    Raises:
        Rejected: `bad-meter`; `meter-conflict` for a change of what a meter counts.
    """
    return _apply(context, only_new=False)


def create(context: CommandContext) -> Decided:
    """meter.create: new meters, of a list all or none.

    Raises:
        Rejected: `bad-meter`; `meter-conflict` for a slug that is taken.
    """
    return _apply(context, only_new=True)


def update(context: CommandContext) -> Decided:
    """meter.update: another name, description, groupBy and metadata; an absent name stays, the others are cleared.

    Raises:
        Rejected: `bad-meter`, `not-found`; `meter-conflict` for another member, or if a feature, a rule or a mapping to
            Stripe needs a dimension that goes.
    """
    slug = context.body.get("slug")
    old = _stored(context, slug)
    check_written(METER, context.body, WRITTEN, _shown(context, old.slug))
    meter = with_update(old, context.body, context.index.revision + 1)
    stored = _stored_as(context, old, meter, 0)
    changes = [] if stored is old else [DefinitionChange(METER, meter.slug, stored)]
    return Decided(changes, {**stored.members, REVISION: _revision(context, slug, len(changes))})


def delete(context: CommandContext) -> Decided:
    """meter.delete: its usage is kept but can no longer be queried; a new meter of the slug is another meter.

    Raises:
        Rejected: `not-found`; `meter-conflict` while a feature in force has the meter, or its usage is sent to Stripe.
    """
    old = _stored(context, context.body.get("slug"))
    for key, _ in _users(context, old.slug):
        raise Rejected(
            "meter-conflict", f"meter {old.slug} is used by the feature {key}: archive the feature first"
        )
    for id, _ in _mappings(context, old.slug):
        raise Rejected(
            "meter-conflict",
            f"usage of meter {old.slug} is sent to Stripe by the mapping {id}: delete the mapping first",
        )
    return Decided([DefinitionChange(METER, old.slug, None)])


def _apply(context: CommandContext, only_new: bool) -> Decided:
    changes: list[DefinitionChange] = []
    now: list[Body] = []
    slugs: set[str] = set()
    sent = _meters(context.body)
    for number, one in enumerate(sent):
        following = context.index.revision + len(changes) + 1
        wanted = _define(context, one, following, name_it=len(sent) > 1)
        if wanted.slug in slugs:
            raise Rejected("meter-conflict", f"The list holds the meter {wanted.slug} twice.")
        slugs.add(wanted.slug)
        old = context.index.find(Meter, context.namespace, wanted.slug)
        if only_new and old is not None:
            raise Rejected("meter-conflict", f"A meter with the slug {wanted.slug} exists already.")
        meter = wanted if old is None else change(old, wanted, following)
        stored = _stored_as(context, old, meter, number)
        if stored is not old:
            changes.append(DefinitionChange(METER, meter.slug, stored))
        changed = len(changes) if stored is not old else 0
        now.append({**stored.members, REVISION: _revision(context, meter.slug, changed)})
    return Decided(changes, {"meters": now})


def _shown(context: CommandContext, slug: object) -> Body | None:
    """The meter in force with a slug, as answers show it."""
    stored = context.index.get(context.namespace, METER, slug) if isinstance(slug, str) else None
    if stored is None or stored.body is None:
        return None
    made = timestamp.text_of(stored.at_ms)  # answers fill in what older meters lack
    lacking: Body = {"id": str(stored.body[METER_ID]), "createdAt": made, "updatedAt": made}
    return {**lacking, **stored.body, REVISION: stored.revision}


def _revision(context: CommandContext, slug: object, changed: int) -> int:
    """The revision of a meter's definition. changed: its place among the changes, from 1; 0: it does not change."""
    stored = context.index.get(context.namespace, METER, str(slug))
    return stored.revision if stored is not None and not changed else context.index.revision + changed


def _stored_as(context: CommandContext, old: Meter | None, meter: Meter, number: int) -> Meter:
    """The meter as it is stored. Raises Rejected `meter-conflict` if something needs a dimension that goes."""
    now = context.now
    if old is None:
        return msgspec.structs.replace(meter, id=context.id(number), created_at=now, updated_at=now)
    if meter == old:
        return old
    if gone := old.group_by.keys() - meter.group_by.keys():
        _check_unused(context, old, gone)
    return msgspec.structs.replace(meter, updated_at=now).in_place_of(old)


def _check_unused(context: CommandContext, meter: Meter, gone: Iterable[str]) -> None:
    for key, columns in _users(context, meter.slug):
        if used := columns & set(gone):
            raise Rejected(
                "meter-conflict",
                f"meter group by key {min(used)} cannot be removed: the feature {key} needs it",
            )
    for feature in _archived(context, meter, set(gone)):
        if (id := _entitled(context, feature)) is not None:
            raise Rejected(
                "meter-conflict",
                f"meter group by key {min(set(feature.filters) & set(gone))} cannot be removed: the entitlement {id} "
                f"to the archived feature {feature.key} needs it",
            )
    for id, dimensions in _mappings(context, meter.slug):
        if used := dimensions & set(gone):
            raise Rejected(
                "meter-conflict",
                f"meter group by key {min(used)} cannot be removed: the mapping {id} sends it to Stripe",
            )
    for id, dimensions in _rules(context, meter):
        if used := dimensions & set(gone):
            raise Rejected(
                "meter-conflict",
                f"meter group by key {min(used)} cannot be removed: the notification rule {id} needs it",
            )


def _users(context: CommandContext, slug: str) -> Iterable[tuple[str, set[str]]]:
    """The key of each feature in force with the meter, and the group-by keys that it needs."""
    for feature in context.index.having(Feature, context.namespace, FEATURE_METER, slug):
        yield feature.key, feature.columns_used


def _archived(context: CommandContext, meter: Meter, gone: set[str]) -> Iterable[Feature]:
    """The archived features with the meter whose usage is found by a group-by key that goes."""
    for feature in context.index.all(Feature, context.namespace):
        if feature.archived_at is None or feature.meter_slug != meter.slug or not gone & set(feature.filters):
            continue
        if feature.meter_id in (None, meter.meter_id):
            yield feature


def _entitled(context: CommandContext, feature: Feature) -> str | None:
    """The id of an entitlement to a feature that has not ended."""
    for id in context.index.names(context.namespace, ENTITLEMENT):
        body = context.index.body(context.namespace, ENTITLEMENT, id) or {}
        ends = body.get("activeTo")
        is_over = "deletedAt" in body or (isinstance(ends, str) and timestamp.ms_of(ends) <= context.at_ms)
        if body.get("featureId") == feature.id and not is_over:
            return id
    return None


def _mappings(context: CommandContext, slug: str) -> Iterable[tuple[str, set[str]]]:
    """The id of each mapping to Stripe in force with the meter, and the group-by keys that it sends."""
    for id in context.index.many(context.namespace, STRIPE_METER_METER, slug):
        mapping = context.index.body(context.namespace, STRIPE_METER, id) or {}
        dimensions = mapping.get("dimensions")
        if "deletedAt" not in mapping:
            yield id, set(dimensions) if isinstance(dimensions, dict) else set()


def _rules(context: CommandContext, meter: Meter) -> Iterable[tuple[str, set[str]]]:
    """The id of each rule about the volume of the meter, and the group-by keys whose usage it is about."""
    for id in context.index.many(context.namespace, RULE_METER, meter.slug):
        rule = context.index.body(context.namespace, RULE, id) or {}
        dimensions = rule.get("groupBy")
        if rule.get(METER_ID, meter.meter_id) == meter.meter_id:  # not about an earlier meter of the slug
            yield id, set(dimensions) if isinstance(dimensions, dict) else set()


def _define(context: CommandContext, body: Body, meter_id: int, name_it: bool) -> Meter:
    """As `define`; in a list the refusal has to name the meter."""
    slug = body.get("slug")
    try:
        check_written(METER, body, WRITTEN, _shown(context, slug))
        sent = {member: value for member, value in body.items() if member not in WRITTEN}
        return define(sent, meter_id, context.namespace)
    except Rejected as refusal:
        if not name_it:
            raise
        raise Rejected(refusal.reason, f"meter {str(slug)[:64]}: {refusal.detail}") from None


def _meters(body: Mapping[str, object]) -> list[Body]:
    meters = body.get("meters", [body])
    if not isinstance(meters, list) or not all(isinstance(meter, dict) for meter in meters):
        raise Rejected("bad-meter", "`meters` is not a list of meter definitions.")
    if len(meters) > MAX_LIST:
        raise Rejected("bad-meter", f"`meters` must be a list of at most {MAX_LIST} meter definitions.")
    return meters


def _stored(context: CommandContext, slug: object) -> Meter:
    meter = context.index.find(Meter, context.namespace, slug) if isinstance(slug, str) else None
    if meter is None:
        raise Rejected("not-found", f"There is no meter with the slug {str(slug)[:64]}.")
    return meter
