"""What a burnt credit was sold for.

Owns: revenue of burns by cost basis, the price of a grant. Does not own: which grant burns (burn_down).

A pack of 100 that is sold at 80 has a cost basis of 0.8. Revenue is rounded over all that a grant has burnt so far, so
that the parts of a pack add up to its price: the remainder is in the last burn.
"""

from __future__ import annotations

from pipeline.core.values import money, number


def price_of(amount: int, cost_basis: str) -> int:
    """What an amount of credits costs. amount: in minor units, as is the price.

    >>> price_of(10_000, "0.8"), price_of(333, "0.5")
    (8000, 167)
    """
    return money.rounded(amount * number.parse(cost_basis), number.SCALE)


def revenue_of(burnt_before: int, amount: int, cost_basis: str) -> int:
    """The revenue of a burn, in minor units; below 0: of what came back.

    Args:
        burnt_before: of the grant, in minor units.
        amount: that it pays now; below 0: that comes back.
        cost_basis: of the grant.

    >>> [revenue_of(before, 1, "0.5") for before in range(4)]
    [1, 0, 1, 0]
    """
    return price_of(burnt_before + amount, cost_basis) - price_of(burnt_before, cost_basis)
