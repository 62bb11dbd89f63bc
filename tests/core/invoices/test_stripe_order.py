"""An invoice as items for Stripe: every amount is ours, and they sum to our total."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from pipeline.core.billing.stripe_amount import stripe_digits
from pipeline.core.billing.stripe_request import StripeTarget, params_of
from pipeline.core.invoices.invoice import InvoiceContent, InvoiceExternalIds, with_lines
from pipeline.core.invoices.line import with_details
from pipeline.core.invoices.stripe_order import MOST_ITEMS, check_order, items_of, order_of, total_of
from pipeline.core.invoices.taxed_lines import with_taxes
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.rating.tax import TaxRate
from pipeline.errors import Broken, Rejected
from pipeline.records import StripeOrder
from tests.core.invoices.invoices import START_S, content, detail, flat
from tests.core.invoices.states import NOW_S, in_state

DAY_S = 86_400


def of(currency: str, *amounts: str | Sequence[str]) -> InvoiceContent:
    """An invoice with a line for each amount, or for each list of the amounts of its details."""
    lines = []
    for place, one in enumerate(amounts):
        made = msgspec.structs.replace(flat(f"Line {place}"), currency=currency)
        details = [one] if isinstance(one, str) else one
        lines.append(
            with_details(
                made,
                tuple(detail(made, f"part-{n}", amount, name=made.name) for n, amount in enumerate(details)),
            )
        )
    return with_lines(content(currency=currency), tuple(lines))


@pytest.mark.parametrize(
    ("currency", "amounts", "sent", "total"),
    [
        ("USD", ["10.5", "0.01"], [1050, 1], 1051),
        ("JPY", ["1050", "7"], [1050, 7], 1057),
        ("KWD", ["1.25"], [1250], 1250),
        ("ISK", ["3"], [300], 300),
        ("USD", ["20", "-5.5"], [2000, -550], 1450),
        ("EUR", ["5", "-5"], [500, -500], 0),
        ("EUR", ["0"], [0], 0),
        ("USD", [["1", "2"], ["3"]], [100, 200, 300], 600),
    ],
)
def test_each_detail_is_an_item(currency: str, amounts: list[str], sent: list[int], total: int) -> None:
    found = items_of(of(currency, *amounts))
    assert ([one.amount for one in found], total_of(found)) == (sent, total)


def reduced(discount: str, credit: str) -> InvoiceContent:
    """A line of 10 in one detail, less a discount and a credit."""
    made = flat()
    total = str(Decimal(10) - Decimal(discount) - Decimal(credit))
    totals = InvoiceTotals(amount="10", discounts_total=discount, credits_total=credit, total=total)
    return with_lines(content(), (with_details(made, (detail(made, "flat", "10", totals=totals),)),))


def test_discounts_and_credits_are_items_below_zero() -> None:
    found = items_of(reduced("1.5", "2"))
    assert [(one.kind, one.amount) for one in found] == [("line", 1000), ("discount", -150), ("credit", -200)]
    assert len({one.line for one in found}) == 1


def test_an_item_shows_quantity_and_price_and_the_period_of_its_line() -> None:
    made = flat()
    shown = detail(made, "usage", "0.3", quantity="3", per_unit_amount="0.1")
    (found,) = items_of(with_lines(content(), (with_details(made, (shown,)),)))
    assert found.description == "Seats: usage in period (3 x 0.1 USD)"
    assert (found.start_s, found.end_s) == (START_S, START_S + 10 * 3600)


@pytest.mark.parametrize("behavior", ["exclusive", "inclusive"])
def test_taxes_go_along_as_amounts(behavior: str) -> None:
    rate = TaxRate(code="default", percent=Decimal("19"), behavior=behavior)  # type: ignore[arg-type]
    lines = with_taxes(of("EUR", "10.05", ["3", "0.99"]).lines, [rate], "EUR")
    taxed = with_lines(content(currency="EUR"), lines)
    found = items_of(taxed)
    taxes = [tax for one in found for tax in one.taxes]
    assert {(tax.percent, tax.inclusive) for tax in taxes} == {("19", behavior == "inclusive")}
    assert sum(tax.amount for tax in taxes) == round(Decimal(taxed.totals.taxes_total) * 100)
    assert total_of(found) == round(Decimal(taxed.totals.total) * 100)


@pytest.mark.parametrize("behavior", ["exclusive", "inclusive"])
@pytest.mark.parametrize("currency", ["USD", "JPY", "MGA", "UGX", "ISK", "HUF", "KWD", "IQD"])
@pytest.mark.parametrize("lines", [3, 300])
def test_what_is_sent_sums_to_the_total_in_each_kind_of_currency(
    lines: int, currency: str, behavior: str
) -> None:
    """Or the invoice is refused, where a tax has a digit that Stripe does not take."""
    rate = TaxRate(code="default", percent=Decimal("17.5"), behavior=behavior)  # type: ignore[arg-type]
    amounts = [str(-place if place % 3 == 2 else 7 * place + 10) for place in range(lines)]
    taxed = with_lines(content(currency=currency), with_taxes(of(currency, *amounts).lines, [rate], currency))
    try:
        items = items_of(taxed)
    except Rejected as refusal:
        assert refusal.reason == "stripe_amount_not_possible"
        assert currency in ("MGA", "KWD", "IQD")  # of more digits than Stripe takes
        return
    sent = params_of("lines", StripeTarget("", "", ""), StripeOrder("issue", "", 1, items=items))["lines"]
    assert isinstance(sent, list)
    taxes = [tax for line in sent for tax in line.get("tax_amounts", [])]
    exclusive = sum(tax["amount"] for tax in taxes if not tax["tax_rate_data"]["inclusive"])
    scale = Decimal(10) ** stripe_digits(currency)
    total = sum(line["amount"] for line in sent) + exclusive
    assert total == Decimal(taxed.totals.total) * scale
    assert sum(tax["amount"] for tax in taxes) == Decimal(taxed.totals.taxes_total) * scale
    assert all(isinstance(one["amount"], int) for one in (*sent, *taxes))
    if stripe_digits(currency) == 3:
        assert not any(one["amount"] % 10 for one in (*sent, *taxes))


@pytest.mark.parametrize(
    ("details", "items"),
    [([1] * 250, 250), ([2] * 125, 250), ([2] * 126, 126), ([300], 1), ([1] * 251, 250), ([2] * 1_000, 250)],
)
def test_an_invoice_has_at_most_250_items_and_the_same_total(details: list[int], items: int) -> None:
    invoice = of("USD", *(["0.01"] * number for number in details))
    found = items_of(invoice)
    assert (len(found), total_of(found)) == (items, sum(details))
    if len(details) > MOST_ITEMS:
        assert found[-1].description == f"{len(details) - MOST_ITEMS + 1} further lines"


def test_taxes_of_items_that_are_joined_are_summed() -> None:
    rate = TaxRate(code="default", percent=Decimal("7.5"), behavior="exclusive")
    invoice = of("USD", *["1"] * 400)
    taxed = with_lines(content(), with_taxes(invoice.lines, [rate], "USD"))
    found = items_of(taxed)
    assert total_of(found) == round(Decimal(taxed.totals.total) * 100) == 43_000
    assert len(found[-1].taxes) == 1 and found[-1].taxes[0].taxable == 15_100


def test_items_that_do_not_sum_to_the_total_are_an_error() -> None:
    wrong = msgspec.structs.replace(of("USD", "10"), totals=InvoiceTotals(total="9"))
    with pytest.raises(Broken):
        items_of(wrong)


@pytest.mark.parametrize(
    ("invoice", "reason"),
    [
        (of("USD", "5", "-6"), "stripe_total_below_zero"),
        (of("KWD", "1.234"), "stripe_amount_not_possible"),
        (of("KWD", "1.234", "0.006"), "stripe_amount_not_possible"),
        (msgspec.structs.replace(of("USD", "5"), type="credit_note"), "stripe_credit_note_not_available"),
    ],
)
def test_what_stripe_cannot_be_asked_for_is_refused(invoice: InvoiceContent, reason: str) -> None:
    with pytest.raises(Rejected) as refusal:
        check_order(invoice)
    assert refusal.value.reason == reason


def test_an_order_has_what_the_calls_need() -> None:
    progress = in_state("issuing.syncing", waiting=("finalize",), number="INV-1", number_requested=True)
    order = order_of(of("USD", "5"), progress, "issue", "ann@example.com", NOW_S)
    assert (order.number, order.total, order.currency, order.name, order.email) == (
        "INV-1", 500, "USD", "Acme", "ann@example.com",
    )  # fmt: skip
    assert order.sequence == progress.sequence and not order.sends


def test_a_later_order_names_the_invoice_and_nothing_else() -> None:
    invoice = msgspec.structs.replace(of("USD", "5"), external_ids=InvoiceExternalIds(invoicing="in_1"))
    order = order_of(invoice, in_state("voided"), "void", "", NOW_S)
    assert (order.stripe_id, order.items, order.total) == ("in_1", [], 0)
