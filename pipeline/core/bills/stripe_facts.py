"""What Stripe answers and reports about an invoice: its effect on the invoice.

Owns: answers to orders, events, what is noted of an invoice. Does not own: orders (stripe_orders), which event means
what (invoices.stripe_event), which of two payments counts (invoices.payment). An answer of an earlier order and an
event that is older than what is known change nothing, so both may arrive in any order and again. An event of another
invoice at Stripe, or of a payment of another total, changes nothing but the issues that the invoice shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pipeline.core.billing.stripe_amount import plain_amount
from pipeline.core.bills.flow import Flow
from pipeline.core.bills.stripe_orders import with_issue
from pipeline.core.invoices import machine, payment, stripe_event
from pipeline.core.invoices.invoice import InvoiceExternalIds
from pipeline.core.invoices.payment_fact import FactTrigger, PaymentFact
from pipeline.core.invoices.progress import EffectAnswer, InvoiceProgress, Step
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.stripe_event import StripeInvoiceEvent, StripeInvoiceNote, newest_note
from pipeline.core.values import number
from pipeline.records import BillingWork, StripeFound, StripeInvoiceFact

FAILED: Final = "stripe_sync_failed"
_FACTS: Final[Mapping[str, FactTrigger]] = {"paid": "paid", "void": "void", "uncollectible": "uncollectible"}


def take_fact(flow: Flow, work: BillingWork) -> None:
    """Apply a record of the kind stripe. One about an invoice that is over, or of another app, changes nothing."""
    bills = flow.bills
    fact, stored = work.stripe, bills.find_invoice(work.invoice)
    if fact is None or stored is None or bills.is_closed(work.invoice):
        return
    if stored.content.workflow.apps.invoicing != fact.app:
        return
    message = _not_ours(stored, fact)
    if message:
        bills.put_invoice(with_issue(bills, stored, FAILED, message))
        return
    if fact.outcome:
        step, message = _answered(stored.progress, fact, bills.moment.now_s)
        if fact.sequence == stored.progress.sequence or fact.outcome == "failed":
            stored = with_issue(bills, stored, FAILED, message)
    else:
        event = StripeInvoiceEvent(type=fact.type, created_s=fact.at_s, message=fact.message)
        applied = stripe_event.apply(stored.progress, event, bills.moment.now_s)
        step = applied.step
        if applied.message:
            stored = with_issue(bills, stored, FAILED, applied.message)
    if _is_voided(stored, fact):
        stored = with_issue(bills, msgspec.structs.replace(stored, awaits_void=False), FAILED, "")
    if fact.found is not None:
        stored = _noted(stored, fact, fact.found)
    bills.put_invoice(stored)
    flow.move(work.invoice, step)


def _not_ours(stored: StoredInvoice, fact: StripeInvoiceFact) -> str:
    """Why an event does not count; empty: it does.

    An invoice at Stripe that was copied by hand has our mark too. While an order to issue is in progress its answer
    decides which invoice of Stripe is ours.
    """
    content, found = stored.content, fact.found
    if fact.outcome or found is None:
        return ""
    known = None if content.external_ids is None else content.external_ids.invoicing
    if known and found.id and found.id != known and not stored.progress.state.startswith("issuing."):
        return (
            f"Stripe reports {fact.type} of {found.id}, which has our mark, and the invoice is {known} there."
        )
    theirs = plain_amount(found.total, content.currency)
    if stripe_event.is_paid(fact.type) and number.exact(theirs) != number.exact(content.totals.total):
        return f"Stripe reports a payment of a total of {theirs} where ours is {content.totals.total}."
    return ""


def _is_voided(stored: StoredInvoice, fact: StripeInvoiceFact) -> bool:
    """Whether Stripe confirms a void that was asked for: by an answer, or by a void that a user made there."""
    if not stored.awaits_void:
        return False
    if fact.outcome:
        is_current = fact.action == "void" and fact.sequence == stored.progress.sequence
        return is_current and fact.outcome == "done"
    return fact.type == stripe_event.VOIDED


def _answered(progress: InvoiceProgress, fact: StripeInvoiceFact, now_s: int) -> tuple[Step, str]:
    """What the answer to an order does, and why it failed; empty: it did not."""
    failed, message = fact.outcome == "failed", ""
    if failed:
        message = fact.message or "Stripe refused it."
    status = "" if fact.found is None else fact.found.status
    trigger = "payment_failed" if failed and fact.action == "pay" else _FACTS.get(status)
    step = Step(progress)
    if trigger is not None and fact.action != "void":
        step = payment.report(progress, PaymentFact(trigger, fact.at_s * 1000), now_s).step
    if fact.action != "issue":
        return step, message
    # A payment of an invoice that is being issued is held until its answer has been applied.
    answer = EffectAnswer(sequence=fact.sequence, effect="finalize", failed=failed)
    return machine.answer(step.invoice, answer, now_s), message


def _noted(stored: StoredInvoice, fact: StripeInvoiceFact, found: StripeFound) -> StoredInvoice:
    """The invoice with Stripe's id of it and what Stripe shows."""
    content = stored.content
    if found.id:
        ids = content.external_ids or InvoiceExternalIds()
        content = msgspec.structs.replace(
            content, external_ids=msgspec.structs.replace(ids, invoicing=found.id)
        )
    note = StripeInvoiceNote(
        at_s=fact.at_s,
        number=found.number or None,
        hosted_url=found.hosted_url or None,
        pdf_url=found.pdf_url or None,
        due_at_s=found.due_s or None,
    )
    is_empty = note == StripeInvoiceNote(at_s=fact.at_s)
    event = StripeInvoiceEvent(type=fact.type, created_s=fact.at_s, note=None if is_empty else note)
    return msgspec.structs.replace(stored, content=content, stripe=newest_note(stored.stripe, event))
