"""Numbers: exact or refused, whatever the decimal context says."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values import number
from pipeline.errors import Rejected

TAKEN = [
    (0, "0"),
    (-0, "0"),
    ("-0", "0"),
    ("-0.0", "0"),
    ("-0e5", "0"),
    ("0e999999999999", "0"),
    (5, "5"),
    ("007", "7"),
    ("+5", "5"),
    (".5", "0.5"),
    ("5.", "5"),
    ("-1.50", "-1.5"),
    ("1e3", "1000"),
    ("1E-3", "0.001"),
    ("15e-1", "1.5"),
    (2**53 + 1, "9007199254740993"),
    ("0.000000000000000001", "0.000000000000000001"),
    ("-0.000000000000000001", "-0.000000000000000001"),
    (10**18 - 1, "999999999999999999"),
    ("-999999999999999999.999999999999999999", "-999999999999999999.999999999999999999"),
    ("1." + "0" * 5000, "1"),
    ("0" * 5000 + "1", "1"),
    ("1e-18", "0.000000000000000001"),
    ("100e-20", "0.000000000000000001"),
    (Decimal("1E+2"), "100"),
    (msgspec.Raw(b"12.5"), "12.5"),
    (msgspec.Raw(b"-1.25e2"), "-125"),
]

PARSED = "value cannot be parsed as a number: "
REFUSED = [
    ("1_000", PARSED),
    ("５", PARSED),  # noqa: RUF001 - a full-width digit
    ("٣.5", PARSED),
    (" 5 ", PARSED),
    ("5\n", PARSED),
    ("1,5", PARSED),
    ("0x10", PARSED),
    ("", PARSED),
    (".", PARSED),
    ("abc", PARSED),
    ("1e", PARSED),
    ("--1", PARSED),
    ("\u00b2", PARSED),
    ("NaN", "value cannot be NaN"),
    ("-nan", "value cannot be NaN"),
    ("sNaN", "value cannot be NaN"),
    (Decimal("NaN"), "value cannot be NaN"),
    ("Inf", "value cannot be infinity"),
    ("+Inf", "value cannot be infinity"),
    ("-Inf", "value cannot be infinity"),
    ("Infinity", "value cannot be infinity"),
    ("-infinity", "value cannot be infinity"),
    (Decimal("-Infinity"), "value cannot be infinity"),
    (None, "value cannot be null"),
    (True, "unsupported value property type"),
    ({}, "unsupported value property type"),
    ([], "unsupported value property type"),
    (0.5, "unsupported value property type"),
    (10**18, "value must be below 10^18"),
    (-(10**18), "value must be below 10^18"),
    (10**400, "value must be below 10^18"),
    ("1e18", "value must be below 10^18"),
    ("1e400", "value must be below 10^18"),
    ("1e" + "9" * 5000, "value must be below 10^18"),
    ("9" * 400, "value must be below 10^18"),
    ("9" * 5000, "value must be below 10^18"),
    (msgspec.Raw(b"1e400"), "value must be below 10^18"),
    ("1e-19", "value has more than 18 decimals"),
    ("1e-" + "9" * 5000, "value has more than 18 decimals"),
    ("0.1234567890123456789", "value has more than 18 decimals"),
    ("12345678901234567890123456789012345678901", "value must be below 10^18"),
]


@pytest.mark.parametrize(("value", "expected"), TAKEN, ids=lambda value: ascii(value)[:24])
def test_a_number_is_taken_exactly(value: object, expected: str) -> None:
    assert number.text(number.atto(value)) == expected


@pytest.mark.parametrize(("value", "detail"), REFUSED, ids=lambda value: ascii(value)[:24])
def test_anything_else_is_refused_with_a_short_reason(value: object, detail: str) -> None:
    with pytest.raises(Rejected, match="value") as refusal:
        number.atto(value)
    assert refusal.value.detail.startswith(detail)
    assert len(refusal.value.detail) < 150


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,50})(\.[0-9]{1,50})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(NUMBERS)
def test_a_canonical_text_is_the_same_number_and_canonical(spelling: str) -> None:
    text = number.canonical(spelling)
    assert Decimal(text) == Decimal(spelling)
    assert number.canonical(text) == text
    whole, _, fraction = text.removeprefix("-").partition(".")
    assert "." not in text or not fraction.endswith("0")
    assert "E" not in text and "+" not in text and text != "-0"
    assert whole == "0" or not whole.startswith("0")


@given(NUMBERS, NUMBERS)
def test_texts_are_equal_where_numbers_are(a: str, b: str) -> None:
    context = decimal.Context(prec=400, Emin=-2000, Emax=2000)
    shifted = f"{context.create_decimal(a) * 1:.60E}"
    assert number.canonical(shifted) == number.canonical(a) or Decimal(shifted) != Decimal(a)
    assert (number.canonical(a) == number.canonical(b)) == (Decimal(a) == Decimal(b))


def test_a_canonical_text_is_never_much_longer_than_the_number() -> None:
    assert number.canonical("1e999999999999") == "1e999999999999"
    assert number.canonical("1" + "0" * 4299) == number.canonical("1e4299") == "1e4299"
    assert number.canonical("0." + "0" * 4200 + "12") == number.canonical("12e-4202") == "12e-4202"
    assert number.canonical("1e" + "9" * 4298).endswith("9")
    assert len(number.canonical("-0." + "9" * 4290)) == 4293


def test_small_and_large_add_exactly() -> None:
    assert number.atto("0.1") + number.atto("0.2") == number.atto("0.3")
    assert number.text(number.atto("1e-12") + number.atto(9 * 10**15)) == "9000000000000000.000000000001"


def test_the_decimal_context_changes_nothing() -> None:
    with decimal.localcontext(decimal.Context(prec=2, capitals=0, traps=[decimal.Inexact])):
        assert number.text(number.atto("123456.789")) == "123456.789"
        assert number.text(number.atto(Decimal("1.2345E+10"))) == "12345000000"
        assert number.text(number.divide(number.atto(1), 3)) == "0.333333333333333333"


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (7, 3, 2), (8, 3, 3), (-8, 3, -3), (0, 5, 0)],
)
def test_division_rounds_half_to_even(total: int, count: int, expected: int) -> None:
    assert number.divide(total, count) == expected


@given(st.integers(-(10**38), 10**38), st.integers(1, 10**9))
def test_division_is_that_of_fractions(total: int, count: int) -> None:
    assert number.divide(total, count) == round(Fraction(total, count))


@given(st.integers(1 - 10**36, 10**36 - 1))
def test_text_reads_back(scaled: int) -> None:
    plain = number.text(scaled)
    assert number.atto(plain) == number.exact(plain) == scaled
    assert Fraction(plain) == Fraction(scaled, 10**18)
    assert "e" not in plain.lower()
    assert plain == "0" or not (plain.endswith("0") and "." in plain)


@given(st.integers(1 - 10**38, 10**38 - 1))
def test_a_total_reads_back(scaled: int) -> None:
    assert number.exact(number.text(scaled)) == scaled


@given(
    st.one_of(
        st.text(), st.from_regex(r"[+-]?[0-9]{0,45}\.?[0-9]{0,45}([eE][+-]?[0-9]{1,8})?", fullmatch=True)
    )
)
def test_text_is_exact_or_refused(text: str) -> None:
    try:
        scaled = number.atto(text)
    except Rejected:
        return
    assert Decimal(text) == Decimal(number.text(scaled))
