"""Whole units: nothing is lost and nothing is rounded, however usage is cut."""

from __future__ import annotations

from fractions import Fraction
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.billing.stripe_units import MOST_UNITS, UNIT, first_part, take
from pipeline.core.values.number import SCALE

CHANGES = st.lists(st.integers(-(10**21), 10**21), max_size=20)


@given(changes=CHANGES, multiplier_atto=st.integers(1, 10**24))
def test_units_sum_to_the_whole_part_however_usage_is_cut(changes: list[int], multiplier_atto: int) -> None:
    carry, units = 0, 0
    for change in changes:
        taken = take(change, multiplier_atto, carry)
        carry, units = taken.carry, units + taken.units
        assert 0 <= carry < UNIT
    exact = Fraction(sum(changes), SCALE) * Fraction(multiplier_atto, SCALE)
    assert units == floor(exact)
    assert Fraction(carry, UNIT) == exact - units


@given(units=st.integers(-(10**18), 10**18))
def test_parts_have_at_most_15_digits_and_sum_to_the_units(units: int) -> None:
    left, parts = units, []
    while left:
        parts.append(first_part(left))
        left -= parts[-1]
    assert sum(parts) == units
    assert all(0 < abs(part) <= MOST_UNITS for part in parts)
