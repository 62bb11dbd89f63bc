"""The commands about notification rules.

Owns: which rules may be made, deciding rule.*. Does not own: what a rule is (rule), when something fires (threshold),
endpoints (endpoint).

Source of the limits: OpenMeter, openmeter/notification/rule.go at commit 7e57a394.
"""

from __future__ import annotations

from msgspec.structs import asdict

from pipeline.core.catalog.feature import Feature
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import FEATURE_KEY, RULE
from pipeline.core.metering.meter import Meter
from pipeline.core.notifications.endpoint import Endpoint
from pipeline.core.notifications.rule import (
    BALANCE,
    CREATED,
    CREDIT,
    EXPIRING,
    OVERDUE,
    RESET,
    UPDATED,
    VOLUME,
    BalanceRule,
    CreditRule,
    ExpiringRule,
    InvoiceRule,
    ResetRule,
    Rule,
    RuleFeature,
    RuleThreshold,
    VolumeRule,
    VolumeSize,
)
from pipeline.core.notifications.threshold import ALIASES, TYPES, Rearm, Threshold
from pipeline.core.quota import entitlement_lookup
from pipeline.core.values import number
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected

MAX_CHANNELS = 5
MAX_THRESHOLDS = 10
MAX_LISTED = 100
VOLUMES = ("SUM", "COUNT")  # what adds up over minutes
WINDOW_SIZES: tuple[VolumeSize, ...] = ("MINUTE", "HOUR", "DAY")
REARM: tuple[Rearm, ...] = ("period", "resolved")
_ANY = ("type", "name", "channels", "disabled", "metadata")
_OF_TYPE: dict[str, tuple[str, ...]] = {
    BALANCE: ("thresholds", "features", "rearm"),
    RESET: ("features",),
    EXPIRING: ("before", "features"),
    VOLUME: ("meterSlug", "windowSize", "limit", "customers", "groupBy"),
    CREDIT: ("currency", "threshold", "customers"),
    CREATED: (),
    UPDATED: (),
    OVERDUE: (),
}
_WRITTEN = ("id", "createdAt", "updatedAt", "deletedAt", "annotations")


def create(context: CommandContext) -> Decided:
    """rule.create: a new rule."""
    id = context.id()
    rule = _read(context, id).changed(created_at=context.now, updated_at=context.now)
    return Decided([DefinitionChange(RULE, id, rule)], rule.members)


def update(context: CommandContext) -> Decided:
    """rule.update {id, as for create}: replaces all of it; the type stays. The same again changes nothing."""
    old = context.existing(Rule)
    new = _read(context, old.id, old)
    if new.type != old.type:
        raise Rejected(f"bad-{RULE}", "the type of a rule cannot be changed: create a new rule instead")
    _check_meter(context, old, new)
    rule = new.changed(created_at=old.created_at, updated_at=old.updated_at)
    if rule == old:
        return Decided([], old.members)
    rule = rule.in_place_of(old).changed(updated_at=context.now)
    return Decided([DefinitionChange(RULE, old.id, rule)], rule.members)


def _check_meter(context: CommandContext, old: Rule, new: Rule) -> None:
    """A rule stays with its meter: one that was made later with the same slug is another meter."""
    if not isinstance(old, VolumeRule) or not isinstance(new, VolumeRule) or old.meter_slug != new.meter_slug:
        return
    stored = context.index.get(context.namespace, RULE, old.id)
    if stored is None or new.meter_id is None:
        return
    made_again = new.meter_id > stored.revision if old.meter_id is None else new.meter_id != old.meter_id
    if made_again:
        raise Rejected(
            f"bad-{RULE}",
            f"the meter {new.meter_slug} of this rule was deleted and made again: create a new rule instead",
        )


def delete(context: CommandContext) -> Decided:
    """rule.delete {id}: it stops firing, and stays readable by its id."""
    deleted = context.existing(Rule).changed(deleted_at=context.now, updated_at=context.now)
    return Decided([DefinitionChange(RULE, deleted.id, deleted)], deleted.members)


