"""The issues of invoices that are open: what finance has to look at.

Owns: which issues these are, as rows. Does not own: the issues (bills.drafts, bills.problems, bills.stripe_orders).

    not issued, or issuing            all
    issued, not paid                  those that are critical, as a payment that the app could not collect
    voided, and not so at its app     those that are critical
    paid, voided, deleted             none
"""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.invoice import IssueSeverity
from pipeline.core.invoices.state_table import FINAL, is_immutable, short_status
from pipeline.core.invoices.stored_invoice import StoredInvoice


class OpenIssue(msgspec.Struct, frozen=True, rename="camel"):
    """An issue. since: RFC 3339. status: of the invoice."""

    since: str
    namespace: str
    customer_id: str
    invoice_id: str
    number: str
    status: str
    severity: IssueSeverity
    code: str
    message: str


def open_issues(namespace: str, stored: StoredInvoice) -> list[OpenIssue]:
    """The issues of an invoice that are open."""
    content, state = stored.content, stored.progress.state
    status = short_status(state)
    if status == "delete" or (state in FINAL and not stored.awaits_void):
        return []
    shows_all = not is_immutable(state) or status == "issuing"
    return [
        OpenIssue(
            one.created_at, namespace, content.customer.id, content.id, content.number, short_status(state),
            one.severity, one.code or "", one.message,
        )
        for one in content.validation_issues
        if shows_all or one.severity == "critical"
    ]  # fmt: skip
