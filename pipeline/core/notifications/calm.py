"""Levels at which no threshold makes news, so that most records need not be judged.

Owns: the levels around one at which the same thresholds are met. Does not own: what is news (threshold).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.core.notifications.threshold import Level, Threshold
from pipeline.core.values import number

HUNDRED = 100 * number.SCALE
AMOUNTS = 10**60  # atto: more than any amount


class Calm(NamedTuple):
    """The levels at which the same thresholds are met: judged there once, they make no news there.

    Amounts are atto. usage: [from, to). balance: (over, to].
    """

    total_available: int
    usage_from: int
    usage_to: int
    balance_over: int
    balance_to: int

    def holds(self, level: Level) -> bool:
        """Whether a level is one of them."""
        return (
            level.total_available == self.total_available
            and self.usage_from <= level.usage < self.usage_to
            and self.balance_over < level.balance <= self.balance_to
        )


def calm_around(thresholds: Iterable[Threshold], level: Level) -> Calm:
    """The levels around one at which the same thresholds are met.

    Args:
        thresholds: of any number of rules.
        level: one of the levels.

    >>> half, ten = Threshold("usage_percentage", 50 * number.SCALE), Threshold("balance_value", 10 * number.SCALE)
    >>> found = calm_around([half, ten], Level(14 * number.SCALE, 6 * number.SCALE, 20 * number.SCALE))
    >>> found.usage_to // number.SCALE, found.balance_over // number.SCALE
    (10, 10)
    """
    total, usage, balance = level.total_available, level.usage, level.balance
    usage_from, usage_to, balance_over, balance_to = -AMOUNTS, AMOUNTS, -AMOUNTS, AMOUNTS
    for threshold in thresholds:
        limit = threshold.value
        if threshold.kind != "usage_value" and total <= 0:
            continue
        if threshold.kind == "balance_value":
            if balance <= limit:
                balance_to = min(balance_to, limit)
            else:
                balance_over = max(balance_over, limit)
            continue
        if threshold.kind == "usage_percentage":
            limit = -(-limit * total // HUNDRED)
        if limit <= usage:
            usage_from = max(usage_from, limit)
        else:
            usage_to = min(usage_to, limit)
    return Calm(total, usage_from, usage_to, balance_over, balance_to)
