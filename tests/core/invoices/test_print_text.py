"""Amounts and dates of a page: no digit is lost, and a day is that of the zone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices.line import LinePeriod
from pipeline.core.invoices.print_text import MINUS, amount, day, money, percent, period, quantity
from tests.fixtures.invoices_to_print import plain

DECIMALS = st.decimals(-(10**17), 10**17, places=18, allow_nan=False)


@given(DECIMALS, st.sampled_from(["JPY", "EUR", "KWD"]))
def test_no_digit_is_lost(value: Decimal, currency: str) -> None:
    for shown in (amount(f"{value:f}", currency), quantity(f"{value:f}")):
        assert Decimal(shown.replace(",", "").replace(MINUS, "-")) == value


@pytest.mark.parametrize(
    ("text", "currency", "shown"),
    [("0", "EUR", "€0.00"), ("-0", "EUR", "€0.00"), ("0.5", "JPY", "¥0.5"), ("12.3456", "KWD", "KWD 12.3456"),
     ("1000000", "USD", "$1,000,000.00"), ("-0.05", "USD", "-$0.05"), ("5", "ANG", "ANG 5.00")],
)  # fmt: skip
def test_an_amount_has_its_symbol_and_decimals(text: str, currency: str, shown: str) -> None:
    assert plain(money(text, currency)) == shown


def test_a_percentage_has_no_zeros_at_its_end() -> None:
    assert [plain(percent(text)) for text in ("19", "7.50", "100", "0")] == [
        "19 %", "7.5 %", "100 %", "0 %",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "end", "zone", "shown"),
    [
        # The clock changes in both months: they are still whole days.
        ("2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", "Europe/Berlin", "1 Mar 2026 - 31 Mar 2026"),
        ("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", "Europe/Berlin", "1 Oct 2026 - 31 Oct 2026"),
        ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "UTC", "1 Mar 2026"),
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", "Z", "1 Mar 2026"),
        ("2026-03-01T00:00:01Z", "2026-03-02T00:00:00Z", "UTC", "1 Mar 2026 00:00:01 - 2 Mar 2026 00:00"),
        ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", "Asia/Tokyo", "1 Mar 2026 09:00 - 1 Apr 2026 09:00"),
    ],
)
def test_a_period_of_whole_days_ends_with_its_last_day(start: str, end: str, zone: str, shown: str) -> None:
    assert plain(period(LinePeriod(start, end), zone)) == shown


def test_a_day_is_that_of_the_zone() -> None:
    at = "2026-12-31T23:30:00.000Z"
    assert (day(at, "UTC"), day(at, "Europe/Berlin")) == ("31 Dec 2026", "1 Jan 2027")
