"""An invoice as it is kept: what it bills, and how far it is.

Owns: this Struct. Does not own: the content (invoice), the state (progress), what clients see (invoice.answer_of).
"""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.invoice import InvoiceContent
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.stripe_event import StripeInvoiceNote


class StoredInvoice(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One invoice, a gathering one too, whose state is `gathering`.

    Attributes:
        content: what it bills, with its lines.
        progress: its state.
        dunning_made: how many reminders were made (dunning).
        stripe: what Stripe shows of it.
        is_billable: of a gathering invoice: a line of it can be invoiced at the time of the record that changed it.
        awaits_void: it is voided here, and the app that has it was asked to void it and has not confirmed that.
    """

    content: InvoiceContent
    progress: InvoiceProgress
    dunning_made: int = 0
    is_billable: bool = False
    stripe: StripeInvoiceNote | None = None
    awaits_void: bool = False
