"""Entitlements: what a customer may use of a feature, and the commands that give, change and take it.

Owns: the rules of a definition, deciding entitlement.*, the terms that follow. Does not own: grants (grant), how one
is found and read (entitlement_lookup), balances (balance). Rules: OpenMeter's; the grace period is ours.

One entitlement of a customer and feature key is in force at a time. Instants are truncated to the minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from pipeline.core.definitions.body import BodyReader, Minute, seconds_of
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import CUSTOMER, ENTITLEMENT, FEATURE, FEATURE_KEY, GRANT, METER, SUBJECT
from pipeline.core.quota import entitlement_lookup
from pipeline.core.quota import grant as grant_
from pipeline.core.quota.entitlement_json import entitlement_json
from pipeline.core.quota.grant import burn_order, grant_of
from pipeline.core.quota.terms import COUNTED, Counted, Terms
from pipeline.core.values import calendar, json_value, number
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import DAY_S, MINUTE_S, Recurrence
from pipeline.errors import Rejected

MAX_CONFIG = 65_536
MAX_GRANTS = 100
MAX_RESETS = 1000
MAX_PERIODS = 10_000  # that lie before an entitlement: a balance counts each of them when it begins
MAX_PRIORITY = 255
TYPES = ("boolean", "static", "metered")

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
    if not entitlement_lookup.in_force(old, context.at_ms // 1000):
        sent.refuse("only an entitlement that is active can be overridden")
    new = {"customerId": old["customerId"], **(sent.nested("entitlement") or {})}
    return _create(context, new, replaces=old)


def delete(context: CommandContext) -> Decided:
    """entitlement.delete {id, customerId?}: it ends now, and stays readable by its id."""
    old = _find(context, BodyReader(ENTITLEMENT, context.body, ("id", "customerId", "subject")))
    gone = {**old, "deletedAt": context.now, "updatedAt": context.now}
    return Decided([DefinitionChange(ENTITLEMENT, str(old["id"]), gone)], gone)


def reset(context: CommandContext) -> Decided:
    """entitlement.reset {id, customerId?, effectiveAt?, retainAnchor?, preserveOverage?}: a new usage period begins."""
    members = ("id", "customerId", "subject", "effectiveAt", "retainAnchor", "preserveOverage")
    sent = BodyReader(ENTITLEMENT, context.body, members)
    old, now_s = _find(context, sent), calendar.floor_minute(context.at_ms // 1000)
    if old["type"] != "metered":
        sent.refuse("only metered entitlements can be reset")
    wanted_ms, (anchor, zone) = sent.instant_ms("effectiveAt"), entitlement_lookup.anchor(old)
    if wanted_ms is not None and wanted_ms > context.at_ms:
        sent.refuse("reset time cannot be in the future")
    at_s, offset = sent.minute("effectiveAt") or Minute(now_s, zone)
    schedule = entitlement_lookup.schedule_of(old)
    last_s = schedule.resets[-1].at_s if schedule.resets else schedule.start_s
    if at_s < calendar.usage_period(schedule, now_s)[0]:
        sent.refuse("reset time must not be before the current usage period")
    if at_s <= last_s:
        sent.refuse("reset time must be after the last reset")
    if not entitlement_lookup.in_force(old, at_s):
        sent.refuse("entitlement is not active at the reset time")
    if len(schedule.resets) >= MAX_RESETS:
        sent.refuse(f"entitlement can be reset at most {MAX_RESETS} times")
    preserve = sent.flag("preserveOverage")
    done = {
        "effectiveAt": zones.text_of(at_s),
        "anchor": anchor if sent.flag("retainAnchor") else zones.text_of(at_s, offset),
        "preserveOverage": old["preserveOverageAtReset"] if preserve is None else preserve,
    }
    body = {**old, "resets": [*cast(list[object], old["resets"]), done], "updatedAt": context.now}
    return Decided([DefinitionChange(ENTITLEMENT, str(old["id"]), body)], body)


def terms_of(
    body: Mapping[str, object], grants: Iterable[Mapping[str, object]], aggregation: str, revision: int
) -> Terms:
    """The terms of a metered entitlement. grants: the bodies of its own. revision: the newest of all of these."""
    starts_at_s, ends_at_s = entitlement_lookup.span(body)
    grace = body.get("gracePeriod")
    return Terms(
        entitlement=str(body["id"]),
        revision=revision,
        aggregation=cast(Counted, aggregation),
        schedule=entitlement_lookup.schedule_of(body),
        order=burn_order(map(grant_of, grants)),
        preserve=bool(body["preserveOverageAtReset"]),
        soft=bool(body["isSoftLimit"]),
        unlimited=bool(body.get("isUnlimited")),
        grace_s=0 if grace is None else grace_s(str(grace)),
        starts_at_s=starts_at_s,
        ends_at_s=ends_at_s,
    )


def grace_s(text: str) -> int:
    """A grace period in seconds, of an interval without months."""
    interval = calendar.parse(text, MINUTE_S)
    if interval.months:
        raise Rejected("bad-interval", "a grace period is given in minutes, hours, days or weeks")
    return interval.days * DAY_S + interval.seconds


def _find(context: CommandContext, sent: BodyReader) -> Body:
    customer = entitlement_lookup.holder_id(context.index, context.namespace, sent)
    return entitlement_lookup.find(
        context.index, context.namespace, sent.required("id", 256), context.at_ms // 1000, customer
    )


def _holder(context: CommandContext, sent_body: Mapping[str, object]) -> str | None:
    """Whom a new one is for: before all else, since nothing is said of what is nobody's."""
    named = {name: sent_body[name] for name in _HOLDER if name in sent_body}
    return entitlement_lookup.holder_id(
        context.index, context.namespace, BodyReader(ENTITLEMENT, named, _HOLDER)
    )


