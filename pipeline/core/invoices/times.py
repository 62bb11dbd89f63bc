"""When an invoice is collected, may be issued and has to be paid.

Owns: the three instants, steps by an interval to the second. Does not own: who waits for them (machine), reminders
(dunning), the calendar (values.calendar). Instants are whole seconds since 1970; fractions are cut off.

    line ends ── interval ──► collectionAt ── draftPeriod ──► draftUntil ── dueAfter ──► dueAt
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.values import calendar
from pipeline.core.values.calendar import MINUTE_S, Interval


def after_s(at_s: int, interval: Interval, zone: str) -> int:
    """An instant and an interval; its seconds stay, months and days are those of the zone.

    >>> after_s(61, Interval(0, 0, 1), "UTC")
    86461
    """
    second = at_s % MINUTE_S
    return calendar.add(at_s - second, interval, zone=zone) + second


def collection_at_s(created_at_s: int, metered_at_s: Iterable[int], interval: Interval, zone: str) -> int:
    """When the usage of an invoice is complete.

    Args:
        created_at_s: of the invoice, which is never collected before it exists.
        metered_at_s: `invoiceAt` of each line that has a meter; without one there is nothing to wait for.
        interval: for how long late usage is awaited.
        zone: in which its days are counted.
    """
    latest = max(metered_at_s, default=None)
    return created_at_s if latest is None else max(created_at_s, after_s(latest, interval, zone))


def draft_until_s(
    created_at_s: int, collected_at_s: int, auto_advance: bool, period: Interval, zone: str
) -> int | None:
    """Until when a draft may be checked; None: until it is approved."""
    return after_s(max(created_at_s, collected_at_s), period, zone) if auto_advance else None


def due_at_s(
    until_s: int | None, approved_issue_at_s: int | None, due_after: Interval, zone: str
) -> int | None:
    """When an invoice has to be paid; None: not known yet.

    Args:
        until_s: `draftUntil`.
        approved_issue_at_s: when it was issued, if it was approved by hand: then the payment time begins here.
        due_after, zone: the time that the customer has.
    """
    begins_at_s = until_s if approved_issue_at_s is None else approved_issue_at_s
    return None if begins_at_s is None else after_s(begins_at_s, due_after, zone)


def is_overdue(due_s: int | None, now_s: int) -> bool:
    """Whether an unpaid invoice is overdue: from the due instant on."""
    return due_s is not None and now_s >= due_s
