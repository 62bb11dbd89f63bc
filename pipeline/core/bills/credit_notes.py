"""Credit notes: what corrections give back to a customer where no invoice can be lower by it.

Owns: when one is made, its content, the credit that it grants. Does not own: corrections (placing), which lines are due
(collection), burning the credit (credit_burn), what is read of it (invoices.credit_note).

A correction below 0 lowers the next invoice. If none follows, or that one would be below 0, a credit note takes it: one
for each invoice that is corrected, fixed at once, with a number of its own series and the taxes of the invoice that it
corrects. What credits had paid returns to them. The rest lowers what is due for that invoice, if it is not paid yet
(lowered_invoice), and is else a new grant: money, with which the next invoice is paid with its tax.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipeline.core.bills import credit_burn, drafts, lowered_invoice
from pipeline.core.bills.below_zero import billed_before, due_line
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.flow import Flow
from pipeline.core.bills.given_up import rate_group
from pipeline.core.bills.line_group import BookedLine, LineGroup
from pipeline.core.bills.placing import book_lines, counted, opened, put_lines, shown
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.credits import grant_postings
from pipeline.core.credits.credit_grant import CreditGrant
from pipeline.core.credits.settlement import CREDIT_ONLY
from pipeline.core.invoices.credit_note import GRANT, LOWERED, granted_amount
from pipeline.core.invoices.credited_lines import charges_of
from pipeline.core.invoices.gathering import Taken
from pipeline.core.invoices.invoice import InvoiceContent, InvoiceWorkflow, PrecedingInvoice, with_lines
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.subscription_lines import next_horizon_s
from pipeline.core.invoices.taxed_lines import with_credited
from pipeline.core.invoices.workflow import usual_tax
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import placed_items
from pipeline.core.values import money, timestamp, ulid
from pipeline.core.values.currency import digits_of
from pipeline.errors import Rejected

REASON: Final = "What was invoiced is worth less by what is known now."
_INVOICES: Final = "/api/v1/billing/invoices/"


def issue_credit_notes(bills: CustomerBills, flow: Flow, gathering_id: str, taken: Taken) -> Taken | None:
    """Take lines that take back more of an invoice than they add off those that are due.

    Args:
        bills: of the customer.
        flow: of the record.
        gathering_id: of the invoice on which the lines wait.
        taken: the lines that are due, whose total is below 0, and those that are kept.

    Returns:
        What is left of them; None: the corrections wait for the next invoice.
    """
    if bills.invoice(gathering_id).content.settlement_mode == CREDIT_ONLY:
        return None  # nothing is due by it: what it gives back is a higher balance
    due = [line for line in taken.taken if line.deleted_at is None]
    if all(_takes_back(bills, gathering_id, line) for line in due) and _is_followed(
        bills, gathering_id, taken
    ):
        return None
    notes = _below_zero(bills, gathering_id, due)
    if not notes:
        return None
    on_notes = {line.id for lines in notes.values() for line in lines}
    rest = tuple(line for line in taken.taken if line.id not in on_notes)
    for invoice_id, lines in notes.items():
        _issue(bills, flow, gathering_id, invoice_id, lines)
    put_lines(bills, gathering_id, (*taken.kept, *rest))
    return Taken(rest, taken.kept)


def _takes_back(bills: CustomerBills, gathering_id: str, line: InvoiceLine) -> bool:
    """Whether a line is a correction, or that of a part that takes back what earlier parts billed."""
    if line.corrects is not None:
        return True
    group = bills.group(bills.groups_of(gathering_id)[line.id])
    place = group.part_of(line.id)
    return place is not None and _net(bills, group, place, line) < 0


def _is_followed(bills: CustomerBills, gathering_id: str, taken: Taken) -> bool:
    """Whether other lines will be invoiced later: some wait, or a subscription will have more that are priced."""
    if any(line.deleted_at is None and line.corrects is None for line in taken.kept):
        return True
    currency, now_s = bills.invoice(gathering_id).content.currency, bills.moment.now_s
    return bills.head.lines_ms != NEVER_MS and any(
        _has_more(one, now_s)
        for one in bills.subscriptions()
        if one.currency == currency and one.settlement_mode != CREDIT_ONLY and not one.is_deleted
    )


def _has_more(subscription: Subscription, now_s: int) -> bool:
    """Whether a subscription will have lines that cost something."""
    if next_horizon_s(subscription, now_s * 1000) is None:
        return False
    return any(
        one.item.card.price is not None and (one.span.end_s is None or one.span.end_s > now_s)
        for one in placed_items(subscription)
    )


def _below_zero(
    bills: CustomerBills, gathering_id: str, due: Iterable[InvoiceLine]
) -> dict[str, list[InvoiceLine]]:
    """What takes something back of each invoice of which more is taken back than added, by its id."""
    groups = bills.groups_of(gathering_id)
    lines: dict[str, list[InvoiceLine]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    for line in due:
        group = bills.group(groups[line.id])
        place = group.part_of(line.id)
        if place is None or group.id in bills.problems.unrated:
            continue
        before = billed_before(line, group, place)
        net = _net(bills, group, place, line) if before else 0
        if not before or (line.corrects is None and net >= 0):
            continue
        of_invoice = before[-1].invoice if line.corrects is None else line.corrects.invoice_id
        lines[of_invoice].append(line)
        totals[of_invoice] += due_line(bills, line, before, net).net
    return {id: found for id, found in lines.items() if totals[id] < 0}


def _net(bills: CustomerBills, group: LineGroup, place: int, line: InvoiceLine) -> int:
    """What a line bills without tax, in minor units. The line of a part is not rated before it is invoiced."""
    if line.corrects is not None:
        return sum(one.amount for one in charges_of(line, digits_of(line.currency)))
    try:
        return rate_group(bills, group, place + 1)[place].total
    except Rejected:
        return 0  # the draft shows what cannot be rated


def _rated(bills: CustomerBills, note: str, line: InvoiceLine) -> InvoiceLine:
    """A line of a credit note as it is billed: that of a part is rated now."""
    group = bills.group(bills.groups_of(note)[line.id])
    place = group.part_of(line.id)
    if line.corrects is not None or place is None:
        return line
    rating, part = rate_group(bills, group, place + 1)[place], group.parts[place]
    bills.put_part(group.id, place, opened(part, BookedLine(note, line.id, rating.details, part.end_s)))
    return counted(bills, group, place, shown(bills, group, place, line, rating), rating)


def _issue(
    bills: CustomerBills, flow: Flow, gathering_id: str, of_invoice: str, lines: Sequence[InvoiceLine]
) -> None:
    content = _content(bills, bills.invoice(gathering_id).content, of_invoice, lines)
    now_s = bills.moment.now_s
    progress = InvoiceProgress(
        invoice_id=content.id,
        state="issuing.syncing",
        sequence=0,
        entered_at_s=now_s,
        terms=drafts.first_terms(bills, content),
        waiting=("request_number",),
        number_requested=True,
        issued_at_s=now_s,
    )
    bills.put_invoice(StoredInvoice(content=content, progress=progress))
    drafts.take_over(bills, content.id, gathering_id, lines)
    content = with_lines(content, tuple(_rated(bills, content.id, line) for line in lines))
    content = drafts.taxed(content, bills.credits.booked(of_invoice).credited)
    stored = StoredInvoice(content=content, progress=progress)
    bills.put_invoice(stored)
    stored = credit_burn.pay_by_credits(bills, stored)
    bills.put_invoice(stored)
    _note_taxes(bills, stored.content, of_invoice)
    book_lines(bills, stored.content)
    credit_burn.earn(bills, stored.content)
    amount = granted_amount(stored.content)
    lowered = lowered_invoice.lower(bills, flow, of_invoice, amount)
    content = _granted(bills, stored.content, amount - lowered)
    if lowered:
        taken = {LOWERED: money.text(lowered, digits_of(content.currency))}
        content = msgspec.structs.replace(content, metadata=(content.metadata or {}) | taken)
    bills.put_invoice(msgspec.structs.replace(stored, content=content))
    flow.ask_number(bills.invoice(content.id))


def _note_taxes(bills: CustomerBills, content: InvoiceContent, of_invoice: str) -> None:
    """Keep what the credit notes of an invoice took back by now, so that their taxes add up to its own."""
    row, usual = bills.credits.booked(of_invoice), usual_tax(content.workflow.workflow)
    credited = with_credited(content.lines, content.currency, usual, row.credited)
    if content.workflow.tax_rates:
        bills.credits.put_booked(of_invoice, msgspec.structs.replace(row, credited=credited))


def _content(
    bills: CustomerBills, gathering: InvoiceContent, of_invoice: str, lines: Sequence[InvoiceLine]
) -> InvoiceContent:
    before = bills.find_invoice(of_invoice)
    issued_at_s = None if before is None else before.progress.issued_at_s
    preceding = PrecedingInvoice(
        issued_at=None if issued_at_s is None else timestamp.text_of(issued_at_s * 1000),
        number=None if before is None else before.progress.number,
        url=_INVOICES + of_invoice,
        reason=REASON,
    )
    content = drafts.new_draft(bills, gathering, lines, len(bills.changed_invoices))
    return msgspec.structs.replace(
        content,
        type="credit_note",
        preceding=(preceding,),
        workflow=content.workflow if before is None else _taxed_as(content.workflow, before.content.workflow),
    )


def _taxed_as(workflow: InvoiceWorkflow, before: InvoiceWorkflow) -> InvoiceWorkflow:
    """The settings of a credit note with the taxes of the invoice that it corrects."""
    settings = msgspec.structs.replace(
        workflow.workflow, tax=before.workflow.tax, invoicing=before.workflow.invoicing
    )
    changed: InvoiceWorkflow = msgspec.structs.replace(
        workflow, workflow=settings, tax_rates=before.tax_rates
    )
    return changed


def _granted(bills: CustomerBills, content: InvoiceContent, amount: int) -> InvoiceContent:
    """The credit note after the customer holds an amount of it as a grant, whose id the content has then."""
    if amount <= 0:
        return content
    now_ms = bills.moment.now_ms
    grant = CreditGrant(
        id=ulid.make(now_ms, f"credit-note/{content.id}"),
        name=f"Credit note on {content.preceding[0].number or 'an invoice'}",
        currency=content.currency,
        amount=amount,
        balance=amount,
        effective_ms=now_ms,
        created_ms=now_ms,
        source="credit_note",
        after_tax=True,
    )
    bills.credits.put(grant)
    postings = grant_postings.granted(grant)
    bills.credits.book("credit_note.granted", content.id, grant.currency, postings, name=grant.name)
    return msgspec.structs.replace(content, metadata={GRANT: grant.id})
