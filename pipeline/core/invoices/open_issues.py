"""The issues of invoices that are not issued: what finance has to look at.

Owns: which issues these are, as rows. Does not own: the issues (bills.drafts, bills.problems).
"""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.invoice import IssueSeverity
from pipeline.core.invoices.state_table import is_immutable, short_status
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
    """The issues of an invoice; none once it is issued or deleted."""
    content, state = stored.content, stored.progress.state
    if is_immutable(state) or short_status(state) in ("deleted", "delete"):
        return []
    return [
        OpenIssue(
            one.created_at, namespace, content.customer.id, content.id, content.number, short_status(state),
            one.severity, one.code or "", one.message,
        )
        for one in content.validation_issues
    ]  # fmt: skip
