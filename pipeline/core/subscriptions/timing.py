"""When an action takes effect: at once, at the end of the billing period, or at an instant that the client names.

Owns: the instant of each. Does not own: reading the request, billing periods (values.calendar).
"""

from __future__ import annotations

from typing import Literal

from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import billing_recurrence
from pipeline.core.values import calendar
from pipeline.core.values.calendar import Recurrence
from pipeline.errors import Rejected

NamedTiming = Literal["immediate", "next_billing_cycle"]
Timing = NamedTiming | int  # an instant, in seconds since 1970

MOST_PAST_S = 2 * calendar.MINUTE_S


def start_of(timing: Timing, now_s: int, billing: Recurrence | None) -> int:
    """When a new subscription begins.

    Args:
        timing: as the client sent it.
        now_s: of the command's record.
        billing: its billing periods, if the client sent an anchor.

    Raises:
        Rejected: `bad-subscription`: an instant over 2 minutes in the past; the next billing cycle without an anchor.
    """
    if timing == "immediate":
        return now_s
    if timing == "next_billing_cycle":
        if billing is None:
            raise Rejected(
                "bad-subscription",
                "timing next_billing_cycle needs a billingAnchor, since a new subscription has no billing cycle",
            )
        return calendar.next_tick(billing, now_s)
    if timing < now_s - MOST_PAST_S:
        raise Rejected("bad-subscription", "timing must not be more than 2 minutes in the past")
    return timing


def end_of(subscription: Subscription, timing: Timing, now_s: int) -> int:
    """When a subscription that is canceled or changed ends.

    Raises:
        Rejected: `bad-subscription`: an instant in the past, or one that is not on a boundary of its billing periods.
    """
    billing = billing_recurrence(subscription)
    if timing == "immediate":
        return now_s
    if timing == "next_billing_cycle":
        return calendar.next_tick(billing, now_s)
    if timing < now_s:
        raise Rejected("bad-subscription", "timing must not be in the past")
    if not calendar.is_tick(billing, timing):
        raise Rejected("bad-subscription", "cannot cancel aligned subscription with custom misaligned timing")
    return timing
