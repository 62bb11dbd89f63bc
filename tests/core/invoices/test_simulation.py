"""Simulated invoices: the amounts of the quantities that are sent, and nothing that could be done with them."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from pipeline.core.invoices.invoice import InvoiceAnswer, shown
from pipeline.core.invoices.pending_line import PendingContext
from pipeline.core.invoices.simulation import simulate
from pipeline.core.invoices.totals import check_totals
from pipeline.core.invoices.workflow import BillingWorkflow, TaxSettings
from pipeline.core.rating.tax import TaxRate
from pipeline.errors import Rejected
from tests.core.invoices.invoices import AT, HOUR_S, START_S, billing_profile, customer, text

CONTEXT = PendingContext(customer(), "", {"tokens": True}, "01COMMAND", START_S * 1000)
TIERS = {
    "type": "tiered",
    "mode": "graduated",
    "tiers": [
        {
            "upToAmount": "10",
            "flatPrice": {"type": "flat", "amount": "5"},
            "unitPrice": {"type": "unit", "amount": "1"},
        },
        {"flatPrice": None, "unitPrice": {"type": "unit", "amount": "0.5"}},
    ],
}


def line(**changed: object) -> dict[str, object]:
    usual = {
        "name": "Tokens",
        "period": {"from": text(START_S), "to": text(START_S + HOUR_S)},
        "invoiceAt": text(START_S + HOUR_S),
        "rateCard": {"price": TIERS, "featureKey": "tokens"},
        "quantity": "14",
    }
    return {name: value for name, value in (usual | changed).items() if value is not None}


def invoice(*lines: dict[str, object], **changed: object) -> InvoiceAnswer:
    return simulate({"currency": "USD", "lines": list(lines), **changed}, billing_profile(), CONTEXT)


def test_an_invoice_of_made_up_quantities() -> None:
    seats = line(rateCard={"price": {"type": "flat", "amount": "3"}}, quantity="1")
    found = invoice(line(), seats)
    assert (found.number, found.status, found.totals.total) == ("INV-SIMULATED", "draft", "20")
    assert (found.status_details.extended_status, found.status_details.failed) == ("draft.created", False)
    assert shown(found)["statusDetails"]["availableActions"] == {}  # type: ignore[index]
    check_totals(found.totals)
    assert [one.quantity for one in found.lines] == ["14", "1"]
    assert invoice(line(), seats) == found


def test_what_was_used_before_counts() -> None:
    whole = invoice(line(quantity="14")).totals.total
    (before,), (later,) = (
        invoice(line(quantity="8")).lines,
        invoice(line(quantity="6", preLinePeriodQuantity="8")).lines,
    )
    assert Decimal(before.totals.total) + Decimal(later.totals.total) == Decimal(whole)
    assert later.metered_pre_line_period_quantity == "8"


def test_a_number_and_an_id_may_be_sent() -> None:
    id = "01J0000000000000000000000B"
    found = invoice(line(id=id), number="X-1")
    assert (found.number, found.lines[0].id) == ("X-1", id)


def test_an_enforced_tax_that_cannot_be_computed_is_critical() -> None:
    workflow = BillingWorkflow(tax=TaxSettings(enforced=True))
    profile = msgspec.structs.replace(billing_profile(), workflow=workflow)
    found = simulate({"currency": "USD", "lines": [line()]}, profile, CONTEXT)
    assert (found.status_details.extended_status, found.status_details.failed) == ("draft.invalid", True)
    assert [one.severity for one in found.validation_issues] == ["critical"]
    rated = msgspec.structs.replace(profile, tax_rates=(TaxRate("default", Decimal("10")),))
    taxed = simulate({"currency": "USD", "lines": [line()]}, rated, CONTEXT)
    assert (taxed.status_details.failed, taxed.totals.taxes_total, taxed.totals.total) == (
        False,
        "1.7",
        "18.7",
    )
    off = msgspec.structs.replace(rated, workflow=BillingWorkflow(tax=TaxSettings(enabled=False)))
    assert simulate({"currency": "USD", "lines": [line()]}, off, CONTEXT).totals.total == "17"


@pytest.mark.parametrize(
    ("lines", "changed", "reason"),
    [
        ([], {}, "invoice_create_no_lines"),
        ([line(quantity=None)], {}, "bad-invoice-line"),
        ([line(quantity="-1")], {}, "bad-invoice-line"),
        ([line(rateCard={"price": {"type": "flat", "amount": "3"}}, quantity="2")], {}, "bad-invoice-line"),
        ([line(id="x")], {}, "bad-invoice-line"),
        ([line(currency="EUR")], {}, "invoice_line_currency_mismatch"),
        ([line()], {"currency": "XXX"}, "bad-currency"),
        ([line()], {"customer": "x"}, "bad-invoice-simulation"),
        ([line(rateCard={"price": TIERS, "featureKey": "x"})], {}, "invoice_line_feature_has_no_meters"),
    ],
)
def test_what_is_refused(lines: list[dict[str, object]], changed: dict[str, object], reason: str) -> None:
    with pytest.raises(Rejected) as refused:
        invoice(*lines, **changed)
    assert refused.value.reason == reason


def test_a_deleted_customer_has_no_invoice() -> None:
    gone = CONTEXT._replace(customer=msgspec.structs.replace(customer(), deleted_at=AT))
    with pytest.raises(Rejected, match="deleted"):
        simulate({"currency": "USD", "lines": [line()]}, billing_profile(), gone)
