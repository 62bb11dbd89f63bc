"""Adding, removing and stretching phases of a subscription.

Owns: the order and lengths of phases after each change. Does not own: items (edit_items), rules for the edit as a
whole (edit). Phases that are over or have begun keep their start.
"""

from __future__ import annotations

import msgspec

from pipeline.core.subscriptions.customization import AddPhase, RemovePhase, StretchPhase
from pipeline.core.subscriptions.edit_place import EditTimes, find_phase, phase_at, refused, with_phase
from pipeline.core.subscriptions.from_plan import NewId
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionPhase
from pipeline.core.subscriptions.timeline import after_start, planned_spans, plus, start_after
from pipeline.core.values import calendar
from pipeline.core.values.calendar import Interval
from pipeline.errors import Rejected


def add(subscription: Subscription, asked: AddPhase, times: EditTimes, new_id: NewId) -> Subscription:
    """Insert a phase without items."""
    sent = asked.phase
    if any(phase.key == sent.key for phase in subscription.phases):
        raise refused(f"the subscription has a phase {sent.key}")
    new = SubscriptionPhase(
        id=new_id(f"{subscription.id}/{sent.key}/{times.now_s}"),
        key=sent.key,
        name=sent.name,
        description=sent.description,
        duration=None if sent.duration is None else _interval("duration", sent.duration, calendar.HOUR_S),
        timelines={},
    )
    if sent.start_after is None:
        last = subscription.phases[-1]
        if last.duration is None:
            raise refused(f"startAfter is required, since the last phase {last.key} has no end")
        return msgspec.structs.replace(subscription, phases=(*subscription.phases, new))
    return _inserted(subscription, new, _interval("startAfter", sent.start_after), times.now_s)


def _inserted(
    subscription: Subscription, new: SubscriptionPhase, after: Interval, now_s: int
) -> Subscription:
    at_s = after_start(subscription, after)
    if at_s <= now_s:
        raise refused(f"the phase {new.key} must begin later than now")
    keys = [phase.key for phase in subscription.phases]
    place = keys.index(phase_at(subscription, at_s))
    span = planned_spans(subscription)[place]
    if not span.holds(at_s):
        raise refused(f"the phase {new.key} must not begin after the end of the last phase")
    if span.start_s < at_s:
        rest = plus(after, start_after(subscription, place), -1)
        subscription = with_phase(subscription, place, duration=rest)
        place += 1
    phases = subscription.phases
    return msgspec.structs.replace(subscription, phases=(*phases[:place], new, *phases[place:]))


def remove(subscription: Subscription, asked: RemovePhase, times: EditTimes) -> Subscription:
    """Remove a phase that has not begun. Without a phase after it, the one before has no end."""
    place, phase, span = find_phase(subscription, asked.phase_key, times.now_s)
    if span.start_s <= times.now_s:
        raise refused(f"the phase {phase.key} has begun and cannot be removed")
    before = subscription.phases[place - 1].duration
    if place == len(subscription.phases) - 1:
        subscription = with_phase(subscription, place - 1, duration=None)
    elif asked.shift == "prev" and before is not None and phase.duration is not None:
        subscription = with_phase(subscription, place - 1, duration=plus(before, phase.duration))
    phases = subscription.phases
    return msgspec.structs.replace(subscription, phases=phases[:place] + phases[place + 1 :])


def stretch(subscription: Subscription, asked: StretchPhase, times: EditTimes) -> Subscription:
    """Make a phase longer or shorter."""
    place, phase, span = find_phase(subscription, asked.phase_key, times.now_s)
    if phase.duration is None:
        raise refused(f"the last phase {phase.key} has no end that could be moved")
    by = _interval("extendBy", asked.extend_by.removeprefix("-"))
    duration = plus(phase.duration, by, -1 if asked.extend_by.startswith("-") else 1)
    stretched = with_phase(subscription, place, duration=duration)
    end_s = planned_spans(stretched)[place].end_s
    if end_s is not None and end_s <= max(span.start_s, times.now_s):
        raise refused(f"the phase {phase.key} would disappear")
    return stretched


def _interval(name: str, text: str, least_s: int = 0) -> Interval:
    try:
        return calendar.parse(text, least_s)
    except Rejected as error:
        raise refused(f"{name}: {error.detail}") from error
