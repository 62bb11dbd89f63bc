"""Taxes of an invoice: rounded once a rate, shared so that details, lines and invoice add up."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog.tax_config import TaxConfig, read_tax_config
from pipeline.core.invoices.invoice import with_lines
from pipeline.core.invoices.line import InvoiceLine, LineRateCard, shown, with_details
from pipeline.core.invoices.taxed_lines import codes_without_rate, tax_code, with_taxes
from pipeline.core.invoices.totals import InvoiceTotals, check_totals
from pipeline.core.rating.tax import TaxBehavior, TaxRate
from pipeline.core.values import money
from tests.core.invoices.invoices import AT, content, detail, line

VAT = TaxRate("default", Decimal("19"))


def billed(name: str, *cents: int, tax: dict[str, object] | None = None) -> InvoiceLine:
    config = None if tax is None else read_tax_config("line", tax, "taxConfig")
    of = line(name, rate_card=LineRateCard(price=line().rate_card.price, tax_config=config))
    texts = [money.text(amount, 2) for amount in cents]
    children = [
        detail(of, f"d{place}", text, totals=InvoiceTotals(amount=text, total=text))
        for place, text in enumerate(texts)
    ]
    return with_details(of, tuple(children))


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (None, "default"),
        ({}, "default"),
        ({"behavior": "exclusive"}, "default"),
        ({"stripe": {"code": "txcd_10000000"}}, "txcd_10000000"),
        ({"stripe": {"code": "txcd_10000000"}, "customInvoicing": {"code": "mine"}}, "mine"),
        ({"taxCodeId": "01T", "customInvoicing": {"code": "mine"}}, "01T"),
    ],
)
def test_the_code_of_a_line(config: dict[str, object] | None, code: str) -> None:
    assert tax_code(billed("a", 1, tax=config)) == code


@given(
    cents=st.lists(st.lists(st.integers(-500, 500), max_size=4), max_size=5),
    percent=st.integers(0, 100),
    inclusive=st.booleans(),
)
def test_the_tax_of_an_invoice_is_rounded_once(cents: list[list[int]], percent: int, inclusive: bool) -> None:
    behavior: TaxBehavior = "inclusive" if inclusive else "exclusive"
    rates = [TaxRate("default", Decimal(percent), behavior)]
    lines = with_taxes(tuple(billed(str(place), *of) for place, of in enumerate(cents)), rates, "USD")
    totals = with_lines(content(), lines).totals
    check_totals(totals)
    for one in lines:
        check_totals(one.totals)
        for child in one.children:
            check_totals(child.totals)
    net = sum(map(sum, cents))
    exact = Decimal(net * percent) / (100 + percent if inclusive else 100)
    assert Decimal(totals.taxes_total) == exact.quantize(Decimal(1), ROUND_HALF_UP) / 100
    assert Decimal(totals.total) == (net + (0 if inclusive else Decimal(totals.taxes_total) * 100)) / Decimal(
        100
    )
    assert with_taxes(lines, rates, "USD") == lines


def test_without_rates_lines_stay_as_they_are_and_lose_the_taxes_that_they_had() -> None:
    plain = (billed("a", 1000, -1000), billed("b", 1070))
    assert with_taxes(plain, [], "USD") is plain
    taxed = with_taxes(plain, [VAT], "USD")
    assert taxed[0].totals.taxes_total == "0"  # the taxes of its components are not
    assert with_taxes(taxed, [], "USD") == plain


def test_each_code_has_its_rate() -> None:
    books = TaxRate("books", Decimal("7"), "inclusive")
    lines = (
        billed("a", 1000),
        billed("b", 1070, tax={"customInvoicing": {"code": "books"}}),
        billed("c", 500, tax={"taxCodeId": "unknown"}),
        msgspec.structs.replace(billed("d", 900), deleted_at=AT),
    )
    taxed = with_taxes(lines, [VAT, books], "USD")
    assert [one.totals.taxes_exclusive_total for one in taxed] == ["1.9", "0", "0", "0"]
    assert [one.totals.taxes_inclusive_total for one in taxed] == ["0", "0.7", "0", "0"]
    assert [one.totals.total for one in taxed] == ["11.9", "10.7", "5", "9"]
    assert [len(one.taxes) for one in taxed] == [1, 1, 0, 0]
    assert b'"taxes":[{"percent":19,"behavior":"exclusive"}]' in msgspec.json.encode(shown(taxed[0]))


def test_new_rates_replace_the_taxes_before() -> None:
    once = with_taxes((billed("a", 1000),), [VAT], "USD")
    again = with_taxes(once, [TaxRate("default", Decimal("10"))], "USD")
    assert again[0].totals.total == "11"
    assert with_taxes(again, [], "USD") == (billed("a", 1000),)


def test_what_a_credit_pays_is_not_taxed() -> None:
    of = billed("a", 1000)
    totals = InvoiceTotals(amount="10", credits_total="4", total="6")
    (taxed,) = with_taxes(
        (with_details(of, (msgspec.structs.replace(of.children[0], totals=totals),)),), [VAT], "USD"
    )
    assert (taxed.totals.taxes_total, taxed.totals.total) == ("1.14", "7.14")


def test_a_line_without_a_configuration_has_that_of_the_profile() -> None:
    usual = TaxConfig(tax_code_id="reduced")
    lines = (billed("a", 100), billed("b", 100, tax={"taxCodeId": "default"}))
    rates = [VAT, TaxRate("reduced", Decimal(7))]
    taxed = with_taxes(lines, rates, "USD", usual)
    assert [one.totals.taxes_total for one in taxed] == ["0.07", "0.19"]
    assert [one.taxes[0].percent for one in taxed] == [7, 19]
    assert codes_without_rate(lines, [VAT], usual) == ["reduced"]
    assert codes_without_rate(lines, rates, usual) == codes_without_rate((), []) == []
