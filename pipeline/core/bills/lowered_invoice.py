"""What a credit note takes off an invoice that is not paid yet.

Owns: which invoices can be lowered, what is due for one afterwards, its bookings. Does not own: credit notes
(credit_notes), payments (invoices.payment).

An invoice keeps its total; `amount_due` is what is left of it. One for which nothing is left is paid. A payment that is
reported counts for what is due. An invoice of a Stripe app is not lowered, since Stripe collects its total: what a
credit note takes back of it is a credit to the next one.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.billing.app import STRIPE
from pipeline.core.bills import drafts
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.flow import Flow
from pipeline.core.invoices import payment
from pipeline.core.invoices.invoice import due_of
from pipeline.core.invoices.payment_fact import PaymentFact
from pipeline.core.invoices.state_table import InvoiceState
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.ledger.invoice_postings import OPEN
from pipeline.core.ledger.transaction import Posting, merged
from pipeline.core.values import money
from pipeline.core.values.currency import digits_of

_UNPAID: Final[frozenset[InvoiceState]] = frozenset(
    {
        "payment_processing.pending",
        "payment_processing.failed",
        "payment_processing.action_required",
        "overdue",
        "uncollectible",
    }
)


def lower(bills: CustomerBills, flow: Flow, id: str, amount: int) -> int:
    """Take an amount off what is due for an invoice. The note has booked that the customer owes so much less.

    Args:
        bills: of the customer.
        flow: of the record.
        id: of the invoice.
        amount: of a credit note, with its tax, in minor units.

    Returns:
        How much of it was taken off.
    """
    stored = bills.find_invoice(id)
    if stored is None or not _can_be_lowered(bills, stored):
        return 0
    content, progress = stored.content, stored.progress
    due = due_of(content)
    taken = min(amount, due)
    if taken <= 0:
        return 0
    _book(bills, stored, taken)
    content = msgspec.structs.replace(
        content,
        amount_due=money.text(due - taken, digits_of(content.currency)),
        updated_at=bills.moment.now,
    )
    # Another number of its state, so that its rules report the change.
    progress = msgspec.structs.replace(progress, sequence=progress.sequence + 1)
    bills.put_invoice(msgspec.structs.replace(stored, content=content, progress=progress))
    if taken == due and progress.state != "uncollectible":
        fact = PaymentFact("paid", bills.moment.now_ms)
        flow.move(id, payment.report(progress, fact, bills.moment.now_s).step)
    return taken


def _can_be_lowered(bills: CustomerBills, stored: StoredInvoice) -> bool:
    progress = stored.progress
    if bills.is_closed(stored.content.id) or progress.state not in _UNPAID or progress.waiting:
        return False
    app = drafts.app_of(bills, stored.content)
    return app is not None and app.type != STRIPE


def _book(bills: CustomerBills, stored: StoredInvoice, taken: int) -> None:
    """The invoice has booked less that is owed for it; what was given up as a bad debt is lowered there."""
    id, currency = stored.content.id, stored.content.currency
    if stored.progress.state == "uncollectible":
        given_up = merged([Posting("customer_receivable", -taken, status=OPEN), Posting("bad_debt", taken)])
        bills.credits.book("credit_note.given_up", f"{id}/{bills.moment.offset}", currency, given_up)
        owed = Posting("bad_debt", taken)
    else:
        owed = Posting("customer_receivable", taken, status=OPEN)
    row = bills.credits.booked(id)
    postings = merged([*row.postings, owed, Posting("earnings", -taken)])
    bills.credits.put_booked(id, msgspec.structs.replace(row, postings=postings, lowered=row.lowered + taken))
