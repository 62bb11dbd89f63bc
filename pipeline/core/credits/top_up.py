"""Low balances and automatic top-ups: pure decisions on the balance before and after a record.

Owns: when a balance crosses a level, when and how much a rule tops up. Does not own: the balance (credit_balance), the
grant and the line of a top-up (bills), rules of notifications (notifications.rule).

A rule has one top-up at a time: until the newest one is paid, or is taken back, there is no other. So credits that
expire before they are paid for, or an invoice that is not paid, are not followed by more of them. And it has limits for
each period, which begins with the first top-up in it: `max_amount`, and MOST_TOP_UPS.

A level is crossed when the balance falls from above it to it or below it, so it fires once until the balance has been
above it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline.core.credits.credit_grant import USUAL_PRIORITY, Availability, CreditGrant, FundingMethod

MOST_TOP_UPS: Final = 100  # of a rule in one period
USUAL_PERIOD: Final = "P1M"


class TopUpRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a customer gets new credits by itself, one rule for a currency. Amounts are in minor units.

    Attributes:
        threshold: a balance of so much or less is topped up.
        amount: that is added; with `target` the least.
        target: the balance is brought up to it; None: `amount` is added.
        cost_basis: what a unit costs, plain decimal text.
        funding: whether an invoice bills it.
        availability: when the new credits can be used.
        expires_after: ISO 8601 duration; None: they do not expire.
        priority: of the grants.
        max_amount: that is added in one period at most; None: it has no limit but the number of top-ups.
        period: ISO 8601 duration.
    """

    currency: str
    threshold: int
    amount: int
    target: int | None = None
    cost_basis: str = "1"
    funding: FundingMethod = "invoice"
    availability: Availability = "on_creation"
    expires_after: str | None = None
    priority: int = USUAL_PRIORITY
    max_amount: int | None = None
    period: str = USUAL_PERIOD


class TopUps(msgspec.Struct, frozen=True, array_like=True):
    """The top-ups of a currency in a period.

    Attributes:
        grant: id of the newest.
        until_ms: the end of the period.
        count, amount: in the period; amount in minor units.
    """

    grant: str
    until_ms: int
    count: int
    amount: int


def has_crossed(before: int, after: int, level: int) -> bool:
    """Whether a balance fell to a level. All in minor units.

    >>> [has_crossed(*one, 10) for one in ((11, 10), (10, 9), (9, 11), (30, -5))]
    [True, False, False, True]
    """
    return before > level >= after


def top_up(rule: TopUpRule, balance: int, waiting: Iterable[int]) -> int:
    """How much is added now, in minor units; 0: nothing.

    Args:
        rule: of the currency.
        balance: that can be used.
        waiting: amounts that were granted and cannot be used yet: they count as if they were there.
    """
    expected = balance + sum(waiting)
    if expected > rule.threshold:
        return 0
    return rule.amount if rule.target is None else max(rule.amount, rule.target - expected)


def is_outstanding(grant: CreditGrant | None) -> bool:
    """Whether a top-up is still to be paid, usable or not. grant: the newest of its rule; None: there is none."""
    if grant is None or grant.purchase is None:
        return False
    return grant.purchase.payment != "settled" and grant.purchase.given_up != "withdrawn"


def allowed(rule: TopUpRule, made: TopUps | None, amount: int, now_ms: int) -> int:
    """How much of a top-up the limits of the running period allow, in minor units; 0: nothing.

    Args:
        rule: that adds it.
        made: before it.
        amount: as `top_up` returns it.
        now_ms: the time of the record.
    """
    running = made if made is not None and now_ms < made.until_ms else None
    if running is not None and running.count >= MOST_TOP_UPS:
        return 0
    if rule.max_amount is None:
        return amount
    room = rule.max_amount - (0 if running is None else running.amount)
    return min(amount, room) if room >= rule.amount else 0


def counted(made: TopUps | None, grant: CreditGrant, next_ms: int) -> TopUps:
    """The top-ups with one more.

    Args:
        made: before it.
        grant: that is added now.
        next_ms: the end of a period that begins now.
    """
    if made is None or made.until_ms <= grant.created_ms:
        return TopUps(grant.id, next_ms, 1, grant.amount)
    return TopUps(grant.id, made.until_ms, made.count + 1, made.amount + grant.amount)
