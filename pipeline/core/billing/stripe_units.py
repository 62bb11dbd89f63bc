"""Exact usage as whole units of Stripe: whole units are sent, the remainder is carried.

Owns: the multiplication, the carry, how many units one event may have. Does not own: which window a unit belongs to
(stripe_window). All numbers are integers: usage and multiplier are in atto (10^-18), a carry is in 10^-36 of a unit,
so that nothing is ever rounded. Source: Stripe's API reference, "Meter events": the value is a whole number of at most
15 digits.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.values.number import SCALE

UNIT = SCALE * SCALE  # a unit in the measure of a carry
MOST_UNITS = 10**15 - 1  # of one event: 15 digits


class Carried(NamedTuple):
    """units: whole ones, negative where usage fell. carry: what is left, in [0, UNIT)."""

    units: int
    carry: int


def take(change_atto: int, multiplier_atto: int, carry: int) -> Carried:
    """Turn a change of usage into whole units.

    However a usage is cut into changes, the units sum to the whole part of usage x multiplier:

    >>> per_thousand = SCALE // 1_000
    >>> first = take(1_700 * SCALE, per_thousand, 0)   # 1.7 units
    >>> second = take(1_400 * SCALE, per_thousand, first.carry)   # 3.1 in all
    >>> (first.units, second.units, second.carry * 10 // UNIT)
    (1, 2, 1)
    >>> take(-200 * SCALE, per_thousand, second.carry).units   # 2.9 in all: one unit is taken back
    -1

    Args:
        change_atto: of the usage, in atto.
        multiplier_atto: units of Stripe for one unit of usage, in atto, above 0.
        carry: what the changes before left.
    """
    units, rest = divmod(carry + change_atto * multiplier_atto, UNIT)
    return Carried(units, rest)


def first_part(units: int) -> int:
    """As much of `units` as one event may have.

    >>> first_part(7), first_part(-10**16)
    (7, -999999999999999)
    """
    return max(-MOST_UNITS, min(MOST_UNITS, units))
