"""What keeps the total of an invoice at 0 or above: which lines have to wait for the next one.

Owns: the total that lines will have when they are issued, taking lines off a draft. Does not own: which lines are due
(collection), what credits come back to (credit_burn), the tax of a line (rating.tax).

A total counts what is due: with taxes, and after the credits that a correction gives back. A correction of what
credits paid takes nothing from anyone, so it waits for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.gathering_invoice import gathering_for, settlement_of
from pipeline.core.bills.line_group import BookedLine, LineGroup
from pipeline.core.bills.placing import add_waiting
from pipeline.core.credits.burn_down import CreditBurn
from pipeline.core.credits.settlement import CREDIT_ONLY, UNCOVERED
from pipeline.core.invoices.credited_lines import charges_of
from pipeline.core.invoices.invoice import InvoiceContent, with_lines
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.taxed_lines import tax_code
from pipeline.core.invoices.workflow import BillingWorkflow, usual_tax
from pipeline.core.rating.tax import TaxedAmount, TaxRate, taxes
from pipeline.core.values.currency import digits_of


class DueLine(NamedTuple):
    """A line with what is due for it, in minor units: without tax, after the credits that it gives back."""

    line: InvoiceLine
    net: int


def can_be_below_zero(line: InvoiceLine, group: LineGroup) -> bool:
    """Whether a line may take something back.

    So does a correction, a part whose usage fell below that of earlier ones, and a line of which others bill a part.
    """
    place = group.part_of(line.id)
    is_left = place is not None and bool(group.parts[place].booked)
    return line.corrects is not None or line.split is not None or is_left


def billed_before(line: InvoiceLine, group: LineGroup, place: int) -> tuple[BookedLine, ...]:
    """The lines from which a line takes something back, the oldest first.

    A correction takes it from those that billed its part, the line of a part also from those of earlier parts.
    """
    if line.corrects is not None:
        return group.parts[place].booked
    return tuple(one for part in group.parts[: place + 1] for one in part.booked)


def due_line(bills: CustomerBills, line: InvoiceLine, before: Sequence[BookedLine], net: int) -> DueLine:
    """What is due for a line. before: as `billed_before`. net: without credits and tax, in minor units."""
    if net >= 0 or not before or not bills.credits.is_used:
        return DueLine(line, net)
    burnt = sum(
        burn.amount
        for booked in before
        for burn in bills.credits.booked(booked.invoice).burns
        if burn.line == booked.line and returns(bills, line, burn)
    )
    return DueLine(line, min(0, net + burnt))


def returns(bills: CustomerBills, line: InvoiceLine, burn: CreditBurn) -> bool:
    """Whether a correction gives back what a credit paid of what it corrects.

    The credit of a credit note paid tax too, so the correction takes money off an invoice instead. A statement has no
    tax.
    """
    if burn.grant == UNCOVERED or settlement_of(bills, line) == CREDIT_ONLY:
        return True
    return not bills.credits.grant(burn.grant).after_tax


def total_due(due: Sequence[DueLine], workflow: BillingWorkflow, rates: Sequence[TaxRate]) -> int:
    """The total of lines in minor units, with taxes. workflow, rates: of their invoice."""
    net = sum(one.net for one in due)
    if not workflow.tax.enabled or not rates:
        return net
    usual = usual_tax(workflow)
    found = taxes([TaxedAmount(one.net, tax_code(one.line, usual)) for one in due], rates)
    return net + sum(tax.amount for tax in found if tax.behavior == "exclusive")


def sent_back(bills: CustomerBills, stored: StoredInvoice) -> InvoiceContent:
    """The content of a draft whose total will not be below 0: lines that make it so wait for the next invoice."""
    content, workflow = stored.content, stored.content.workflow
    due = _due_lines(bills, content)
    for one in [one for one in reversed(due) if one.net < 0]:
        if total_due(due, workflow.workflow, workflow.tax_rates) >= 0:
            break
        if _waits(bills, content.id, one.line):
            content = with_lines(content, tuple(line for line in content.lines if line.id != one.line.id))
            due = [other for other in due if other is not one]
    return content


def _due_lines(bills: CustomerBills, content: InvoiceContent) -> list[DueLine]:
    digits = digits_of(content.currency)
    found: list[DueLine] = []
    for line in live_lines(content.lines):
        net = sum(one.amount for one in charges_of(line, digits))
        before: tuple[BookedLine, ...] = ()
        if net < 0:
            group = bills.group(bills.groups_of(content.id)[line.id])
            place = group.part_of(line.id)
            before = () if place is None else billed_before(line, group, place)
        found.append(due_line(bills, line, before, net))
    return found


def _waits(bills: CustomerBills, draft_id: str, line: InvoiceLine) -> bool:
    """Take a line off a draft, onto the gathering invoice. Returns whether it can still change."""
    groups = bills.groups_of(draft_id)
    group = bills.group(groups[line.id])
    place = group.part_of(line.id)
    if place is None:
        return False
    open_line = group.parts[place].open
    bills.put_groups_of(draft_id, {id: one for id, one in groups.items() if id != line.id})
    details = () if open_line is None else open_line.details
    add_waiting(bills, gathering_for(bills, line), group.id, place, line, details)
    return True
