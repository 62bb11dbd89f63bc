"""Orders for Stripe: what the effects of an invoice of a Stripe app ask for.

Owns: which effect becomes which order, that an order that is impossible fails. Does not own: what an order holds
(invoices.stripe_order), its answer (stripe_facts). An order is sent with the transaction that wrote the state which
waits for it. Drafts are not sent: Stripe has an invoice from `issuing.syncing` on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.invoices import sandbox
from pipeline.core.invoices.invoice import ValidationIssue
from pipeline.core.invoices.progress import EffectAnswer, InvoiceIntent, Step
from pipeline.core.invoices.state_table import Effect
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.stripe_order import COMPONENT, order_of
from pipeline.core.values import ulid
from pipeline.errors import Rejected
from pipeline.records import StripeAction, StripeWork

_ACTIONS: Final[Mapping[Effect, StripeAction]] = {
    "finalize": "issue",
    "sync_void": "void",
    "collect_payment": "pay",
}


def answer_of(
    bills: CustomerBills, stored: StoredInvoice, intent: InvoiceIntent
) -> tuple[StoredInvoice, EffectAnswer | None]:
    """The invoice, and the answer to an effect; None: Stripe answers it, or there is no answer.

    The first collection of a payment needs no order: Stripe begins it when the invoice is finalized.
    """
    action = _ACTIONS.get(intent.effect)
    if action is None:
        return stored, sandbox.answer_of(intent)
    if action == "pay" and intent.trigger != "retry":
        return stored, None
    customer = bills.definitions.customer(bills.namespace, bills.customer)
    email = "" if customer is None else customer.primary_email or ""
    try:
        order = order_of(stored.content, stored.progress, action, email, bills.moment.now_s)
    except Rejected as refusal:
        failed = EffectAnswer(sequence=intent.sequence, effect=intent.effect, failed=True)
        return with_issue(bills, stored, refusal.reason, refusal.detail), failed
    bills.stripe.append(
        StripeWork(
            "order",
            namespace=bills.namespace,
            customer=bills.customer,
            mapping=order.app,
            invoice=stored.content.id,
            order=order,
        )
    )
    if action == "void":
        stored = msgspec.structs.replace(stored, awaits_void=True)
    return stored, None


def void_again(stored: StoredInvoice, now_s: int) -> Step | None:
    """Ask Stripe once more for a void that it refused; None: it did not refuse one.

    The state gets a new number, since an order of a known number is answered as before.
    """
    if not stored.voids_again:
        return None
    progress = msgspec.structs.replace(stored.progress, sequence=stored.progress.sequence + 1)
    intent = InvoiceIntent(progress.invoice_id, progress.sequence, "sync_void", "retry", now_s)
    return Step(progress, (), (intent,))


def with_issue(bills: CustomerBills, stored: StoredInvoice, code: str, message: str) -> StoredInvoice:
    """The invoice with what keeps Stripe from having it; an empty message: nothing does any more."""
    others = tuple(one for one in stored.content.validation_issues if one.component != COMPONENT)
    issue = ValidationIssue(
        id=ulid.make(0, f"{stored.content.id}/issue/{code}"),
        severity="critical",
        code=code,
        component=COMPONENT,
        message=message,
        created_at=bills.moment.now,
    )
    issues = (*others, issue) if message else others
    if issues == stored.content.validation_issues:
        return stored
    content = msgspec.structs.replace(stored.content, validation_issues=issues)
    return msgspec.structs.replace(stored, content=content)
