"""Validation issues of invoices: making one, replacing those of a component.

Owns: these. Does not own: what is an issue (drafts, problems).
"""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.invoice import IssueSeverity, ValidationIssue
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values import timestamp, ulid


def issue(
    invoice: str,
    severity: IssueSeverity,
    code: str,
    component: str,
    message: str,
    at_ms: int,
    about: str = "",
) -> ValidationIssue:
    """An issue of an invoice.

    Args:
        invoice: its id.
        severity, code, component, message: as the issue has them.
        at_ms: since when it is known.
        about: what it is about, where an invoice may have several with the code.
    """
    place = f"{code}/{about}" if about else code
    return ValidationIssue(
        id=ulid.make(0, f"{invoice}/issue/{place}"),
        severity=severity,
        code=code,
        component=component,
        message=message,
        created_at=timestamp.text_of(at_ms),
    )


def with_issues(stored: StoredInvoice, component: str, found: tuple[ValidationIssue, ...]) -> StoredInvoice:
    """The invoice with the issues that a component finds now. One that is found again keeps its time."""
    known = {one.id: one.created_at for one in stored.content.validation_issues}
    others = tuple(one for one in stored.content.validation_issues if one.component != component)
    kept = (msgspec.structs.replace(one, created_at=known.get(one.id, one.created_at)) for one in found)
    issues = (*others, *kept)
    if issues == stored.content.validation_issues:
        return stored
    content = msgspec.structs.replace(stored.content, validation_issues=issues)
    return msgspec.structs.replace(stored, content=content)
