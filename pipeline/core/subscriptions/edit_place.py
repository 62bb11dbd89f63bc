"""Where an edit of a subscription takes effect: its instants and the phase that it names.

Owns: finding the phase, the refusals of a phase that is over or unknown. Does not own: what is changed in it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pipeline.core.subscriptions.active_span import ActiveSpan
from pipeline.core.subscriptions.subscription import Subscription, SubscriptionPhase
from pipeline.core.subscriptions.timeline import planned_spans
from pipeline.errors import Rejected


class EditTimes(NamedTuple):
    """now_s: of the command's record. at_s: when items begin and end, now or later in the current phase."""

    now_s: int
    at_s: int


class PhasePlace(NamedTuple):
    """A phase, its place in the order, and its planned span."""

    place: int
    phase: SubscriptionPhase
    span: ActiveSpan


def refused(detail: str) -> Rejected:
    """An edit that is refused, with one sentence."""
    return Rejected("bad-subscription-edit", detail)


def find_phase(subscription: Subscription, key: str, now_s: int) -> PhasePlace:
    """The phase with a key.

    Raises:
        Rejected: `bad-subscription-edit`: there is none, or it is over.
    """
    for place, (phase, span) in enumerate(zip(subscription.phases, planned_spans(subscription), strict=True)):
        if phase.key == key:
            if span.end_s is not None and span.end_s <= now_s:
                raise refused(f"the phase {key} is over and cannot be changed")
            return PhasePlace(place, phase, span)
    raise refused(f"the subscription has no phase {key}")


def phase_at(subscription: Subscription, at_s: int) -> str:
    """The key of the phase that is planned for an instant; the last one after the end of all."""
    spans = zip(subscription.phases, planned_spans(subscription), strict=True)
    return next((phase.key for phase, span in spans if span.holds(at_s)), subscription.phases[-1].key)


def with_phase(subscription: Subscription, place: int, **changes: object) -> Subscription:
    """The subscription with other members of one phase."""
    phases = list(subscription.phases)
    phases[place] = msgspec.structs.replace(phases[place], **changes)
    return msgspec.structs.replace(subscription, phases=tuple(phases))
