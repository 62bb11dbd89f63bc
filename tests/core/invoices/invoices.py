"""Lines and invoices for the tests of this folder."""

from __future__ import annotations

import msgspec

from pipeline.core.catalog.price import FlatPrice, Price, UnitPrice
from pipeline.core.customers.customer import Customer, UsageAttribution
from pipeline.core.invoices.invoice import InvoiceContent, customer_snapshot, workflow_snapshot
from pipeline.core.invoices.line import (
    InvoiceDetailedLine,
    InvoiceLine,
    LinePeriod,
    LineRateCard,
    detail_id,
    line_id,
)
from pipeline.core.invoices.profile import BillingProfile, ProfileApps, Supplier
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.values import timestamp

START_S = 1_800_000_000
HOUR_S = 3600
AT = timestamp.text_of(START_S * 1000)


def text(at_s: int) -> str:
    return timestamp.text_of(at_s * 1000)


def period(start_s: int = START_S, end_s: int = START_S + 10 * HOUR_S) -> LinePeriod:
    return LinePeriod(text(start_s), text(end_s))


def line(name: str = "Tokens", price: Price | None = None, **changed: object) -> InvoiceLine:
    """A line by usage, in arrears, with a period of ten hours."""
    usual = InvoiceLine(
        id=line_id(START_S * 1000, name),
        name=name,
        managed_by="system",
        status="valid",
        period=period(),
        invoice_at=period().end,
        currency="USD",
        rate_card=LineRateCard(feature_key="tokens", price=price or UnitPrice(amount="0.1")),
        totals=InvoiceTotals(),
        created_at=AT,
        updated_at=AT,
    )
    return msgspec.structs.replace(usual, **changed)


def flat(name: str = "Seats", **changed: object) -> InvoiceLine:
    return line(name, FlatPrice("10"), **changed)


def detail(of: InvoiceLine, reference: str, amount: str, **changed: object) -> InvoiceDetailedLine:
    usual = InvoiceDetailedLine(
        id=detail_id(of.id, reference),
        child_reference=reference,
        name=f"{of.name}: usage in period",
        period=of.period,
        currency=of.currency,
        quantity="1",
        per_unit_amount=amount,
        payment_term="in_arrears",
        category="regular",
        totals=InvoiceTotals(amount=amount, total=amount),
    )
    return msgspec.structs.replace(usual, **changed)


def customer() -> Customer:
    return Customer(
        id="01CUSTOMER",
        key="acme",
        name="Acme",
        usage_attribution=UsageAttribution(["ann"]),
        created_at=AT,
        updated_at=AT,
    )


def billing_profile() -> BillingProfile:
    return BillingProfile(
        id="01PROFILE",
        name="Usual",
        supplier=Supplier(name="Us"),
        default=True,
        workflow=BillingWorkflow(),
        apps=ProfileApps("app", "app", "app"),
        created_at=AT,
        updated_at=AT,
    )


def content(**changed: object) -> InvoiceContent:
    usual = InvoiceContent(
        id="01INVOICE",
        type="standard",
        number="DRAFT-ACME-1",
        currency="USD",
        supplier=billing_profile().supplier,
        customer=customer_snapshot(customer()),
        totals=InvoiceTotals(),
        workflow=workflow_snapshot(billing_profile()),
        created_at=AT,
        updated_at=AT,
    )
    return msgspec.structs.replace(usual, **changed)
