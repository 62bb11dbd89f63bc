"""The commands about entitlements: to give one to a customer, to replace it, to end it, to reset it.

Owns: which entitlements may be given, deciding entitlement.*. Does not own: what an entitlement is (entitlement), which
one a name means (entitlement_lookup), grants (grant_commands), balances (balance).

One entitlement of a customer and feature key is in force at a time. Instants are truncated to the minute.
Source: OpenMeter, openmeter/entitlement/metered/reset.go and connector.go at commit 7e57a394; the grace period is ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import asdict

from pipeline.core.catalog.feature import Feature
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.body import BodyReader, Minute
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import ENTITLEMENT, FEATURE_KEY, GRANT
from pipeline.core.metering.meter import Meter
from pipeline.core.quota import entitlement_lookup, grant_commands
from pipeline.core.quota.entitlement import (
    METERED,
    STATIC,
    TYPES,
    Entitlement,
    EntitlementReset,
    MeteredEntitlement,
    StaticEntitlement,
    UsagePeriod,
    grace_s,
)
from pipeline.core.quota.entitlement_json import entitlement_json
from pipeline.core.quota.managed_entitlement import check_can_be_counted, check_free_to_change, issued_grant
from pipeline.core.values import calendar, json_value, number, timestamp
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import Recurrence
from pipeline.errors import Rejected

MAX_CONFIG = 65_536
MAX_GRANTS = 100
MAX_RESETS = 1000
MAX_PERIODS = 10_000  # that lie before an entitlement: a balance counts each of them when it begins
MAX_PRIORITY = 255

_HOLDER = ("customerId", "subject")
_ANY = (
    "type",
    *_HOLDER,
    "featureKey",
    "featureId",
    "activeFrom",
    "activeTo",
    "metadata",
)
_OF_TYPE: dict[str, tuple[str, ...]] = {
    "boolean": (),
    "static": ("config",),
    "metered": (
        "usagePeriod", "measureUsageFrom", "isSoftLimit", "isUnlimited", "issueAfterReset", "issueAfterResetPriority",
        "issue", "preserveOverageAtReset", "gracePeriod", "grants",
    ),
}  # fmt: skip
_WRITTEN = (
    "id", "createdAt", "updatedAt", "deletedAt", "annotations", "subjectKey", "customerKey", "currentUsagePeriod",
    "lastReset", "subscriptionId",
)  # fmt: skip


def create(context: CommandContext) -> Decided:
    """entitlement.create. 409 where one of this customer and feature key would be in force at the same time."""
    return _create(context, context.body, replaces=None)


def override(context: CommandContext) -> Decided:
    """entitlement.override {id, customerId?, entitlement: as for create}: the one in force ends as the new begins."""
    sent = BodyReader(ENTITLEMENT, context.body, ("id", "customerId", "subject", "entitlement"))
    old = _find(context, sent)
    check_free_to_change(old)
    if not old.in_force(context.at_ms // 1000):
        sent.refuse("only an entitlement that is active can be overridden")
    new = {"customerId": old.customer_id, **(sent.nested("entitlement") or {})}
    return _create(context, new, replaces=old)


def delete(context: CommandContext) -> Decided:
    """entitlement.delete {id, customerId?}: it ends now, and stays readable by its id."""
    old = _find(context, BodyReader(ENTITLEMENT, context.body, ("id", "customerId", "subject")))
    check_free_to_change(old)
    deleted = old.changed(deleted_at=context.now, updated_at=context.now)
    return Decided([DefinitionChange(ENTITLEMENT, old.id, deleted)], deleted.members)


def reset(context: CommandContext) -> Decided:
    """entitlement.reset {id, customerId?, effectiveAt?, retainAnchor?, preserveOverage?}: a new usage period begins."""
    members = ("id", "customerId", "subject", "effectiveAt", "retainAnchor", "preserveOverage")
    sent = BodyReader(ENTITLEMENT, context.body, members)
    old, now_s = _find(context, sent), calendar.floor_minute(context.at_ms // 1000)
    if not isinstance(old, MeteredEntitlement):
        sent.refuse("only metered entitlements can be reset")
    wanted_ms = sent.instant_ms("effectiveAt")
    if wanted_ms is not None and wanted_ms > context.at_ms:
        sent.refuse("reset time cannot be in the future")
    at_s, offset = sent.minute("effectiveAt") or Minute(now_s, old.zone)
    resets = old.schedule.resets
    if at_s < calendar.usage_period(old.schedule, now_s)[0]:
        sent.refuse("reset time must not be before the current usage period")
    if at_s <= (resets[-1].at_s if resets else old.schedule.start_s):
        sent.refuse("reset time must be after the last reset")
    if not old.in_force(at_s):
        sent.refuse("entitlement is not active at the reset time")
    if len(resets) >= MAX_RESETS:
        sent.refuse(f"entitlement can be reset at most {MAX_RESETS} times")
    preserve = sent.flag("preserveOverage")
    done = EntitlementReset(
        effective_at=zones.text_of(at_s),
        anchor=old.anchor if sent.flag("retainAnchor") else zones.text_of(at_s, offset),
        preserve_overage=old.preserve_overage_at_reset if preserve is None else preserve,
    )
    body = old.changed(resets=[*old.resets, done], updated_at=context.now)
    return Decided([DefinitionChange(ENTITLEMENT, old.id, body)], body.members)


def _find(context: CommandContext, sent: BodyReader) -> Entitlement:
    customer = entitlement_lookup.holder_id(context.index, context.namespace, sent)
    return entitlement_lookup.find(
        context.index, context.namespace, sent.required("id", 256), context.at_ms // 1000, customer
    )


def _holder(context: CommandContext, sent_body: Mapping[str, object]) -> str | None:
    """The customer, resolved before anything else, so that an unknown one reveals no other error."""
    named = {name: sent_body[name] for name in _HOLDER if name in sent_body}
    return entitlement_lookup.holder_id(
        context.index, context.namespace, BodyReader(ENTITLEMENT, named, _HOLDER)
    )


def _create(
    context: CommandContext, sent_body: Mapping[str, object], replaces: Entitlement | None
) -> Decided:
    holder = _holder(context, sent_body)
    kind = sent_body.get("type")
    if kind not in TYPES:
        raise Rejected(f"bad-{ENTITLEMENT}", f"entitlement type must be one of {', '.join(TYPES)}")
    members, stored = (*_ANY, *_OF_TYPE[str(kind)]), _shown(context, replaces)
    sent = BodyReader(ENTITLEMENT, sent_body, members, _WRITTEN, stored)
    feature = _feature(context, sent)
    starts, active_to_s = _active(sent, calendar.floor_minute(context.at_ms // 1000))
    new = Entitlement(
        id=context.id(),
        type=str(kind),
        customer_id=holder or sent.required("customerId", 256),
        feature_id=feature.id,
        feature_key=feature.key,
        active_from=zones.text_of(starts.at_s),
        active_to=None if active_to_s is None else zones.text_of(active_to_s),
        metadata=sent.metadata(),
    )
    grants: list[DefinitionChange] = []
    if kind == STATIC:
        new = StaticEntitlement(**asdict(new), config=_config(sent))
    elif kind == METERED:
        _check_meter(context, feature)
        new = metered = _metered(context, sent, new, starts)
        grants = _grants(context, sent, metered)
    new = new.changed(created_at=context.now, updated_at=context.now)
    changes = _ended(context, sent, replaces, new)
    _check_free(context, new, replaces)
    return Decided([*changes, DefinitionChange(ENTITLEMENT, new.id, new), *grants], new.members)


def _shown(context: CommandContext, replaces: Entitlement | None) -> Mapping[str, object] | None:
    """The entitlement that an override replaces, as answers show it."""
    if replaces is None:
        return None
    customer = context.index.find(Customer, context.namespace, replaces.customer_id)
    subject = context.body.get("subject")
    if subject is not None:
        subject = entitlement_lookup.subject_key(context.index, context.namespace, str(subject))
    return entitlement_json(replaces, context.at_ms // 1000, customer, subject)


def _active(sent: BodyReader, now_s: int) -> tuple[Minute, int | None]:
    """activeFrom and activeTo."""
    starts, active_to_s = sent.minute("activeFrom") or Minute(now_s, zones.UTC), sent.minute_s("activeTo")
    if starts.at_s < now_s:
        sent.refuse("activeFrom must not be in the past")
    if active_to_s is not None and active_to_s <= starts.at_s:
        sent.refuse("activeTo must be after activeFrom")
    return starts, active_to_s


def _ended(
    context: CommandContext, sent: BodyReader, replaces: Entitlement | None, new: Entitlement
) -> list[DefinitionChange]:
    """The entitlement that the new one supersedes."""
    if replaces is None:
        return []
    if (new.feature_key, new.customer_id) != (replaces.feature_key, replaces.customer_id):
        sent.refuse("an entitlement can only be overridden by one of the same customer and feature")
    ended = replaces.changed(active_to=new.active_from, updated_at=context.now)
    return [DefinitionChange(ENTITLEMENT, replaces.id, ended)]


def _feature(context: CommandContext, sent: BodyReader) -> Feature:
    key, id = sent.text("featureKey", 256), sent.text("featureId", 256)
    if key is None and id is None:
        sent.refuse("either featureKey or featureId is required")
    wanted = context.index.one(context.namespace, FEATURE_KEY, key) if key is not None else id
    feature = context.index.find(Feature, context.namespace, wanted) if wanted is not None else None
    if feature is None or (id is not None and feature.id != id):
        raise Rejected("not-found", f"feature not found: {key or id}")
    if feature.archived_at is not None:
        sent.refuse(f"feature {feature.key} is archived")
    return feature


def _check_free(context: CommandContext, new: Entitlement, replaces: Entitlement | None) -> None:
    start_s, end_s = new.span
    for other in entitlement_lookup.of_customer(context.index, context.namespace, new.customer_id):
        if other.feature_key != new.feature_key:
            continue
        other_start_s, other_end_s = other.span
        if replaces is not None and other.id == replaces.id:
            other_end_s = min(other_end_s, start_s)
        if max(start_s, other_start_s) < min(end_s, other_end_s):
            raise Rejected(
                "entitlement-conflict",
                f"entitlement with id {other.id} already exists for feature {new.feature_key} "
                f"and customer {new.customer_id}",
            )


def _config(sent: BodyReader) -> str:
    config = sent.text("config", MAX_CONFIG, multiline=True)
    if config is None:
        sent.refuse("config is required for static entitlements")
    try:
        json_value.read_decimals(config)  # only checked: answers hold the text as it was sent
    except Rejected as refusal:
        sent.refuse(f"config must be valid JSON: {refusal.detail}")
    return config


def _check_meter(context: CommandContext, feature: Feature) -> None:
    slug = feature.meter_slug
    meter = context.index.find(Meter, context.namespace, slug) if slug is not None else None
    check_can_be_counted(feature, meter)


def _metered(
    context: CommandContext, sent: BodyReader, common: Entitlement, starts: Minute
) -> MeteredEntitlement:
    zone = entitlement_lookup.zone_name(context.index, context.namespace, common.customer_id)
    recurrence, usage_period = _usage_period(sent, starts, zone)
    amount, priority = _issue(sent)
    soft, unlimited, grace = sent.flag("isSoftLimit"), sent.flag("isUnlimited"), _grace(sent)
    if grace is not None and (soft or unlimited):
        sent.refuse("entitlement gracePeriod has no effect with isSoftLimit or isUnlimited: leave it out")
    return MeteredEntitlement(
        **asdict(common),
        usage_period=usage_period,
        measure_usage_from=zones.text_of(_measured_from_s(sent, recurrence, starts.at_s)),
        is_soft_limit=soft or False,
        is_unlimited=unlimited or False,
        issue_after_reset=None if amount is None else number.text(amount),
        issue_after_reset_priority=None if amount is None else priority,
        preserve_overage_at_reset=sent.flag("preserveOverageAtReset") or False,
        grace_period=grace,
        resets=[],
    )


def _usage_period(sent: BodyReader, starts: Minute, zone: str | None) -> tuple[Recurrence, UsagePeriod]:
    """The usage period that was sent. zone: the customer's."""
    nested = sent.nested("usagePeriod")
    if nested is None:
        sent.refuse("usagePeriod is required for metered entitlements")
    members = ("interval", "anchor", "timeZone", "intervalISO")
    parts = BodyReader(ENTITLEMENT, nested, members, inside="usagePeriod")
    interval = parts.recurring()
    if interval is None:
        sent.refuse("usagePeriod must have an interval")
    zone = parts.zone("timeZone") or zone
    anchor = parts.minute("anchor") or Minute(starts.at_s, zone or starts.zone)
    usage_period = UsagePeriod(str(nested["interval"]), zones.text_of(*anchor), zone)
    return Recurrence(interval, anchor.at_s, zone or anchor.zone), usage_period


