"""Amounts of money: integers in the smallest unit of a currency (cents), and how exact values become such.

Owns: the one rounding (half away from zero), decimal text, splitting an amount so that its parts add up. Does not own:
which currency has how many digits (currency), when something is rounded (rating, tax).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from pipeline.core.values import number
from pipeline.errors import Broken

_UNITS: tuple[int, ...] = tuple(10 ** (number.DECIMALS - digits) for digits in range(number.DECIMALS + 1))


def rounded(numerator: int | Fraction, denominator: int) -> int:
    """The quotient as a whole number, half away from zero.

    Args:
        denominator: above 0.

    >>> rounded(5, 2), rounded(-5, 2), rounded(7, 3), rounded(-1, 3)
    (3, -3, 2, 0)
    """
    if numerator < 0:
        return -((denominator - 2 * numerator) // (2 * denominator))
    return (denominator + 2 * numerator) // (2 * denominator)


def minor(amount_atto: int, digits: int) -> int:
    """An exact amount in minor units.

    >>> minor(12_345 * number.SCALE // 1_000, 2)   # 12.345
    1235
    """
    return rounded(amount_atto, _UNITS[digits])


def unit(digits: int) -> int:
    """The smallest unit of a currency with so many decimals, or of a quantity, in atto."""
    return _UNITS[digits]


def atto(amount: int, digits: int) -> int:
    """An amount in minor units, in atto."""
    return amount * _UNITS[digits]


def text(amount: int, digits: int) -> str:
    """Plain decimal text of an amount in minor units, without zeros at the end.

    >>> text(1050, 2), text(-5, 2), text(700, 0), text(0, 3)
    ('10.5', '-0.05', '700', '0')
    """
    return number.text(amount * _UNITS[digits]) if amount else "0"


def apportion(numerators: Sequence[int], denominator: int, total: int | None = None) -> list[int]:
    """Round parts so that they add up to the rounded sum: largest remainder, ties to the earlier part.

    Args:
        numerators: the exact parts, each over `denominator`.
        denominator: above 0.
        total: that the parts add up to; None: the rounded sum of the exact parts. One given must not be further from
            that sum than there are parts.

    Returns:
        A whole number for each part, less than 1 away from the exact one, but for a `total` that lies further away.

    Raises:
        Broken: `total` is out of reach.

    >>> apportion([10, 10, 10], 3), apportion([1, 1, 1], 3), apportion([5, -15], 10)
    ([4, 3, 3], [1, 0, 0], [1, -2])
    """
    parts, remainders = [], []
    for numerator in numerators:
        whole, rest = divmod(numerator, denominator)
        parts.append(whole)
        remainders.append(rest)
    wanted = rounded(sum(numerators), denominator) if total is None else total
    missing = wanted - sum(parts)
    if abs(missing) > len(parts):
        raise Broken(f"{len(parts)} parts cannot be rounded so that they add up to {wanted}.")
    order = sorted(range(len(parts)), key=lambda place: (-remainders[place], place))
    step = 1 if missing > 0 else -1
    if missing < 0:
        order.reverse()
    for place in order[: abs(missing)]:
        parts[place] += step
    return parts
