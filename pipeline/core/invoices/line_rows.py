"""The lines of an invoice as flat rows, for spreadsheets and for other systems.

Owns: the columns, one row for each component of a line. Does not own: their form (api.invoices.line_export). A line
without components has one row. The sum of `total` over all rows is the total of the invoice.
"""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.line import InvoiceDetailedLine, InvoiceLine, live_lines
from pipeline.core.invoices.status_details import status_of
from pipeline.core.invoices.stored_invoice import StoredInvoice


class InvoiceLineRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One row. Amounts and quantities are decimal text, instants RFC 3339; None: there is none.

    Attributes:
        component, component_name: reference of a detailed line and its name; None: the line has none.
        tax_percent, tax_behavior: of the rate with which the line is taxed.
    """

    invoice_id: str
    invoice_number: str
    invoice_type: str
    invoice_status: str
    customer_id: str
    customer_key: str | None
    currency: str
    line_id: str
    name: str
    description: str | None
    managed_by: str
    feature_key: str | None
    from_: str = msgspec.field(name="from")
    to: str
    invoice_at: str
    component: str | None
    component_name: str | None
    category: str | None
    quantity: str | None
    per_unit_amount: str | None
    amount: str
    charges_total: str
    discounts_total: str
    credits_total: str
    tax_percent: str | None
    tax_behavior: str | None
    taxes_inclusive_total: str
    taxes_exclusive_total: str
    total: str
    subscription_id: str | None
    phase_id: str | None
    item_id: str | None
    corrects_invoice_id: str | None
    corrects_line_id: str | None
    external_id: str | None


COLUMNS: tuple[str, ...] = InvoiceLineRow.__struct_encode_fields__


def line_rows(stored: StoredInvoice) -> list[InvoiceLineRow]:
    """The rows of an invoice, in the order of its lines; deleted lines have none."""
    return [
        _row(stored, line, component)
        for line in live_lines(stored.content.lines)
        for component in line.children or (None,)
    ]


def _row(stored: StoredInvoice, line: InvoiceLine, component: InvoiceDetailedLine | None) -> InvoiceLineRow:
    content, progress = stored.content, stored.progress
    totals = line.totals if component is None else component.totals
    tax, subscription, corrects = next(iter(line.taxes), None), line.subscription, line.corrects
    return InvoiceLineRow(
        invoice_id=content.id,
        invoice_number=content.number if progress.number is None else progress.number,
        invoice_type=content.type,
        invoice_status=status_of(progress),
        customer_id=content.customer.id,
        customer_key=content.customer.key,
        currency=content.currency,
        line_id=line.id,
        name=line.name,
        description=line.description,
        managed_by=line.managed_by,
        feature_key=line.rate_card.feature_key,
        from_=line.period.start,
        to=line.period.end,
        invoice_at=line.invoice_at,
        component=None if component is None else component.child_reference,
        component_name=None if component is None else component.name,
        category=None if component is None else component.category,
        quantity=line.quantity if component is None else component.quantity,
        per_unit_amount=None if component is None else component.per_unit_amount,
        amount=totals.amount,
        charges_total=totals.charges_total,
        discounts_total=totals.discounts_total,
        credits_total=totals.credits_total,
        tax_percent=None if tax is None else f"{tax.percent:f}",
        tax_behavior=None if tax is None else tax.behavior,
        taxes_inclusive_total=totals.taxes_inclusive_total,
        taxes_exclusive_total=totals.taxes_exclusive_total,
        total=totals.total,
        subscription_id=None if subscription is None else subscription.subscription.id,
        phase_id=None if subscription is None else subscription.phase.id,
        item_id=None if subscription is None else subscription.item.id,
        corrects_invoice_id=None if corrects is None else corrects.invoice_id,
        corrects_line_id=None if corrects is None else corrects.line_id,
        external_id=None if line.external_ids is None else line.external_ids.invoicing,
    )
