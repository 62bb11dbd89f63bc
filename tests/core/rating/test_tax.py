"""Taxes: once for a rate, shared to lines, and notes that add up."""

from __future__ import annotations

import doctest
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.rating import tax as module
from pipeline.core.rating.tax import (
    Tax,
    TaxedAmount,
    TaxRate,
    note_tax,
    read_tax_rates,
    share_with_tax,
    taxes,
)
from pipeline.core.values import money
from pipeline.errors import Rejected
from tests.fixtures.examples import examples

RATES = [TaxRate("vat", Decimal(19)), TaxRate("low", Decimal("7.5"), "inclusive")]
rates = st.builds(
    TaxRate,
    st.just("vat"),
    st.integers(0, 100_000).map(lambda thousandths: Decimal(thousandths) / 1000),
    st.sampled_from(("inclusive", "exclusive")),
)
amounts = st.integers(-(10**6), 10**6)


def exact(amount: int, rate: TaxRate) -> Fraction:
    percent = Fraction(rate.percent)
    return amount * percent / (100 + percent if rate.behavior == "inclusive" else 100)


def test_each_rate_is_its_own_and_a_code_without_a_rate_has_no_tax() -> None:
    lines = [
        TaxedAmount(100, "vat"),
        TaxedAmount(1075, "low"),
        TaxedAmount(100, None),
        TaxedAmount(100, "other"),
    ]
    assert taxes(lines, RATES) == [Tax(19), Tax(75, "inclusive"), Tax(0), Tax(0)]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([3, 3], [1, 0]),  # 1.14: not 0.57 rounded twice
        ([100, -100], [19, -19]),
        ([10, -3], [2, -1]),  # 1.9 and -0.57: 1.33
        ([0, 5], [0, 1]),
        ([], []),
    ],
)
def test_lines(lines: list[int], found: list[int]) -> None:
    assert [tax.amount for tax in taxes([TaxedAmount(line, "vat") for line in lines], RATES)] == found


@settings(max_examples=examples(100))
@given(st.lists(amounts, max_size=8), rates)
def test_tax_is_rounded_once_and_its_parts_add_up(lines: list[int], rate: TaxRate) -> None:
    found = taxes([TaxedAmount(line, "vat") for line in lines], [rate])
    total = exact(sum(lines), rate)
    assert sum(tax.amount for tax in found) == money.rounded(total.numerator, total.denominator)
    assert all(abs(tax.amount - exact(line, rate)) <= 1 for tax, line in zip(found, lines, strict=True))


@settings(max_examples=examples(100))
@given(st.lists(st.integers(0, 10**5), min_size=1, max_size=8), rates)
def test_the_tax_of_all_notes_is_the_tax_of_the_invoice(notes: list[int], rate: TaxRate) -> None:
    credited = credited_tax = 0
    for note in notes:
        tax = note_tax(note, credited, credited_tax, rate)
        assert tax >= 0
        credited, credited_tax = credited + note, credited_tax + tax
    assert credited_tax == taxes([TaxedAmount(sum(notes), "vat")], [rate])[0].amount


@settings(max_examples=examples(100))
@given(st.integers(0, 10**20), st.integers(0, 31), rates)
def test_a_share_and_its_tax_are_each_rounded_from_the_exact_value(
    fee: int, part: int, rate: TaxRate
) -> None:
    found = share_with_tax(fee, part, 31, rate, 2)
    net = Fraction(fee * part, 31 * 10**16)
    gross = net if rate.behavior == "inclusive" else net * (1 + Fraction(rate.percent) / 100)
    assert found.total == money.rounded(gross.numerator, gross.denominator)
    assert abs(found.net - (gross - exact_tax(gross, rate))) <= 1


def exact_tax(gross: Fraction, rate: TaxRate) -> Fraction:
    percent = Fraction(rate.percent)
    return gross * percent / (100 + percent)


def test_rates_come_back() -> None:
    sent: list[dict[str, object]] = [
        {"code": "vat", "percent": 19},
        {"code": "low", "percent": "7.50", "behavior": "inclusive"},
    ]
    found = read_tax_rates("profile", sent)
    assert found == (TaxRate("vat", Decimal(19)), TaxRate("low", Decimal("7.5"), "inclusive"))
    assert msgspec.convert(msgspec.to_builtins(found), tuple[TaxRate, ...]) == found


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({}, "profile taxRates[0] code is required"),
        ({"code": "vat"}, "profile taxRates[0] percent must be a number from 0 to 100"),
        ({"code": "vat", "percent": 101}, "percent must be a number from 0 to 100"),
        ({"code": "vat", "percent": -1}, "percent must not be negative"),
        ({"code": "vat", "percent": 1, "behavior": "none"}, "behavior must be one of inclusive, exclusive"),
        ({"code": "vat", "percent": 1, "rate": 1}, "unknown member 'rate'"),
    ],
)
def test_refused_rates(sent: dict[str, Any], detail: str) -> None:
    with pytest.raises(Rejected) as refusal:
        read_tax_rates("profile", [sent])
    assert (refusal.value.reason, detail in refusal.value.detail) == ("bad-profile", True), (
        refusal.value.detail
    )


def test_a_code_has_one_rate() -> None:
    with pytest.raises(Rejected, match=r"taxRates\[1\] code vat has a rate already"):
        read_tax_rates("profile", [{"code": "vat", "percent": 1}] * 2)


def test_the_examples_are_true() -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
