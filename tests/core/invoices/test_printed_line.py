"""Rows of a line: its components, what was taken off, and why it is there."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from pipeline.core.invoices.line import InvoiceLine, LineTax
from pipeline.core.invoices.printed_line import printed_line, tax_label
from pipeline.core.values import number
from tests.fixtures.invoices_to_print import BERLIN, GRADUATED, INVOICES, NUMBERS, UNIT, line, plain

LINES = {f"{name} {one.name}": one for name, made in INVOICES.items() for one in made().content.lines}


def read(amount: str) -> int:
    return number.parse(plain(amount).replace(",", ""))


@pytest.mark.parametrize("name", LINES)
def test_the_rows_of_a_line_add_up_to_its_amount(name: str) -> None:
    shown = printed_line(LINES[name], BERLIN, NUMBERS)
    if shown.rows:
        assert sum(read(row.amount) for row in shown.rows) == read(shown.amount)
    elif shown.unit_price:
        exact = read(shown.quantity.split()[0]) * read(shown.unit_price)
        assert abs(exact // number.SCALE - read(shown.amount)) <= number.SCALE // 2


def rows(of: InvoiceLine) -> list[tuple[str, str, str, str]]:
    found = printed_line(of, BERLIN, NUMBERS).rows
    return [(row.name, row.note, row.quantity, plain(row.amount)) for row in found]


def test_each_tier_names_the_usage_in_it() -> None:
    assert rows(line("Requests", GRADUATED, "56700")) == [
        ("Flat price for tier 1", "up to 1,000", "1", "10.00"),
        ("Usage price for tier 2", "above 1,000 up to 50,000", "49,000", "980.00"),
        ("Reduced to the maximum of the price", "", "", "-90.00"),
        ("Usage price for tier 3", "above 50,000", "6,700", "100.50"),
        ("Reduced to the maximum of the price", "", "", "-100.50"),
    ]


def test_a_line_of_one_price_needs_no_rows() -> None:
    shown = printed_line(line("Tokens", UNIT, "5000000"), BERLIN, {})
    assert (shown.quantity, shown.unit_price, shown.amount, shown.rows) == (
        "5,000,000",
        "0.000012",
        "60.00",
        (),
    )


def test_a_minimum_alone_is_named() -> None:
    assert rows(line("Support", {**UNIT, "minimumAmount": "25"}, "0")) == [
        ("Minimum spend", "", "1", "25.00")
    ]


def test_a_line_without_cost_shows_what_was_used() -> None:
    free = line("Tokens", {"type": "package", "amount": "0", "quantityPerPackage": "10"}, "25")
    shown = printed_line(free, BERLIN, {})
    assert (shown.quantity, shown.amount) == ("3", "0.00")


def test_a_correction_names_the_invoice_if_it_is_known() -> None:
    one = LINES["long Tokens 1"]
    assert printed_line(one, BERLIN, NUMBERS).notes == ("Correction of invoice INV-ACME-40",)
    assert printed_line(one, BERLIN, {}).notes == ("Correction of an earlier invoice",)


def test_notes_name_free_and_earlier_usage() -> None:
    assert printed_line(LINES["long Egress 0"], BERLIN, {}).notes == ("700 metered", "500 free of charge")
    part = printed_line(LINES["long Tokens 0"], BERLIN, {})
    assert tuple(map(plain, part.notes)) == (
        "Part of 1 Nov 2026 - 30 Nov 2026",
        "40,000 were used in the period before",
    )


def test_a_tax_in_the_amount_is_marked() -> None:
    tax = LineTax(percent=Decimal("7.50"), behavior="inclusive")
    assert plain(tax_label(tax)) == "7.5 % incl."
    assert plain(tax_label(msgspec.structs.replace(tax, behavior="exclusive"))) == "7.5 %"