def _read(context: CommandContext, id: str, old: Rule | None = None) -> Rule:
    """The rule that was sent, without its dates. old: the rule that it replaces."""
    kind = context.body.get("type")
    if not isinstance(kind, str) or kind not in _OF_TYPE:
        raise Rejected(f"bad-{RULE}", f"rule type must be one of {', '.join(_OF_TYPE)}")
    stored = None if old is None else old.members
    sent = BodyReader(RULE, context.body, (*_ANY, *_OF_TYPE[kind]), _WRITTEN, stored)
    name = sent.required("name", 256)
    channels = _channels(context, sent)
    disabled, metadata = sent.flag("disabled") or False, sent.metadata()
    common = Rule(id=id, type=kind, name=name, channels=channels, disabled=disabled, metadata=metadata)
    if kind == VOLUME:
        return _volume(context, sent, common)
    if kind == CREDIT:
        return _credit(context, sent, common)
    if kind in (CREATED, UPDATED, OVERDUE):
        return InvoiceRule(**asdict(common))
    features = _features(context, sent)
    if kind == RESET:
        return ResetRule(**asdict(common), features=features)
    if kind == EXPIRING:
        if sent.interval("before") is None:
            sent.refuse("rule before is required")
        before = sent.required("before", 64)
        return ExpiringRule(**asdict(common), features=features, before=before)
    thresholds = _thresholds(sent)
    rearm = sent.one_of("rearm", REARM) or REARM[0]
    return BalanceRule(**asdict(common), features=features, thresholds=thresholds, rearm=rearm)


def _channels(context: CommandContext, sent: BodyReader) -> list[str]:
    channels = sent.texts("channels", MAX_CHANNELS, 64)
    if not channels:
        sent.refuse(f"rule channels must have 1 to {MAX_CHANNELS} members")
    for id in channels:
        endpoint = context.index.find(Endpoint, context.namespace, id)
        if endpoint is None or endpoint.is_deleted:
            sent.refuse(f"there is no channel with the id {id}")
    return channels


def _thresholds(sent: BodyReader) -> list[RuleThreshold]:
    nested = sent.objects("thresholds", 1, MAX_THRESHOLDS)
    if nested is None:
        sent.refuse("rule thresholds are required")
    thresholds: list[RuleThreshold] = []
    ids = set()
    for one in nested:
        parts = BodyReader(RULE, one, ("type", "value"), inside="threshold")
        kind, value = parts.one_of("type", (*TYPES, *ALIASES)), parts.at_least_zero("value")
        if kind is None or value is None:
            sent.refuse("each of a rule's thresholds must have a type and a value")
        ids.add(Threshold(kind, value).id)
        thresholds.append(RuleThreshold(kind, number.text(value)))
    if len(ids) < len(thresholds):
        sent.refuse("rule thresholds must not hold the same threshold twice")
    return thresholds


def _features(context: CommandContext, sent: BodyReader) -> list[RuleFeature] | None:
    wanted = sent.texts("features", MAX_LISTED, 256)
    if not wanted:
        return None
    features: list[RuleFeature] = []
    for one in wanted:
        id = context.index.one(context.namespace, FEATURE_KEY, one) or one
        feature = context.index.find(Feature, context.namespace, id)
        if feature is None:
            sent.refuse(f"there is no feature with the id or key {one}")
        features.append(RuleFeature(feature.id, feature.key))
    return features


def _volume(context: CommandContext, sent: BodyReader, common: Rule) -> VolumeRule:
    slug, limit = sent.required("meterSlug", 64), sent.at_least_zero("limit")
    meter = context.index.find(Meter, context.namespace, slug)
    if meter is None:
        sent.refuse(f"meter not found: {slug}")
    if meter.aggregation not in VOLUMES:
        sent.refuse(f"rule meterSlug must be a meter that adds up: {' or '.join(VOLUMES)}")
    if limit is None:
        sent.refuse("rule limit is required")
    size = sent.one_of("windowSize", WINDOW_SIZES)
    if size is None:
        sent.refuse("rule windowSize is required")
    group_by = sent.strings("groupBy", len(meter.group_by) or 1, 64, 1024)
    if unknown := [name for name in group_by or () if name not in meter.group_by]:
        sent.refuse(f"meter {slug} has no group-by key {ascii(unknown[0])[:64]}")
    return VolumeRule(
        **asdict(common),
        meter_slug=slug,
        window_size=size,
        limit=number.text(limit),
        customers=_customers(context, sent),
        group_by=group_by or None,
        meter_id=meter.meter_id,
    )


def _credit(context: CommandContext, sent: BodyReader, common: Rule) -> CreditRule:
    currency, threshold = sent.required("currency", 3), sent.at_least_zero("threshold")
    digits_of(currency)
    if threshold is None:
        sent.refuse("rule threshold is required")
    return CreditRule(
        **asdict(common),
        currency=currency,
        threshold=number.text(threshold),
        customers=_customers(context, sent),
    )


def _customers(context: CommandContext, sent: BodyReader) -> list[str] | None:
    """The ids of the customers that are named by id or key; None: all."""
    found = [
        entitlement_lookup.customer_id(context.index, context.namespace, one)
        for one in sent.texts("customers", MAX_LISTED, 256) or ()
    ]
    return found or None
