"""Totals are sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices.totals import InvoiceTotals, check_totals, summed
from pipeline.core.values import number
from pipeline.errors import Broken

AMOUNTS = st.integers(-(10**9), 10**9).map(lambda cents: number.text(cents * 10**16))


@st.composite
def totals(draw: st.DrawFn) -> InvoiceTotals:
    amount, charges, discounts, credits, inclusive, exclusive = (
        number.parse(draw(AMOUNTS)) for _ in range(6)
    )
    return InvoiceTotals(
        amount=number.text(amount),
        charges_total=number.text(charges),
        discounts_total=number.text(discounts),
        credits_total=number.text(credits),
        taxes_inclusive_total=number.text(inclusive),
        taxes_exclusive_total=number.text(exclusive),
        taxes_total=number.text(inclusive + exclusive),
        total=number.text(amount + charges + exclusive - discounts - credits),
    )


@given(parts=st.lists(totals(), max_size=6), cut=st.integers(0, 6))
def test_a_sum_of_sums_is_the_sum_and_keeps_the_rule(parts: list[InvoiceTotals], cut: int) -> None:
    whole = summed(parts)
    check_totals(whole)
    assert whole == summed([summed(parts[:cut]), summed(parts[cut:])])
    assert whole == summed(reversed(parts))


@pytest.mark.parametrize(
    "wrong", [InvoiceTotals(amount="1"), InvoiceTotals(total="1"), InvoiceTotals(taxes_total="1")]
)
def test_a_total_that_is_no_sum_is_an_error(wrong: InvoiceTotals) -> None:
    with pytest.raises(Broken):
        check_totals(wrong)
