"""What clients do with an invoice, and the code with which it is refused where its state has no way for it.

Owns: one function for each action, its codes. Does not own: the way that it takes (state_table, machine), changing the
content (an edit arrives here with the terms that follow from it).
Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/errors.go`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.core.invoices import machine
from pipeline.core.invoices.progress import DraftTerms, InvoiceProgress, Step
from pipeline.core.invoices.state_table import InvoiceTrigger, is_immutable
from pipeline.errors import Rejected

Action = Literal["approve", "retry", "delete", "void", "snapshot_quantities"]


def act(invoice: InvoiceProgress, action: Action, now_s: int) -> Step:
    """approve, retry, delete, void, or collect before the time.

    Raises:
        Rejected: `invoice_action_not_available`, `invoice_cannot_delete_gathering`.
    """
    step = machine.fire(invoice, action, now_s)
    if step is None:
        if action == "delete" and invoice.state == "gathering":
            raise Rejected("invoice_cannot_delete_gathering", "A gathering invoice cannot be deleted.")
        raise Rejected("invoice_action_not_available", _sentence(invoice, action))
    return step


def advance(invoice: InvoiceProgress, now_s: int) -> Step:
    """Continue as far as possible.

    Raises:
        Rejected: `invoice_cannot_advance`: it waits for something else, or has ended.
    """
    step = machine.advance(invoice, now_s)
    if not step.entered:
        raise Rejected("invoice_cannot_advance", f"An invoice that is {invoice.state} cannot advance.")
    return step


def edit(invoice: InvoiceProgress, terms: DraftTerms, now_s: int) -> Step:
    """Take over a changed content.

    Args:
        terms: that follow from the new content. The rating that is asked for may change them again.

    Raises:
        Rejected: `invoice_cannot_be_edited`.
    """
    check_editable(invoice)
    step = machine.fire(msgspec.structs.replace(invoice, terms=terms), "edit", now_s)
    return Step(msgspec.structs.replace(invoice, terms=terms)) if step is None else step


def check_editable(invoice: InvoiceProgress) -> None:
    """Raises Rejected `invoice_cannot_be_edited` where the content may not be changed.

    A gathering invoice may always be edited. A draft that an app takes over at this moment may not.
    """
    free = invoice.state == "gathering" or machine.way_of(invoice, "edit", invoice.entered_at_s) is not None
    if is_immutable(invoice.state) or not free:
        raise Rejected("invoice_cannot_be_edited", f"An invoice that is {invoice.state} cannot be edited.")


def _sentence(invoice: InvoiceProgress, action: InvoiceTrigger) -> str:
    shown = action.replace("_", " ")
    if action == "delete" and invoice.number_requested:
        return f"An invoice that has a number cannot be deleted: void it. It is {invoice.state}."
    return f"An invoice that is {invoice.state} has no action {shown}."
