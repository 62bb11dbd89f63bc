"""Credit notes: what corrections give back to a customer where no invoice can be lower by it.

Owns: when one is made, its content, the credit that it grants. Does not own: corrections (placing), which lines are due
(collection), burning the credit (credit_burn), what is read of it (invoices.credit_note).

A correction below 0 lowers the next invoice. If none follows, or that one would be below 0, a credit note takes it: one
for each invoice that is corrected, fixed at once, with a number of its own series. What credits had paid returns to
them; the rest is a new grant, which the next invoice burns. Credits are burnt before taxes, so a credit note changes no
tax: the one that was paid stays with the credit, and what the credit pays later is not taxed again. Where lines are
taxed, each at its own rate, corrections wait for as long as another invoice follows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipeline.core.bills import credit_burn, drafts
from pipeline.core.bills.below_zero import due_line
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.flow import Flow
from pipeline.core.bills.gathering_invoice import profile_of
from pipeline.core.bills.placing import book_lines, put_lines
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.credits import grant_postings
from pipeline.core.credits.credit_grant import CreditGrant
from pipeline.core.credits.settlement import CREDIT_ONLY
from pipeline.core.invoices.credit_note import GRANT, granted_amount
from pipeline.core.invoices.credited_lines import charges_of
from pipeline.core.invoices.gathering import Taken
from pipeline.core.invoices.invoice import InvoiceContent, PrecedingInvoice
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.taxed_lines import with_taxes
from pipeline.core.values import timestamp, ulid
from pipeline.core.values.currency import digits_of

REASON: Final = "What was invoiced is worth less by what is known now."
_INVOICES: Final = "/api/v1/billing/invoices/"


def issue_credit_notes(bills: CustomerBills, flow: Flow, gathering_id: str, taken: Taken) -> Taken | None:
    """Take corrections whose total is below 0 off lines that are due.

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
    waits = all(line.corrects is not None for line in due) or _is_taxed(bills)
    if waits and _is_followed(bills, taken):
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


def _is_taxed(bills: CustomerBills) -> bool:
    """Whether lines are taxed, so that a later invoice with the correction is more exact than a credit before taxes."""
    profile = profile_of(bills)
    return profile.workflow.tax.enabled and bool(profile.tax_rates)


def _is_followed(bills: CustomerBills, taken: Taken) -> bool:
    """Whether other lines will be invoiced later: some wait, or a subscription will have more."""
    waits = any(line.deleted_at is None and line.corrects is None for line in taken.kept)
    return waits or bills.head.lines_ms != NEVER_MS


def _below_zero(
    bills: CustomerBills, gathering_id: str, due: Iterable[InvoiceLine]
) -> dict[str, list[InvoiceLine]]:
    """The corrections of each invoice whose corrections are below 0 in total, by its id."""
    groups = bills.groups_of(gathering_id)
    lines: dict[str, list[InvoiceLine]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    for line in due:
        group = bills.group(groups[line.id])
        place = group.part_of(line.id)
        if line.corrects is None or place is None or group.id in bills.problems.unrated:
            continue
        net = sum(one.amount for one in charges_of(line, digits_of(line.currency)))
        lines[line.corrects.invoice_id].append(line)
        totals[line.corrects.invoice_id] += due_line(bills, line, group.parts[place], net).net
    return {id: found for id, found in lines.items() if totals[id] < 0}


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
    stored = StoredInvoice(content=content, progress=progress)
    bills.put_invoice(stored)
    drafts.take_over(bills, content.id, gathering_id, lines)
    stored = credit_burn.pay_by_credits(bills, stored)
    bills.put_invoice(stored)
    book_lines(bills, stored.content)
    credit_burn.earn(bills, stored.content)
    bills.put_invoice(msgspec.structs.replace(stored, content=_granted(bills, stored.content)))
    flow.ask_number(bills.invoice(content.id))


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
    currency = lines[0].currency
    untaxed_lines = with_taxes(tuple(lines), (), currency, None)
    content = drafts.new_draft(bills, gathering, untaxed_lines, len(bills.changed_invoices))
    untaxed = msgspec.structs.replace(content.workflow.workflow.tax, enabled=False)
    workflow = msgspec.structs.replace(
        content.workflow,
        workflow=msgspec.structs.replace(content.workflow.workflow, tax=untaxed),
        tax_rates=(),
    )
    return msgspec.structs.replace(content, type="credit_note", preceding=(preceding,), workflow=workflow)


def _granted(bills: CustomerBills, content: InvoiceContent) -> InvoiceContent:
    """The credit note after the customer holds what is left of it as a grant, whose id the content has then."""
    amount = granted_amount(content)
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
    )
    bills.credits.put(grant)
    postings = grant_postings.granted(grant)
    bills.credits.book("credit_note.granted", content.id, grant.currency, postings, name=grant.name)
    return msgspec.structs.replace(content, metadata={GRANT: grant.id})
