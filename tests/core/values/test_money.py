"""Amounts of money: the one rounding, and parts that add up."""

from __future__ import annotations

import doctest
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values import currency, money
from pipeline.core.values.currency import DIGITS, digits_of
from pipeline.errors import Broken, Rejected


@pytest.mark.parametrize("module", [money, currency])
def test_the_examples_are_true(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted and not result.failed


@given(st.integers(-(10**40), 10**40), st.integers(1, 10**20))
def test_rounding_is_half_away_from_zero(numerator: int, denominator: int) -> None:
    value, found = Fraction(numerator, denominator), money.rounded(numerator, denominator)
    assert abs(value - found) <= Fraction(1, 2)
    if abs(value - found) == Fraction(1, 2):
        assert abs(found) > abs(value)
    assert money.rounded(-numerator, denominator) == -found


@given(st.lists(st.integers(-(10**6), 10**6), max_size=8), st.integers(1, 1000))
def test_parts_add_up(numerators: list[int], denominator: int) -> None:
    parts = money.apportion(numerators, denominator)
    assert sum(parts) == money.rounded(sum(numerators), denominator)
    assert all(
        abs(part - Fraction(exact, denominator)) <= 1 for part, exact in zip(parts, numerators, strict=True)
    )


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.integers(1, 1000), st.integers(-1, 1))
def test_parts_add_up_to_a_total_that_is_given(numerators: list[int], denominator: int, more: int) -> None:
    total = sum(numerators) // denominator + more
    if total >= 0:
        assert sum(money.apportion(numerators, denominator, total)) == total


def test_a_total_out_of_reach_is_an_error() -> None:
    with pytest.raises(Broken, match="cannot be rounded"):
        money.apportion([10], 10, 3)
    assert money.apportion([], 10) == []


@pytest.mark.parametrize(
    ("code", "digits"), [("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("VND", 0), ("HUF", 2)]
)
def test_digits(code: str, digits: int) -> None:
    assert digits_of(code) == digits


@pytest.mark.parametrize("code", ["usd", "XXX", "EURO", "", None, 978])
def test_no_currency(code: object) -> None:
    with pytest.raises(Rejected, match="is not a code of ISO 4217, such as USD"):
        digits_of(code)


def test_codes_are_three_letters_and_each_is_listed_once() -> None:
    codes = [code for codes in currency._CODES.values() for code in codes.split()]
    assert len(set(codes)) == len(codes) == len(DIGITS)
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in codes)