def _measured_from_s(sent: BodyReader, recurrence: Recurrence, starts_at_s: int) -> int:
    wanted = sent.text("measureUsageFrom", 64)
    if wanted is None or wanted == "NOW":
        return starts_at_s
    if wanted == "CURRENT_PERIOD_START":
        from_s: int | None = calendar.bounds(recurrence, starts_at_s)[0]
    else:
        from_s = sent.minute_s("measureUsageFrom")
    if from_s is None or from_s > starts_at_s:
        sent.refuse("measureUsageFrom must not be after the entitlement becomes active")
    if from_s < 0:
        sent.refuse("measureUsageFrom must not be before 1970")
    if (starts_at_s - from_s) // calendar.mean_s(recurrence.interval) > MAX_PERIODS:
        sent.refuse(f"measureUsageFrom must be at most {MAX_PERIODS} usage periods back")
    return from_s


def _issue(sent: BodyReader) -> tuple[int | None, int]:
    amount, priority = (
        sent.at_least_zero("issueAfterReset"),
        sent.integer("issueAfterResetPriority", 1, MAX_PRIORITY),
    )
    nested = sent.nested("issue")
    if nested is not None:
        if amount is not None:
            sent.refuse("only one of issue and issueAfterReset can be set")
        parts = BodyReader(ENTITLEMENT, nested, ("amount", "priority"), inside="issue")
        amount, priority = parts.at_least_zero("amount"), parts.integer("priority", 1, MAX_PRIORITY)
    if amount is None and priority is not None:
        sent.refuse("issueAfterReset is required when issueAfterResetPriority is set")
    return amount, priority or 1


def _grace(sent: BodyReader) -> str | None:
    text = sent.text("gracePeriod", 64)
    if text is None:
        return None
    try:
        grace_s(text)
    except Rejected as refusal:
        sent.refuse(f"entitlement gracePeriod is not valid: {refusal.detail}")
    return text


def _grants(
    context: CommandContext, sent: BodyReader, entitlement: MeteredEntitlement
) -> list[DefinitionChange]:
    """The grants that come with the entitlement: what is issued after each reset, and those sent along."""
    changes, schedule = issued_grant(context, entitlement), entitlement.schedule
    from_s = schedule.start_s
    first_s = max(from_s, entitlement.span[0])
    for nth, sent_grant in enumerate(sent.objects("grants", 0, MAX_GRANTS) or [], 2):
        reader = BodyReader(GRANT, sent_grant, grant_commands.MEMBERS, grant_commands.WRITTEN)
        grant = grant_commands.define(context, reader, entitlement, context.id(nth), first_s)
        if timestamp.minute_s(grant.effective_at) < calendar.usage_period(schedule, first_s)[0]:
            sent.refuse("grant effective date is before the current usage period")
        changes.append(DefinitionChange(GRANT, grant.id, grant))
    return changes
