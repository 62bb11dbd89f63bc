"""Editing a running subscription: customizations in their order on one copy, all of them or none.

Owns: whether and when an edit takes effect, the rules that the result has to keep. Does not own: each customization
(edit_items, edit_phases).
Source: openmeterio/openmeter at 7e57a394, `openmeter/subscription/patch`; refusals without a sentence there are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import assert_never

import msgspec

from pipeline.core.subscriptions import edit_items, edit_phases
from pipeline.core.subscriptions.active_span import planned_item_span
from pipeline.core.subscriptions.customization import (
    AddItem,
    AddPhase,
    Customization,
    RemoveItem,
    RemovePhase,
    StretchPhase,
    UnscheduleEdit,
)
from pipeline.core.subscriptions.edit_place import EditTimes, phase_at, refused
from pipeline.core.subscriptions.from_plan import NewId
from pipeline.core.subscriptions.one_at_a_time import check_items
from pipeline.core.subscriptions.status import check_allowed
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import billing_recurrence, planned_spans
from pipeline.core.subscriptions.timing import NamedTiming
from pipeline.core.values import calendar

MOST_CUSTOMIZATIONS = 100


def edit(
    subscription: Subscription,
    customizations: Sequence[Customization],
    timing: NamedTiming,
    now_s: int,
    new_id: NewId,
) -> Subscription:
    """Apply customizations.

    Args:
        timing: when items begin and end. Phases are changed at once.
        new_id: called with the identity of each new phase and item, with the instant where one begins inside a phase.

    Returns:
        The subscription itself if nothing is different.

    Raises:
        Rejected: `subscription_transition_not_allowed` (403), `bad-subscription-edit`,
            `only_single_subscription_item_allowed_at_a_time` (409).
    """
    check_allowed("edit", subscription, now_s)
    if subscription.addons:
        raise refused("a subscription with add-ons cannot be edited")
    if not 0 < len(customizations) <= MOST_CUSTOMIZATIONS:
        raise refused(f"customizations must be 1 to {MOST_CUSTOMIZATIONS}")
    times = _times(subscription, timing, now_s)
    edited = subscription
    for customization in customizations:
        edited = _apply(edited, customization, times, new_id)
    if edited == subscription:
        return subscription
    _check(edited, subscription, now_s)
    return msgspec.structs.replace(edited, updated_at_s=now_s)


def _times(subscription: Subscription, timing: NamedTiming, now_s: int) -> EditTimes:
    if timing == "immediate":
        return EditTimes(now_s, now_s)
    at_s = calendar.next_tick(billing_recurrence(subscription), now_s)
    if phase_at(subscription, at_s) != phase_at(subscription, now_s):
        raise refused("cannot edit to the next billing cycle as it falls into a different phase")
    return EditTimes(now_s, at_s)


def _apply(
    subscription: Subscription, customization: Customization, times: EditTimes, new_id: NewId
) -> Subscription:
    match customization:
        case AddItem():
            return edit_items.add(subscription, customization, times, new_id)
        case RemoveItem():
            return edit_items.remove(subscription, customization, times)
        case UnscheduleEdit():
            return edit_items.unschedule(subscription, times)
        case AddPhase():
            return edit_phases.add(subscription, customization, times, new_id)
        case RemovePhase():
            return edit_phases.remove(subscription, customization, times)
        case StretchPhase():
            return edit_phases.stretch(subscription, customization, times)
        case _:
            assert_never(customization)


def _check(edited: Subscription, before: Subscription, now_s: int) -> None:
    """The rules for the result as a whole, since a customization may need the one after it."""
    *earlier, last = edited.phases
    endless = next((phase.key for phase in earlier if phase.duration is None), None)
    if endless is not None:
        raise refused(f"the phase {endless} needs a duration, since it is not the last")
    if last.duration is not None:
        raise refused(f"the last phase {last.key} must not have a duration")
    spans = planned_spans(edited)
    if any(later.start_s < sooner.start_s for sooner, later in pairwise(spans)):
        raise refused("a phase would end before it begins")
    current = phase_at(before, now_s)
    if phase_at(edited, now_s) != current or _begins(edited, current) != _begins(before, current):
        raise refused("the phase that is in force must stay in force")
    for phase, span in zip(edited.phases, spans, strict=True):
        for key, versions in phase.timelines.items():
            moved = [item for item in versions if item.from_s is not None or item.to_s is not None]
            placed = [planned_item_span(item, span) for item in moved]
            if any(one != one.cut(span) for one in placed):
                raise refused(
                    f"the item {key} has a change that would lie outside the phase {phase.key}; unschedule it first"
                )
    check_items([edited])


def _begins(subscription: Subscription, key: str) -> int:
    keys = [phase.key for phase in subscription.phases]
    return planned_spans(subscription)[keys.index(key)].start_s
