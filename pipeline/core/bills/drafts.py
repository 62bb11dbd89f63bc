"""Drafts: how one is made of lines, its rating, its taxes, what is wrong with it.

Owns: these. Does not own: which lines are taken (collection), the rating of lines (placing), the states (flow).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.core.billing.app import STRIPE, App, CustomInvoicingApp
from pipeline.core.bills.below_zero import sent_back
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.gathering_invoice import new_content, profile_of, snapshot_of
from pipeline.core.bills.issues import issue, with_issues
from pipeline.core.bills.line_group import BookedLine
from pipeline.core.bills.placing import opened, rate_lines, rated_until
from pipeline.core.invoices.invoice import (
    InvoiceContent,
    ValidationIssue,
    has_critical_issue,
    invoice_id,
    with_lines,
)
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.numbering import draft_number
from pipeline.core.invoices.progress import DraftTerms
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.stripe_order import check_order
from pipeline.core.invoices.taxed_lines import NO_TAX_RATE, codes_without_rate, with_taxes
from pipeline.core.invoices.workflow import terms_of, usual_tax
from pipeline.core.rating.tax import CreditedTax
from pipeline.core.values import timestamp
from pipeline.errors import Rejected

COMPONENT: Final = "openmeter"
RATED: Final = ("rating",)  # components of issues that a rating finds
_RATING = "openmeter.rating"


def new_draft(
    bills: CustomerBills, gathering: InvoiceContent, taken: Sequence[InvoiceLine], number: int
) -> InvoiceContent:
    """A draft with lines that were taken off the gathering invoice.

    Args:
        bills: of the customer.
        gathering: the gathering invoice.
        taken: one at least.
        number: of the draft among those that the record makes.

    Raises:
        Rejected: the customer does not exist, or there is no profile.
    """
    moment = bills.moment
    cause = f"{bills.namespace}/{bills.customer}/{gathering.currency}/{moment.offset}/{number}"
    id = invoice_id(moment.now_ms, cause)
    name = snapshot_of(bills).name
    content = new_content(bills, id, draft_number(id, name), gathering.currency, gathering.settlement_mode)
    return with_lines(content, tuple(taken))


def take_over(bills: CustomerBills, draft_id: str, gathering_id: str, taken: Sequence[InvoiceLine]) -> None:
    """The lines of a draft lie on it, and no longer on the gathering invoice."""
    groups = bills.groups_of(gathering_id)
    bills.put_groups_of(draft_id, {line.id: groups[line.id] for line in taken})
    for line in taken:
        group = bills.group(groups[line.id])
        place = group.part_of(line.id)
        if place is not None:
            part = group.parts[place]
            before = part.open
            moved = before or BookedLine(draft_id, line.id)
            moved = msgspec.structs.replace(moved, invoice=draft_id, line=line.id)
            bills.put_part(group.id, place, opened(part, moved))


def terms_for(bills: CustomerBills, content: InvoiceContent, zone: str) -> DraftTerms:
    """What the content of a draft means for its way. zone: in which its days are counted."""
    live = live_lines(content.lines)
    app = app_of(bills, content)
    terms = terms_of(
        content.workflow.workflow,
        timestamp.ms_of(content.created_at) // 1000,
        [line.invoice_at_s for line in live if line.is_metered],
        zone,
        app_numbers=isinstance(app, CustomInvoicingApp) and app.enable_issuing_sync_hook,
        app_has_clock=app is not None and app.type == STRIPE,
    )
    return msgspec.structs.replace(terms, has_lines=bool(live), is_critical=has_critical_issue(content))


def first_terms(bills: CustomerBills, content: InvoiceContent) -> DraftTerms:
    """The terms of a new draft."""
    return terms_for(bills, content, profile_of(bills).time_zone)


def app_of(bills: CustomerBills, content: InvoiceContent) -> App | None:
    """The app that sends an invoice and collects its payment; None: it does not exist."""
    return bills.definitions.app(bills.namespace, content.workflow.apps.invoicing)


def rated(bills: CustomerBills, stored: StoredInvoice) -> StoredInvoice:
    """The draft, rated by the usage that is known now. What cannot be rated is a critical issue of it."""
    content = stored.content
    try:
        content = rate_lines(bills, content)
    except Rejected as refusal:
        found = issue(content.id, "critical", refusal.reason, _RATING, refusal.detail, bills.moment.now_ms)
        return with_issues(stored, _RATING, (found,))
    stored = with_issues(msgspec.structs.replace(stored, content=content), _RATING, ())
    kept = sent_back(bills, stored)
    content = taxed(kept)
    if kept.lines == stored.content.lines:
        bills.note_rated(content)
    return msgspec.structs.replace(stored, content=content)


def noted(bills: CustomerBills, stored: StoredInvoice) -> StoredInvoice:
    """The draft that was rated: from its collection on, usage that comes later is late."""
    content = stored.content
    if stored.progress.state in ("draft.collecting", "draft.validating"):
        rated_until(bills, content)
    if stored.progress.state == "draft.collecting":
        content = msgspec.structs.replace(content, quantity_snapshotted_at=bills.moment.now)
    return msgspec.structs.replace(stored, content=content)


def taxed(content: InvoiceContent, credited: Sequence[CreditedTax] = ()) -> InvoiceContent:
    """The content with the taxes of its rates. credited: of a credit note: what those before it took back."""
    is_taxed = bool(content.workflow.tax_rates) or any(line.taxes for line in content.lines)
    if not content.workflow.workflow.tax.enabled or not is_taxed:
        return content
    usual = usual_tax(content.workflow.workflow)
    lines = with_taxes(content.lines, content.workflow.tax_rates, content.currency, usual, credited)
    return with_lines(content, lines)


def validated(bills: CustomerBills, stored: StoredInvoice) -> StoredInvoice:
    """The draft with what is wrong with it."""
    content = stored.content
    found: list[ValidationIssue] = []

    def add(code: str, message: str) -> None:
        found.append(issue(content.id, "critical", code, COMPONENT, message, bills.moment.now_ms))

    app = app_of(bills, content)
    if app is None or app.is_deleted:
        add("invoicing_app_not_found", "The app of the invoice is not installed.")
    elif app.type == STRIPE:
        try:
            check_order(content)
        except Rejected as refusal:
            add(refusal.reason, refusal.detail)
    workflow = content.workflow.workflow
    without = codes_without_rate(content.lines, content.workflow.tax_rates, usual_tax(workflow))
    if workflow.tax.enforced and without:
        add("invoice_tax_not_available", NO_TAX_RATE.format(", ".join(without)))
    return with_issues(stored, COMPONENT, tuple(found))
