"""Since when usage has been at or above an amount.

Owns: the search, step by step. Does not own: where the steps come from, which are minutes in memory (history) or rows
of minutes and hours in state (account_usage).
"""

from __future__ import annotations


class LastCrossing:
    """A search over steps of usage in their order.

    Usage may be taken back, so the last time counts at which the amount was reached, not the first. Below, 7 and 4
    reach the amount of 10 at 60 s; -2 falls below it; 3 reaches it again at 180 s.

    >>> search = LastCrossing(10)
    >>> for minute_s, value in [(0, 7), (60, 4), (120, -2), (180, 3), (240, 1)]:
    ...     search.step(minute_s, value)
    ...     print(search.total, search.since_s)
    7 None
    11 60
    9 None
    12 180
    13 180
    """

    def __init__(self, amount: int, latest: bool = False) -> None:
        """Begin before the first step.

        Args:
            amount: that is to be reached, in atto.
            latest: whether a step replaces the one before (LATEST) instead of adding to it.
        """
        self._amount = amount
        self._latest = latest
        self.total = 0
        self.since_s: int | None = None

    def after(self, value: int) -> int:
        """The total that a step of `value` leads to, in atto."""
        return value if self._latest else self.total + value

    def step(self, at_s: int, value: int) -> None:
        """Take the next step.

        Args:
            at_s: its instant, in seconds since 1970.
            value: its usage, in atto; below zero where usage was taken back.
        """
        self.total = self.after(value)
        if self.total < self._amount:
            self.since_s = None
        elif self.since_s is None:
            self.since_s = at_s
