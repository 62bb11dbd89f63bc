"""Low balances and automatic top-ups: pure decisions on the balance before and after a record.

Owns: when a balance crosses a level, when and how much a rule tops up. Does not own: the balance (credit_balance), the
grant and the line of a top-up (bills), rules of notifications (notifications.rule).

A level is crossed when the balance falls from above it to it or below it, so it fires once until the balance has been
above it again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core.credits.credit_grant import USUAL_PRIORITY, Availability, FundingMethod


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
