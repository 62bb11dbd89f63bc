"""Credit notes as the API shows them: snake_case as in OpenMeter's v3 JSON, amounts as decimal text.

Owns: the members and their form. Does not own: what they mean (core.invoices.credit_note), routes (credit_notes).
"""

from __future__ import annotations

from typing import Any

from pipeline.core.invoices.credit_note import (
    GRANT,
    CreditedLine,
    credited,
    credited_lines,
    original_id,
)
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values import money, timestamp
from pipeline.core.values.currency import digits_of

CreditNoteJson = dict[str, Any]


def credit_note_json(note: StoredInvoice) -> CreditNoteJson:
    """A credit note with its lines."""
    content, progress = note.content, note.progress
    digits, (original,) = digits_of(content.currency), content.preceding
    grant = (content.metadata or {}).get(GRANT)
    lines, amounts = credited_lines(content), credited(content)
    issued_at_s = progress.issued_at_s
    optional = {
        "number": progress.number,
        "issued_at": None if issued_at_s is None else timestamp.text_of(issued_at_s * 1000),
        "credit": None
        if grant is None
        else {"grant_id": grant, "amount": money.text(amounts.granted, digits)},
    }
    customer = content.customer
    invoice = {"id": original_id(content), "number": original.number, "issued_at": original.issued_at}
    return {
        "id": content.id,
        "status": "issuing" if progress.number is None else "issued",
        "customer": _given({"id": customer.id, "key": customer.key, "name": customer.name}),
        "currency": content.currency,
        "reason": original.reason or "",
        "invoice": _given(invoice),
        "lines": [_line(one, digits) for one in lines],
        "total": money.text(amounts.total, digits),
        "tax": money.text(amounts.tax, digits),
        "returned_to_credits": money.text(amounts.returned, digits),
        "taken_off_due": money.text(amounts.lowered, digits),
        "created_at": content.created_at,
        **_given(optional),
    }


def _line(taken: CreditedLine, digits: int) -> CreditNoteJson:
    line = taken.line
    corrects = line.corrects
    found = {
        "id": line.id,
        "name": line.name,
        "period": {"from": line.period.start, "to": line.period.end},
        "amount": money.text(taken.amount, digits),
    }
    if corrects is not None:
        found["corrects"] = {"invoice_id": corrects.invoice_id, "line_id": corrects.line_id}
    return found


def _given(members: CreditNoteJson) -> CreditNoteJson:
    return {name: value for name, value in members.items() if value is not None}
