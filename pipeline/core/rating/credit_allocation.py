"""Which part of a line is paid by which credit.

Owns: that sharing, component by component in the line's order. Does not own: grants, in which order they are used, and
their balances (the caller gives amounts in that order). Credits are no part of a rating: they pay what a line owes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.core.rating.detail import RatedDetail


class CreditAllocation(NamedTuple):
    """credit: place of the credit among those given. amount: in minor units, above 0."""

    credit: int
    amount: int


def allocate(details: Sequence[RatedDetail], credits: Sequence[int]) -> list[list[CreditAllocation]]:
    """Pay components with credits, in order, never below 0.

    Args:
        details: of a line, commitments too.
        credits: amounts in minor units, in the order in which they are used.

    Returns:
        The allocations of each component. What a credit has left is its amount less its allocations.

    >>> lines = [RatedDetail("a", 0, 0, 100), RatedDetail("b", 0, 0, 50)]
    >>> [[tuple(one) for one in paid] for paid in allocate(lines, [125, 10])]
    [[(0, 100)], [(0, 25), (1, 10)]]
    """
    left = list(credits)
    paid = []
    place = 0
    for detail in details:
        owed, allocations = detail.total, []
        while owed > 0 and place < len(left):
            amount = min(owed, left[place])
            if amount > 0:
                allocations.append(CreditAllocation(place, amount))
                owed -= amount
                left[place] -= amount
            if not left[place]:
                place += 1
        paid.append(allocations)
    return paid