def _create(context: CommandContext, sent_body: Mapping[str, object], replaces: Body | None) -> Decided:
    holder = _holder(context, sent_body)
    kind = sent_body.get("type")
    if kind not in TYPES:
        raise Rejected(f"bad-{ENTITLEMENT}", f"entitlement type must be one of {', '.join(TYPES)}")
    members, stored = (*_ANY, *_OF_TYPE[str(kind)]), _shown(context, replaces)
    sent = BodyReader(ENTITLEMENT, sent_body, members, _WRITTEN, stored)
    now_s = calendar.floor_minute(context.at_ms // 1000)
    id, feature = context.id(), _feature(context, sent)
    starts, active_to_s = sent.minute("activeFrom") or Minute(now_s, zones.UTC), sent.minute_s("activeTo")
    if starts.at_s < now_s:
        sent.refuse("activeFrom must not be in the past")
    if active_to_s is not None and active_to_s <= starts.at_s:
        sent.refuse("activeTo must be after activeFrom")
    body: Body = {
        "id": id,
        "type": kind,
        "customerId": holder or sent.required("customerId", 256),
        "featureId": feature["id"],
        "featureKey": feature["key"],
        "activeFrom": zones.text_of(starts.at_s),
        "activeTo": None if active_to_s is None else zones.text_of(active_to_s),
        "metadata": sent.metadata(),
    }
    grants: list[DefinitionChange] = []
    if kind == "static":
        body["config"] = _config(sent)
    elif kind == "metered":
        _check_meter(context, sent, feature)
        body |= _metered(sent, starts, entitlement_lookup.zone_name(context.index, context.namespace, body))
        grants = _grants(context, sent, body)
    body = {name: value for name, value in body.items() if value is not None}
    body |= {"createdAt": context.now, "updatedAt": context.now}
    changes = _ended(context, sent, replaces, body)
    _check_free(context, body, replaces)
    return Decided([*changes, DefinitionChange(ENTITLEMENT, id, body), *grants], body)


def _shown(context: CommandContext, replaces: Body | None) -> Mapping[str, object] | None:
    """The entitlement that an override replaces, as answers show it."""
    if replaces is None:
        return None
    customer = context.index.body(context.namespace, CUSTOMER, str(replaces["customerId"]))
    subject = context.body.get("subject")
    if subject is not None:
        known = context.index.body(context.namespace, SUBJECT, str(subject))
        subject = str(subject if known is None else known["key"])
    return entitlement_json(replaces, context.at_ms // 1000, customer, subject)


def _ended(
    context: CommandContext, sent: BodyReader, replaces: Body | None, body: Body
) -> list[DefinitionChange]:
    """The entitlement that the new one supersedes."""
    if replaces is None:
        return []
    if (body["featureKey"], body["customerId"]) != (replaces["featureKey"], replaces["customerId"]):
        sent.refuse("an entitlement can only be overridden by one of the same customer and feature")
    ended = {**replaces, "activeTo": body["activeFrom"], "updatedAt": context.now}
    return [DefinitionChange(ENTITLEMENT, str(replaces["id"]), ended)]


def _feature(context: CommandContext, sent: BodyReader) -> Body:
    key, id = sent.text("featureKey", 256), sent.text("featureId", 256)
    if key is None and id is None:
        sent.refuse("either featureKey or featureId is required")
    wanted = context.index.one(context.namespace, FEATURE_KEY, key) if key is not None else id
    body = context.index.body(context.namespace, FEATURE, wanted) if wanted is not None else None
    if body is None or (id is not None and body["id"] != id):
        raise Rejected("not-found", f"feature not found: {key or id}")
    if "archivedAt" in body:
        sent.refuse(f"feature {body['key']} is archived")
    return body


def _check_free(context: CommandContext, body: Body, replaces: Body | None) -> None:
    start_s, end_s = entitlement_lookup.span(body)
    for other in entitlement_lookup.of_customer(context.index, context.namespace, str(body["customerId"])):
        if other["featureKey"] != body["featureKey"]:
            continue
        other_start_s, other_end_s = entitlement_lookup.span(other)
        if replaces is not None and other["id"] == replaces["id"]:
            other_end_s = min(other_end_s, start_s)
        if max(start_s, other_start_s) < min(end_s, other_end_s):
            raise Rejected(
                "entitlement-conflict",
                f"entitlement with id {other['id']} already exists for feature {body['featureKey']} "
                f"and customer {body['customerId']}",
            )


def _config(sent: BodyReader) -> str:
    config = sent.text("config", MAX_CONFIG, multiline=True)
    if config is None:
        sent.refuse("config is required for static entitlements")
    try:
        json_value.read_decimals(config)  # numbers are the reader's: the text goes out as it came
    except Rejected as refusal:
        sent.refuse(f"config must be valid JSON: {refusal.detail}")
    return config


def _check_meter(context: CommandContext, sent: BodyReader, feature: Body) -> None:
    slug = feature.get("meterSlug")
    meter = context.index.body(context.namespace, METER, str(slug)) if slug is not None else None
    if meter is None:
        sent.refuse(f"feature {feature['key']} has no meter: a metered entitlement needs one")
    if meter["aggregation"] not in COUNTED:
        sent.refuse(
            f"meter {slug} has the aggregation {meter['aggregation']}, which no balance can be kept of"
        )


def _metered(sent: BodyReader, starts: Minute, zone: str | None) -> Body:
    """The members of a metered entitlement. zone: the customer's."""
    recurrence, usage_period = _usage_period(sent, starts, zone)
    amount, priority = _issue(sent)
    soft, unlimited, grace = sent.flag("isSoftLimit"), sent.flag("isUnlimited"), _grace(sent)
    if grace is not None and (soft or unlimited):
        sent.refuse("entitlement gracePeriod has no effect with isSoftLimit or isUnlimited: leave it out")
    return {
        "usagePeriod": usage_period,
        "measureUsageFrom": zones.text_of(_measured_from_s(sent, recurrence, starts.at_s)),
        "isSoftLimit": soft or False,
        "isUnlimited": unlimited or False,
        "issueAfterReset": None if amount is None else number.text(amount),
        "issueAfterResetPriority": None if amount is None else priority,
        "preserveOverageAtReset": sent.flag("preserveOverageAtReset") or False,
        "gracePeriod": grace,
        "resets": [],
    }


def _usage_period(sent: BodyReader, starts: Minute, zone: str | None) -> tuple[Recurrence, Body]:
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
    body: Body = {"interval": nested["interval"], "anchor": zones.text_of(*anchor)}
    if zone is not None:
        body["timeZone"] = zone
    return Recurrence(interval, anchor.at_s, zone or anchor.zone), body


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


def _grants(context: CommandContext, sent: BodyReader, body: Body) -> list[DefinitionChange]:
    """The grants that come with the entitlement: what is issued after each reset, and those sent along."""
    changes = []
    from_s = seconds_of(body, "measureUsageFrom") or 0
    if (amount := body["issueAfterReset"]) is not None and number.exact(str(amount)) > 0:
        issued = {
            "amount": amount, "priority": body["issueAfterResetPriority"], "effectiveAt": zones.text_of(from_s),
            "minRolloverAmount": amount, "maxRolloverAmount": amount,
        }  # fmt: skip
        issue = grant_.define(context, BodyReader(GRANT, issued, grant_.MEMBERS), body, context.id(1), from_s)
        changes.append(DefinitionChange(GRANT, context.id(1), {**issue, "issuedAfterReset": True}))
    first_s = max(from_s, seconds_of(body, "activeFrom") or 0)
    schedule = entitlement_lookup.schedule_of({**body, "resets": []})
    for place, one in enumerate(sent.objects("grants", 0, MAX_GRANTS) or [], 2):
        sent_grant = BodyReader(GRANT, one, grant_.MEMBERS, grant_.WRITTEN)
        made = grant_.define(context, sent_grant, body, context.id(place), first_s)
        if (seconds_of(made, "effectiveAt") or 0) < calendar.usage_period(schedule, first_s)[0]:
            sent.refuse("grant effective date is before the current usage period")
        changes.append(DefinitionChange(GRANT, context.id(place), made))
    return changes
