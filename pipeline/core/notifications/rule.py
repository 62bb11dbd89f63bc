"""Notification rules: what is to be told, of whom, and to which endpoints.

Owns: the rules of a definition, deciding rule.*, what a rule asks in the form that threshold takes. Does not own: when
something is told (threshold), endpoints (endpoint). Types and limits: OpenMeter's; two types are ours.

    {id, type, name, channels: [endpoint id], disabled, metadata?, createdAt, updatedAt, deletedAt?, and by type:
     entitlements.balance.threshold: thresholds [{type, value}], features? [{id, key}], rearm
     entitlements.reset:             features?
     entitlements.grant.expiring:    before, features?
     meter.volume.threshold:         meterSlug, windowSize, limit, customers? [id], groupBy? {name: value}}
Amounts are plain decimal text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import ENDPOINT, FEATURE, FEATURE_KEY, METER, RULE
from pipeline.core.notifications.threshold import ALIASES, TYPES, Threshold
from pipeline.core.quota import entitlement_lookup
from pipeline.core.values import calendar, number
from pipeline.core.values.calendar import Interval
from pipeline.errors import Rejected

BALANCE, RESET = "entitlements.balance.threshold", "entitlements.reset"
EXPIRING, VOLUME = "entitlements.grant.expiring", "meter.volume.threshold"
MAX_CHANNELS = 5
MAX_THRESHOLDS = 10
MAX_LISTED = 100
VOLUMES = ("SUM", "COUNT")  # what adds up over minutes
WINDOW_SIZES = ("MINUTE", "HOUR", "DAY")
REARM = ("period", "resolved")
_ANY = ("type", "name", "channels", "disabled", "metadata")
_OF_TYPE: dict[str, tuple[str, ...]] = {
    BALANCE: ("thresholds", "features", "rearm"),
    RESET: ("features",),
    EXPIRING: ("before", "features"),
    VOLUME: ("meterSlug", "windowSize", "limit", "customers", "groupBy"),
}
INVOICE_TYPES = (
    "invoice.created",
    "invoice.updated",
)  # OpenMeter's; there is no invoice yet that could fire them
_WRITTEN = ("id", "createdAt", "updatedAt", "deletedAt", "annotations")


def create(context: CommandContext) -> Decided:
    """rule.create."""
    id = context.id()
    body = {"id": id, **_read(context), "createdAt": context.now, "updatedAt": context.now}
    return Decided([DefinitionChange(RULE, id, body)], body)


def update(context: CommandContext) -> Decided:
    """rule.update {id, as for create}: replaces all of it; the type stays. The same again changes nothing."""
    old = context.living(RULE)
    new = _read(context, old)
    if new["type"] != old["type"]:
        raise Rejected(f"bad-{RULE}", "the type of a rule cannot be changed: create a new rule instead")
    body = {"id": old["id"], **new, "createdAt": old["createdAt"], "updatedAt": old["updatedAt"]}
    if body == old:
        return Decided([], old)
    body["updatedAt"] = context.now
    return Decided([DefinitionChange(RULE, str(old["id"]), body)], body)


def delete(context: CommandContext) -> Decided:
    """rule.delete {id}: it tells nothing more, and stays readable by its id."""
    old = context.living(RULE)
    gone = {**old, "deletedAt": context.now, "updatedAt": context.now}
    return Decided([DefinitionChange(RULE, str(old["id"]), gone)], gone)


def is_on(body: Mapping[str, object]) -> bool:
    """Whether the rule tells anything at all."""
    return not body.get("disabled") and "deletedAt" not in body


def thresholds_of(body: Mapping[str, object]) -> list[Threshold]:
    """The thresholds of a rule of type BALANCE."""
    found = cast(list[Mapping[str, Any]], body.get("thresholds") or [])
    return [Threshold(str(one["type"]), number.exact(str(one["value"]))) for one in found]


def watches(body: Mapping[str, object], feature_id: str, feature_key: str) -> bool:
    """Whether a rule about entitlements is about those of this feature: no list means all."""
    features = cast(list[Mapping[str, Any]] | None, body.get("features"))
    return features is None or any(feature_id == one["id"] or feature_key == one["key"] for one in features)


def _read(context: CommandContext, old: Body | None = None) -> Body:
    """The definition that was sent. old: the rule that it replaces."""
    sent_body = context.body
    kind = sent_body.get("type")
    if kind in INVOICE_TYPES:
        raise Rejected(f"bad-{RULE}", f"rule type {kind} is not available: this version has no invoices")
    if not isinstance(kind, str) or kind not in _OF_TYPE:
        raise Rejected(f"bad-{RULE}", f"rule type must be one of {', '.join(_OF_TYPE)}")
    sent = BodyReader(RULE, sent_body, (*_ANY, *_OF_TYPE[kind]), _WRITTEN, old)
    found: Body = {
        "type": kind,
        "name": sent.required("name", 256),
        "channels": _channels(context, sent),
        "disabled": sent.flag("disabled") or False,
        "metadata": sent.metadata(),
    }
    if "features" in _OF_TYPE[kind]:
        found["features"] = _features(context, sent)
    if kind == BALANCE:
        found |= {"thresholds": _thresholds(sent), "rearm": sent.one_of("rearm", REARM) or REARM[0]}
    elif kind == EXPIRING:
        if sent.interval("before") is None:
            sent.refuse("rule before is required")
        found["before"] = sent.text("before", 64)
    elif kind == VOLUME:
        found |= _volume(context, sent)
    return {name: value for name, value in found.items() if value is not None}


def before(body: Mapping[str, object]) -> Interval:
    """How long before the end of a grant a rule of type EXPIRING fires."""
    return calendar.parse(body["before"])


def _channels(context: CommandContext, sent: BodyReader) -> list[str]:
    channels = sent.texts("channels", MAX_CHANNELS, 64)
    if not channels:
        sent.refuse(f"rule channels must have 1 to {MAX_CHANNELS} members")
    for id in channels:
        body = context.index.body(context.namespace, ENDPOINT, id)
        if body is None or "deletedAt" in body:
            sent.refuse(f"there is no channel with the id {id}")
    return channels


def _thresholds(sent: BodyReader) -> list[Body]:
    nested = sent.objects("thresholds", 1, MAX_THRESHOLDS)
    if nested is None:
        sent.refuse("rule thresholds are required")
    found: list[Body] = []
    ids = set()
    for one in nested:
        parts = BodyReader(RULE, one, ("type", "value"), inside="threshold")
        kind, value = parts.one_of("type", (*TYPES, *ALIASES)), parts.at_least_zero("value")
        if kind is None or value is None:
            sent.refuse("each of a rule's thresholds must have a type and a value")
        ids.add(Threshold(kind, value).id)
        found.append({"type": kind, "value": number.text(value)})
    if len(ids) < len(found):
        sent.refuse("rule thresholds must not hold the same threshold twice")
    return found


def _features(context: CommandContext, sent: BodyReader) -> list[Body] | None:
    wanted = sent.texts("features", MAX_LISTED, 256)
    if not wanted:
        return None
    found: list[Body] = []
    for one in wanted:
        id = context.index.one(context.namespace, FEATURE_KEY, one) or one
        body = context.index.body(context.namespace, FEATURE, id)
        if body is None:
            sent.refuse(f"there is no feature with the id or key {one}")
        found.append({"id": body["id"], "key": body["key"]})
    return found


def _volume(context: CommandContext, sent: BodyReader) -> Body:
    slug, limit = sent.required("meterSlug", 64), sent.at_least_zero("limit")
    meter = context.index.body(context.namespace, METER, slug)
    if meter is None:
        sent.refuse(f"meter not found: {slug}")
    if meter["aggregation"] not in VOLUMES:
        sent.refuse(f"rule meterSlug must be a meter that adds up: {' or '.join(VOLUMES)}")
    if limit is None:
        sent.refuse("rule limit is required")
    size = sent.one_of("windowSize", WINDOW_SIZES)
    if size is None:
        sent.refuse("rule windowSize is required")
    columns = cast(Mapping[str, str], meter.get("groupBy") or {})
    group_by = sent.strings("groupBy", len(columns) or 1, 64, 1024)
    if unknown := [name for name in group_by or () if name not in columns]:
        sent.refuse(f"meter {slug} has no group-by key {ascii(unknown[0])[:64]}")
    customers = sent.texts("customers", MAX_LISTED, 256)
    return {
        "meterSlug": slug,
        "windowSize": size,
        "limit": number.text(limit),
        "customers": [
            entitlement_lookup.customer_id(context.index, context.namespace, one) for one in customers or []
        ]
        or None,
        "groupBy": group_by or None,
    }
