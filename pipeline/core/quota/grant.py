"""Grants: an amount of usage that an entitlement may take, when, in which order, and what of it outlives a reset.

Owns: when a grant is active, when it is filled, the order of burning, rollover, deciding grant.*. Does not own:
burning (burndown), calendars (values.calendar). Amounts are atto (see number), instants whole minutes in seconds since
1970.

    {id, entitlementId, amount, priority, effectiveAt, expiration? {duration, count}, expiresAt?, recurrence? {interval,
     anchor, timeZone?}, minRolloverAmount, maxRolloverAmount, metadata?, issuedAfterReset?, voidedAt?, createdAt,
     updatedAt}
The expiration and the recurrence step in the recurrence's `timeZone`, else in that of the entitlement's usage period,
else in the customer's, else in the offset with which their own first instant was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.core.definitions.body import BodyReader, Minute, seconds_of, zone_of
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import GRANT
from pipeline.core.quota import entitlement_lookup
from pipeline.core.values import calendar, number, timestamp
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import NEVER_S, Recurrence
from pipeline.errors import Broken, Rejected

MAX_PRIORITY = 255
MAX_COUNT = 1000
DURATIONS = ("HOUR", "DAY", "WEEK", "MONTH", "YEAR")
MEMBERS = (
    "amount", "priority", "effectiveAt", "expiration", "recurrence", "minRolloverAmount", "maxRolloverAmount",
    "metadata",
)  # fmt: skip
WRITTEN = (
    "id",
    "createdAt",
    "updatedAt",
    "deletedAt",
    "expiresAt",
    "nextRecurrence",
    "voidedAt",
    "annotations",
)


class Grant(msgspec.Struct, frozen=True):
    """A grant as it burns. Active in [effective_at_s, ends_at_s).

    expires_at_s: by its expiration, NEVER_S without one; it orders the burning even where the grant was voided.
    recurrence: at each tick the balance becomes the amount, whatever was left.
    """

    id: str
    amount: int
    effective_at_s: int
    priority: int = 1
    expires_at_s: int = NEVER_S
    voided_at_s: int = NEVER_S
    recurrence: Recurrence | None = None
    min_rollover: int = 0
    max_rollover: int = 0
    created_at_ms: int = 0

    @property
    def ends_at_s(self) -> int:
        """When it is no longer active."""
        return min(self.expires_at_s, self.voided_at_s)

    def active(self, at_s: int) -> bool:
        """Whether it may be burnt at that instant."""
        return self.effective_at_s <= at_s < self.ends_at_s

    def filled(self, at_s: int) -> bool:
        """Whether its balance becomes the amount at that instant."""
        if self.effective_at_s == at_s:
            return True
        return self.recurrence is not None and calendar.is_tick(self.recurrence, at_s)

    def rolled_over(self, balance: int) -> int:
        """What a reset leaves of `balance`."""
        return min(self.max_rollover, max(self.min_rollover, balance))

    def next_change(self, after_s: int) -> int:
        """The next instant after `after_s` at which it begins, ends or is filled; NEVER_S if none."""
        if after_s < self.effective_at_s:
            return self.effective_at_s if self.effective_at_s < self.ends_at_s else NEVER_S
        if after_s >= self.ends_at_s:
            return NEVER_S
        if self.recurrence is None:
            return self.ends_at_s
        return min(self.ends_at_s, calendar.next_tick(self.recurrence, after_s))


def burn_order(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """In the order of burning: priority, then what expires first, then what was made first, then id."""
    return tuple(sorted(grants, key=lambda g: (g.priority, g.expires_at_s, g.created_at_ms, g.id)))


def grant_of(body: Mapping[str, object]) -> Grant:
    """The grant that a definition on the log holds."""
    effective_at_s = seconds_of(body, "effectiveAt")
    if effective_at_s is None:
        raise Broken(f"The grant {body.get('id')} has no effectiveAt.")
    expires_at_s, voided_at_s = seconds_of(body, "expiresAt"), seconds_of(body, "voidedAt")
    recurrence = body.get("recurrence")
    return Grant(
        id=str(body["id"]),
        amount=number.exact(str(body["amount"])),
        effective_at_s=effective_at_s,
        priority=int(str(body["priority"])),
        expires_at_s=NEVER_S if expires_at_s is None else expires_at_s,
        voided_at_s=NEVER_S if voided_at_s is None else voided_at_s,
        recurrence=_recurrence_of(recurrence) if isinstance(recurrence, Mapping) else None,
        min_rollover=number.exact(str(body["minRolloverAmount"])),
        max_rollover=number.exact(str(body["maxRolloverAmount"])),
        created_at_ms=timestamp.ms_of(str(body["createdAt"])),
    )


def _recurrence_of(body: Mapping[str, object]) -> Recurrence:
    anchor_s = seconds_of(body, "anchor")
    if anchor_s is None:
        raise Broken("A recurrence has no anchor.")
    return Recurrence(calendar.parse(body["interval"]), anchor_s, zone_of(body))


def create(context: CommandContext) -> Decided:
    """grant.create: to a metered entitlement, by its id or by customer and feature key."""
    sent = BodyReader(GRANT, context.body, (*MEMBERS, "entitlementId", "customerId", "subject"), WRITTEN)
    at_s = context.at_ms // 1000
    entitlement = _entitlement(context, sent, at_s)
    schedule = entitlement_lookup.schedule_of(entitlement)
    now_s = max(
        calendar.floor_minute(at_s), schedule.start_s
    )  # one that is yet to begin has its first period
    body = define(context, sent, entitlement, context.id(), at_s)
    if (seconds_of(body, "effectiveAt") or 0) < calendar.usage_period(schedule, now_s)[0]:
        sent.refuse("grant effective date is before the current usage period")
    return Decided([DefinitionChange(GRANT, str(body["id"]), body)], body)


def void(context: CommandContext) -> Decided:
    """grant.void {id, at?}: from `at` on (now) it gives nothing; what it paid for stays paid."""
    sent = BodyReader(GRANT, context.body, ("id", "at"))
    id, at_s = sent.required("id", 64), context.at_ms // 1000
    body = context.index.body(context.namespace, GRANT, id)
    if body is None:
        raise Rejected("not-found", f"There is no grant with the id {id}.")
    if "voidedAt" in body:
        raise Rejected("grant-conflict", f"grant {id} is already voided")
    entitlement = entitlement_lookup.find(context.index, context.namespace, str(body["entitlementId"]), at_s)
    voided_at_ms = sent.instant_ms("at")
    if voided_at_ms is not None and voided_at_ms > context.at_ms:
        sent.refuse("grant cannot be voided in the future")
    voided_at_s = calendar.floor_minute(at_s if voided_at_ms is None else voided_at_ms // 1000)
    schedule = entitlement_lookup.schedule_of(entitlement)
    if voided_at_ms is not None and voided_at_s < calendar.usage_period(schedule, at_s)[0]:
        sent.refuse("grant cannot be voided before the current usage period")
    voided = {**body, "voidedAt": zones.text_of(voided_at_s), "updatedAt": context.now}
    return Decided([DefinitionChange(GRANT, id, voided)], voided)


def define(context: CommandContext, sent: BodyReader, entitlement: Body, id: str, at_s: int) -> Body:
    """The body of a new grant of `entitlement`. Raises Rejected `bad-grant`."""
    amount = sent.amount("amount")
    if amount is None or amount <= 0:
        sent.refuse("grant amount must be positive")
    least, most = sent.at_least_zero("minRolloverAmount") or 0, sent.at_least_zero("maxRolloverAmount")
    if most is not None and least > most:
        sent.refuse("grant minRolloverAmount must not be above maxRolloverAmount")
    effective = sent.minute("effectiveAt") or Minute(calendar.floor_minute(at_s), zones.UTC)
    recurrence, zone = _recurrence(context, sent, entitlement, effective)
    body: Body = {
        "id": id,
        "entitlementId": entitlement["id"],
        "amount": number.text(amount),
        "priority": sent.integer("priority", 1, MAX_PRIORITY) or 1,
        "effectiveAt": zones.text_of(effective.at_s),
        **_expiration(sent, effective.at_s, zone or effective.zone),
        **recurrence,
        "minRolloverAmount": number.text(least),
        "maxRolloverAmount": number.text(most or 0),
        "createdAt": context.now,
        "updatedAt": context.now,
    }
    if (metadata := sent.metadata()) is not None:
        body["metadata"] = metadata
    return body


def _entitlement(context: CommandContext, sent: BodyReader, at_s: int) -> Body:
    customer = entitlement_lookup.holder_id(context.index, context.namespace, sent)
    wanted = sent.required("entitlementId", 256)
    entitlement = entitlement_lookup.find(context.index, context.namespace, wanted, at_s, customer)
    if entitlement["type"] != "metered":
        sent.refuse("grants can only be given to metered entitlements")
    if at_s >= entitlement_lookup.span(entitlement)[1]:
        sent.refuse("entitlement is no longer active")
    return entitlement


def _expiration(sent: BodyReader, effective_at_s: int, zone: str) -> Body:
    nested = sent.nested("expiration")
    if nested is None:
        return {}
    parts = BodyReader(GRANT, nested, ("duration", "count"), inside="expiration")
    duration, count = parts.one_of("duration", DURATIONS), parts.integer("count", 1, MAX_COUNT)
    if duration is None or count is None:
        sent.refuse("grant expiration must have duration and count")
    expires_at_s = calendar.add(effective_at_s, calendar.NAMED[duration], count, zone)
    if expires_at_s >= calendar.LATEST_S:
        sent.refuse("grant expiration must end before the year 9999")
    return {"expiration": {"duration": duration, "count": count}, "expiresAt": zones.text_of(expires_at_s)}


def _recurrence(
    context: CommandContext, sent: BodyReader, entitlement: Body, effective: Minute
) -> tuple[dict[str, object], str | None]:
    """The recurrence that was sent, and the named zone in which the grant's calendar steps, if there is one."""
    zone = entitlement_lookup.zone_name(context.index, context.namespace, entitlement)
    nested = sent.nested("recurrence")
    if nested is None:
        return {}, zone
    parts = BodyReader(GRANT, nested, ("interval", "anchor", "timeZone", "intervalISO"), inside="recurrence")
    if parts.recurring() is None:
        sent.refuse("grant recurrence must have an interval")
    zone = parts.zone("timeZone") or zone
    anchor = parts.minute("anchor")
    if anchor is None:
        anchor = Minute(effective.at_s, zone or effective.zone)
    recurrence = {"interval": nested["interval"], "anchor": zones.text_of(*anchor)}
    return {"recurrence": recurrence if zone is None else {**recurrence, "timeZone": zone}}, zone
