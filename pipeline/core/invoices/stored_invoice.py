"""An invoice as it is kept: what it bills, and how far it is.

Owns: this Struct, which of its members clients see. Does not own: the content (invoice), the state (progress).
"""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.invoice import InvoiceAnswer, InvoiceContent, answer_of
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.stripe_event import StripeInvoiceNote
from pipeline.core.invoices.stripe_order import is_refused


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

    @property
    def voids_again(self) -> bool:
        """Whether its app refused a void, so that a retry asks it once more."""
        return self.awaits_void and is_refused(self.content)


def stored_answer(stored: StoredInvoice, now_s: int) -> InvoiceAnswer:
    """A stored invoice as clients see it at an instant."""
    return answer_of(stored.content, stored.progress, now_s, stored.is_billable, stored.voids_again)
