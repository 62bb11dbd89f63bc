"""The commands about grants: to give one to a metered entitlement, and to void it.

Owns: which grants may be given, deciding grant.*. Does not own: what a grant is (grant), burning (burndown).
Amounts are atto (see number), instants whole minutes in seconds since 1970.
"""

from __future__ import annotations

from pipeline.core.definitions.body import BodyReader, Minute
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import GRANT
from pipeline.core.quota import entitlement_lookup
from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement
from pipeline.core.quota.grant import GrantDefinition, GrantExpiration, GrantRecurrence
from pipeline.core.values import calendar, number, timestamp
from pipeline.core.values import zone as zones
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


def create(context: CommandContext) -> Decided:
    """grant.create: to a metered entitlement, by its id or by customer and feature key."""
    sent = BodyReader(GRANT, context.body, (*MEMBERS, "entitlementId", "customerId", "subject"), WRITTEN)
    at_s = context.at_ms // 1000
    entitlement = _entitlement(context, sent, at_s)
    # An entitlement that is yet to begin has its first period.
    now_s = max(calendar.floor_minute(at_s), entitlement.schedule.start_s)
    grant = define(context, sent, entitlement, context.id(), at_s)
    if timestamp.minute_s(grant.effective_at) < calendar.usage_period(entitlement.schedule, now_s)[0]:
        sent.refuse("grant effective date is before the current usage period")
    return Decided([DefinitionChange(GRANT, grant.id, grant)], grant.members)


def void(context: CommandContext) -> Decided:
    """grant.void {id, at?}: from `at` on (now) it gives nothing; what it paid for stays paid."""
    sent = BodyReader(GRANT, context.body, ("id", "at"))
    id, at_s = sent.required("id", 64), context.at_ms // 1000
    grant = context.index.find(GrantDefinition, context.namespace, id)
    if grant is None:
        raise Rejected("not-found", f"There is no grant with the id {id}.")
    if grant.voided_at is not None:
        raise Rejected("grant-conflict", f"grant {id} is already voided")
    entitlement = entitlement_lookup.find(context.index, context.namespace, grant.entitlement_id, at_s)
    voided_at_ms = sent.instant_ms("at")
    if voided_at_ms is not None and voided_at_ms > context.at_ms:
        sent.refuse("grant cannot be voided in the future")
    voided_at_s = calendar.floor_minute(at_s if voided_at_ms is None else voided_at_ms // 1000)
    if voided_at_ms is not None and voided_at_s < _period_start_s(entitlement, at_s):
        sent.refuse("grant cannot be voided before the current usage period")
    voided = grant.changed(voided_at=zones.text_of(voided_at_s), updated_at=context.now)
    return Decided([DefinitionChange(GRANT, id, voided)], voided.members)


def _period_start_s(entitlement: Entitlement, at_s: int) -> int:
    if not isinstance(entitlement, MeteredEntitlement):
        raise Broken(f"A grant belongs to the entitlement {entitlement.id}, which is not metered.")
    return calendar.usage_period(entitlement.schedule, at_s)[0]


def define(
    context: CommandContext, sent: BodyReader, entitlement: MeteredEntitlement, id: str, at_s: int
) -> GrantDefinition:
    """A new grant, which nothing holds yet.

    Args:
        context: of the command.
        sent: the grant's members.
        entitlement: that it is given to.
        id: of the grant.
        at_s: when it is effective unless the members say otherwise, in seconds since 1970.

    Raises:
        Rejected: `bad-grant`.
    """
    amount = sent.amount("amount")
    if amount is None or amount <= 0:
        sent.refuse("grant amount must be positive")
    least, most = sent.at_least_zero("minRolloverAmount") or 0, sent.at_least_zero("maxRolloverAmount") or 0
    if least > most:
        sent.refuse(
            "grant minRolloverAmount must not be above maxRolloverAmount, which is 0 unless it is given"
        )
    effective = sent.minute("effectiveAt") or Minute(calendar.floor_minute(at_s), zones.UTC)
    recurrence, zone = _recurrence(context, sent, entitlement, effective)
    priority = sent.integer("priority", 1, MAX_PRIORITY) or 1
    expiration, expires_at = _expiration(sent, effective.at_s, zone or effective.zone)
    return GrantDefinition(
        id=id,
        entitlement_id=entitlement.id,
        amount=number.text(amount),
        priority=priority,
        effective_at=zones.text_of(effective.at_s),
        expiration=expiration,
        expires_at=expires_at,
        recurrence=recurrence,
        min_rollover_amount=number.text(least),
        max_rollover_amount=number.text(most),
        created_at=context.now,
        updated_at=context.now,
        metadata=sent.metadata(),
    )


def _entitlement(context: CommandContext, sent: BodyReader, at_s: int) -> MeteredEntitlement:
    customer = entitlement_lookup.holder_id(context.index, context.namespace, sent)
    wanted = sent.required("entitlementId", 256)
    entitlement = entitlement_lookup.find(context.index, context.namespace, wanted, at_s, customer)
    if not isinstance(entitlement, MeteredEntitlement):
        sent.refuse("grants can only be given to metered entitlements")
    if at_s >= entitlement.span[1]:
        sent.refuse("entitlement is no longer active")
    return entitlement


def _expiration(
    sent: BodyReader, effective_at_s: int, zone: str
) -> tuple[GrantExpiration | None, str | None]:
    """The expiration that was sent, and the instant that follows from it."""
    nested = sent.nested("expiration")
    if nested is None:
        return None, None
    parts = BodyReader(GRANT, nested, ("duration", "count"), inside="expiration")
    duration, count = parts.one_of("duration", DURATIONS), parts.integer("count", 1, MAX_COUNT)
    if duration is None or count is None:
        sent.refuse("grant expiration must have duration and count")
    expires_at_s = calendar.add(effective_at_s, calendar.NAMED[duration], count, zone)
    if expires_at_s >= calendar.LATEST_S:
        sent.refuse("grant expiration must end before the year 9999")
    return GrantExpiration(duration, count), zones.text_of(expires_at_s)


def _recurrence(
    context: CommandContext, sent: BodyReader, entitlement: MeteredEntitlement, effective: Minute
) -> tuple[GrantRecurrence | None, str | None]:
    """The recurrence that was sent, and the named zone in which the grant's calendar steps, if there is one."""
    zone = entitlement_lookup.zone_name(
        context.index, context.namespace, entitlement.customer_id, entitlement.usage_period.time_zone
    )
    nested = sent.nested("recurrence")
    if nested is None:
        return None, zone
    parts = BodyReader(GRANT, nested, ("interval", "anchor", "timeZone", "intervalISO"), inside="recurrence")
    if parts.recurring() is None:
        sent.refuse("grant recurrence must have an interval")
    zone = parts.zone("timeZone") or zone
    anchor = parts.minute("anchor") or Minute(effective.at_s, zone or effective.zone)
    return GrantRecurrence(str(nested["interval"]), zones.text_of(*anchor), zone), zone
