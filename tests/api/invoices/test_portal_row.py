"""What a customer sees of an invoice that Stripe has: where to pay it."""

from __future__ import annotations

import msgspec

from pipeline.api.invoices.portal import portal_row
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.stripe_event import StripeInvoiceNote
from tests.core.invoices.invoices import content
from tests.core.invoices.states import in_state


def test_links_of_stripe_are_shown_where_there_are_any() -> None:
    stored = StoredInvoice(content=content(), progress=in_state("payment_processing.pending", number="INV-1"))
    plain = portal_row(stored)
    assert plain["number"] == "INV-1" and not {"hostedInvoiceUrl", "invoicePdf"} & plain.keys()
    note = StripeInvoiceNote(at_s=1, hosted_url="https://pay", pdf_url="https://pdf")
    assert portal_row(msgspec.structs.replace(stored, stripe=note)) == plain | {
        "hostedInvoiceUrl": "https://pay", "invoicePdf": "https://pdf",
    }  # fmt: skip
    number = msgspec.structs.replace(stored, stripe=StripeInvoiceNote(at_s=1, number="INV-1"))
    assert portal_row(number) == plain
