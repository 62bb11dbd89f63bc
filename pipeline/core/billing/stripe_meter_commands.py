"""The commands about mappings: which usage goes to which meter of Stripe.

Owns: which mappings may be made, which change of one is allowed, deciding stripe-meter.*. Does not own: what the
definition holds (stripe_meter), reading Stripe's meters: the sender of the command gives the one that it found in
`checked`.

A unit must not be sent twice, and what was sent must stay what the mapping says. So a mapping cannot change once its
first window has begun; one meter of Stripe gets the usage of one mapping; and after a mapping has ended, the next one
for the same meter of Stripe begins where it ended.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.core.billing.app import App, StripeApp
from pipeline.core.billing.stripe_meter import StripeMeter, StripeWindowSize, window_end_ms, window_ms
from pipeline.core.billing.stripe_window import OLDEST_MS
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import METER_ULID, STRIPE_METER, STRIPE_METER_EVENT
from pipeline.core.metering.meter import Meter
from pipeline.core.values import number, timestamp
from pipeline.errors import Rejected

MAX_EVENT_NAME = 100  # Stripe's limit
MAX_DIMENSIONS = 10
MAPPED = ("SUM", "COUNT")  # windows of other aggregations cannot be sent as sums
WINDOWS: tuple[StripeWindowSize, ...] = ("HOUR", "DAY")
CHECKED = "checked"
_MEMBERS = (
    "appId", "meterSlug", "eventName", "customerKey", "valueKey", "window", "multiplier", "dimensions", "from",
    "metadata",
)  # fmt: skip
_WRITTEN = ("id", "meterId", "stripeMeterId", "createdAt", "updatedAt", "deletedAt")
_FOUND = ("stripeMeterId", "customerKey", "valueKey", "formula", "active")
_PAYLOAD_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII).fullmatch
# Those that cannot change once usage was sent, by field; the others never do.
_FIXED = {
    "event_name": "eventName", "stripe_meter_id": "eventName", "customer_key": "customerKey", "value_key": "valueKey",
    "window": "window", "multiplier": "multiplier", "dimensions": "dimensions", "from_at": "from",
}  # fmt: skip


class FoundMeter(NamedTuple):
    """The meter that Stripe has for an event name. formula: sum, count or last."""

    stripe_meter_id: str
    customer_key: str
    value_key: str
    formula: str
    active: bool


def create(context: CommandContext) -> Decided:
    """stripe-meter.create: usage of a meter goes to the meter of Stripe that has the event name.

    Raises:
        Rejected: `not-found` for the app; `bad-stripe-meter`; `stripe-meter-conflict` if another mapping has the meter
            of Stripe, or if usage would be sent twice.
    """
    sent = BodyReader(STRIPE_METER, context.asked(CHECKED), _MEMBERS, _WRITTEN)
    app, meter = _app(context, sent.required("appId", 64)), _meter(context, sent)
    event_name = sent.required("eventName", MAX_EVENT_NAME)
    found = _found(context, sent, event_name)
    window = sent.one_of("window", WINDOWS) or "HOUR"
    mapping = StripeMeter(
        id=context.id(),
        app_id=app.id,
        meter_slug=meter.slug,
        meter_id=meter.id or str(meter.meter_id),
        event_name=event_name,
        stripe_meter_id=found.stripe_meter_id,
        customer_key=found.customer_key,
        value_key=found.value_key,
        window=window,
        multiplier=_multiplier(sent) or "1",
        dimensions=_dimensions(sent, meter, found),
        from_at=_from(context, sent, window, _free_from_ms(context, app, event_name, "")),
        metadata=sent.metadata(),
        created_at=context.now,
        updated_at=context.now,
    )
    return _decided(mapping)


def update(context: CommandContext) -> Decided:
    """stripe-meter.update: another mapping in place of one whose first window has not begun; else its metadata.

    A member that is absent stays as it is.

    Raises:
        Rejected: `not-found`; `bad-stripe-meter`; `stripe-meter-conflict` for a change after the first window has
            begun, or one to another app or meter.
    """
    old = context.existing(StripeMeter)
    sent = BodyReader(STRIPE_METER, context.asked("id", CHECKED), _MEMBERS, _WRITTEN, old.shown)
    for member, value in (("appId", old.app_id), ("meterSlug", old.meter_slug)):
        if sent.text(member, 64) not in (None, value):
            _refuse_change(old, member, "")
    new = _updated(context, sent, old)
    if new == old:
        return Decided([], old.shown)
    begun = timestamp.ms_of(old.from_at) <= context.at_ms
    for field, member in _FIXED.items():
        if begun and getattr(new, field) != getattr(old, field):
            _refuse_change(old, member, f" once usage is sent, which it is from {old.from_at} on")
    if not begun:
        from_ms = timestamp.ms_of(new.from_at)
        if from_ms <= context.at_ms:
            sent.refuse(
                "stripe-meter from must be later than now: what lies before can only be sent by a new mapping"
            )
        free_ms = _free_from_ms(context, _app(context, old.app_id), new.event_name, old.id)
        _check_from(sent, new.window, from_ms, free_ms)
    return _decided(new.changed(updated_at=context.now))


def delete(context: CommandContext) -> Decided:
    """stripe-meter.delete: the mapping has ended, and nothing more is sent by it; what was sent stays at Stripe.

    Raises:
        Rejected: `not-found`.
    """
    BodyReader(STRIPE_METER, context.body, ("id",))
    old = context.existing(StripeMeter)
    return _decided(old.changed(deleted_at=context.now, updated_at=context.now))


def _decided(mapping: StripeMeter) -> Decided:
    return Decided([DefinitionChange(STRIPE_METER, mapping.id, mapping)], mapping.shown)


def _updated(context: CommandContext, sent: BodyReader, old: StripeMeter) -> StripeMeter:
    """`old` with the members that were sent."""
    event_name = sent.text("eventName", MAX_EVENT_NAME) or old.event_name
    found = FoundMeter(old.stripe_meter_id, old.customer_key, old.value_key, "sum", True)
    if event_name != old.event_name:
        found = _found(context, sent, event_name)
    else:
        _check_keys(sent, found)
    meter = context.index.find(Meter, context.namespace, old.meter_slug)
    window = sent.one_of("window", WINDOWS) or old.window
    from_ms = sent.instant_ms("from")
    dimensions, metadata = sent.nested("dimensions"), sent.metadata()
    return old.changed(
        event_name=event_name,
        stripe_meter_id=found.stripe_meter_id,
        customer_key=found.customer_key,
        value_key=found.value_key,
        window=window,
        multiplier=_multiplier(sent) or old.multiplier,
        dimensions=old.dimensions if dimensions is None else _dimensions(sent, meter, found),
        from_at=old.from_at if from_ms is None else _instant(sent, from_ms),
        metadata=old.metadata if metadata is None else metadata,
    )


def _instant(sent: BodyReader, from_ms: int) -> str:
    if from_ms < 0:
        sent.refuse("stripe-meter from must lie within the last 35 days: Stripe takes no older usage")
    return timestamp.text_of(from_ms)


def _refuse_change(mapping: StripeMeter, member: str, when: str) -> None:
    raise Rejected(
        "stripe-meter-conflict",
        f"stripe-meter {member} of the mapping {mapping.id} cannot be changed{when}: delete it and create another",
    )


def _app(context: CommandContext, id: str) -> StripeApp:
    found = context.index.find(App, context.namespace, id)
    if not isinstance(found, StripeApp) or found.is_deleted:
        raise Rejected("not-found", f"There is no app with the id {id}.")
    return found


def _meter(context: CommandContext, sent: BodyReader) -> Meter:
    wanted = sent.required("meterSlug", 64)
    found = context.index.find_by(Meter, context.namespace, METER_ULID, wanted)
    if found is None:
        sent.refuse(f"stripe-meter meterSlug names no meter: {wanted}")
    if found.aggregation not in MAPPED:
        sent.refuse(
            f"meter {found.slug}'s aggregation is {found.aggregation}, but only meters that add up can be sent: "
            f"{', '.join(MAPPED)}"
        )
    return found


def _found(context: CommandContext, sent: BodyReader, event_name: str) -> FoundMeter:
    """The meter at Stripe, which must count what is sent."""
    given = context.body.get(CHECKED)
    if given is None:
        sent.refuse(f"stripe-meter eventName {event_name} has no meter at Stripe: create it there first")
    checked = BodyReader(STRIPE_METER, {CHECKED: given}, (CHECKED,)).nested(CHECKED) or {}
    parts = BodyReader(STRIPE_METER, checked, _FOUND, inside=CHECKED)
    found = FoundMeter(
        parts.required("stripeMeterId", 255),
        parts.required("customerKey", MAX_EVENT_NAME),
        parts.required("valueKey", MAX_EVENT_NAME),
        parts.required("formula", 64),
        parts.flag("active") or False,
    )
    if not found.active:
        sent.refuse(f"stripe-meter eventName {event_name} has a meter at Stripe that is not active")
    if found.formula != "sum":
        sent.refuse(
            f"stripe-meter eventName {event_name} has a meter at Stripe with the formula {found.formula}: usage is "
            "sent as sums, so its formula must be sum"
        )
    _check_keys(sent, found)
    return found


def _check_keys(sent: BodyReader, found: FoundMeter) -> None:
    for member, key in (("customerKey", found.customer_key), ("valueKey", found.value_key)):
        if sent.text(member, MAX_EVENT_NAME) not in (None, key):
            sent.refuse(f"stripe-meter {member} must be {key}, as the meter at Stripe has it, or absent")


def _multiplier(sent: BodyReader) -> str | None:
    scaled = sent.amount("multiplier")
    if scaled is None:
        return None
    if scaled <= 0:
        sent.refuse("stripe-meter multiplier must be above 0")
    return number.text(scaled)


def _dimensions(sent: BodyReader, meter: Meter | None, found: FoundMeter) -> dict[str, str] | None:
    """{group-by key: member of the payload}, sorted; no members are none."""
    dimensions = sent.strings("dimensions", MAX_DIMENSIONS, 64, 100) or {}
    columns = {} if meter is None else meter.group_by
    for key, member in dimensions.items():
        if key not in columns:
            sent.refuse(
                f"stripe-meter dimensions has {key}, which is no group-by key of the meter: it has "
                f"{', '.join(columns) or 'none'}"
            )
        if not _PAYLOAD_KEY(member):
            sent.refuse("stripe-meter dimensions values must have 1 to 100 letters, digits and _ . -")
        if member in (found.customer_key, found.value_key):
            sent.refuse(f"stripe-meter dimensions cannot use {member}, which the payload has already")
    if len(set(dimensions.values())) < len(dimensions):
        sent.refuse("stripe-meter dimensions must not use the same member of the payload twice")
    return dict(sorted(dimensions.items())) or None


def _from(context: CommandContext, sent: BodyReader, window: StripeWindowSize, free_ms: int) -> str:
    """When the first window begins; by default the one in progress, or when the mapping before has ended."""
    from_ms = sent.instant_ms("from")
    if from_ms is None:
        now_ms = window_end_ms(window, context.at_ms) - window_ms(window)
        return timestamp.text_of(max(now_ms, window_end_ms(window, free_ms - 1)))
    if from_ms < context.at_ms - OLDEST_MS:
        sent.refuse("stripe-meter from must lie within the last 35 days: Stripe takes no older usage")
    _check_from(sent, window, from_ms, free_ms)
    return timestamp.text_of(from_ms)


def _free_from_ms(context: CommandContext, app: StripeApp, event_name: str, but: str) -> int:
    """Before when usage of an event name was sent by mappings that have ended; 0: there are none.

    Raises:
        Rejected: `stripe-meter-conflict` if a mapping other than `but` is in force for the event name.
    """
    index, namespace, free_ms = context.index, context.namespace, 0
    for one in index.having(StripeMeter, namespace, STRIPE_METER_EVENT, event_name):
        if one.id == but:
            continue
        if one.deleted_at is None and one.app_id == app.id:
            raise Rejected(
                "stripe-meter-conflict",
                f"the Stripe meter {event_name} gets the usage of the meter {one.meter_slug} already, by the mapping "
                f"{one.id}: at Stripe the two could not be distinguished",
            )
        other = index.find(App, namespace, one.app_id)
        if one.deleted_at is None or not isinstance(other, StripeApp):
            continue
        if other.stripe_account_id != app.stripe_account_id:
            continue
        if one.from_at < one.deleted_at:
            free_ms = max(free_ms, window_end_ms(one.window, timestamp.ms_of(one.deleted_at)))
    return free_ms


def _check_from(sent: BodyReader, window: StripeWindowSize, from_ms: int, free_ms: int) -> None:
    """Raises Rejected for a start within a window, and for usage that another mapping has sent."""
    if from_ms % window_ms(window):
        unit = "hour" if window == "HOUR" else "day"
        sent.refuse(f"stripe-meter from must be the start of a window: a whole {unit} in UTC")
    if from_ms < free_ms:
        raise Rejected(
            "stripe-meter-conflict",
            f"stripe-meter from must not be before {timestamp.text_of(free_ms)}: earlier usage was sent by a mapping "
            "that has ended, and would be sent twice",
        )
