"""Events of Stripe about an invoice: which of them mean what, in whatever order and however often they arrive.

Owns: the types that are used, how one is read, what each does. Does not own: checking a signature, calls to Stripe.

Stripe delivers an event several times and in any order. Facts of a payment are ordered by when they happened
(payment_fact); a finalization that failed counts only for the attempt that runs; what is noted of an invoice is
replaced by what is newer. So no event has to be remembered.
Source: Stripe's documentation, "Types of events" and "Receive events in your webhook endpoint".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from pipeline.core.billing.stripe_found import found_in, owner_of
from pipeline.core.invoices import machine, payment
from pipeline.core.invoices.payment import FactOutcome
from pipeline.core.invoices.payment_fact import FactTrigger, PaymentFact
from pipeline.core.invoices.progress import EffectAnswer, InvoiceProgress, Step
from pipeline.records import BillingWork, StripeInvoiceFact

StripeEventKind = Literal["payment", "finalization_failed", "noted", "customer", "usage", "unused"]

VOIDED: Final = "invoice.voided"
_PAYMENTS: Final[Mapping[str, FactTrigger]] = {
    "invoice.payment_action_required": "action_required",
    "invoice.payment_failed": "payment_failed",
    "invoice.paid": "paid",
    "invoice.payment_succeeded": "paid",
    "invoice.overdue": "overdue",
    "invoice.marked_uncollectible": "uncollectible",
    VOIDED: "void",
}
_KINDS: Final[Mapping[str, StripeEventKind]] = {
    **dict.fromkeys(_PAYMENTS, "payment"),
    "invoice.finalization_failed": "finalization_failed",
    "invoice.sent": "noted",
    "invoice.finalized": "noted",
    "setup_intent.succeeded": "customer",
    "setup_intent.setup_failed": "customer",
    "setup_intent.requires_action": "customer",
    "v1.billing.meter.error_report_triggered": "usage",
    "v1.billing.meter.no_meter_found": "usage",
}
EVENT_TYPES: Final = tuple(_KINDS)


class StripeInvoiceNote(msgspec.Struct, frozen=True, kw_only=True):
    """What Stripe shows of an invoice. at_s: of the event that had it."""

    at_s: int
    number: str | None = None
    hosted_url: str | None = None
    pdf_url: str | None = None
    due_at_s: int | None = None


class StripeInvoiceEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event about one of our invoices.

    Attributes:
        type: one of EVENT_TYPES.
        created_s: when it happened.
        note: what it shows of the invoice.
        message: why a finalization failed.
    """

    type: str
    created_s: int
    note: StripeInvoiceNote | None = None
    message: str = ""


class StripeApplied(NamedTuple):
    """What an event did. message: to be shown as a validation issue of the invoice."""

    step: Step
    outcome: FactOutcome
    message: str = ""


def kind_of(type: str) -> StripeEventKind:
    """What an event of this type is about.

    >>> kind_of("invoice.paid"), kind_of("invoice.created")
    ('payment', 'unused')
    """
    return _KINDS.get(type, "unused")


def is_paid(type: str) -> bool:
    """Whether an event of this type says that an invoice was paid."""
    return _PAYMENTS.get(type) == "paid"


def fact_of(namespace: str, app: str, event: Mapping[str, object]) -> BillingWork | None:
    """A snapshot event about an invoice that we made, for billing; None: it is about something else.

    Args:
        namespace: of the app.
        app: whose webhook received it.
        event: as JSON; its signature was verified.
    """
    type, created, data = event.get("type"), event.get("created"), event.get("data")
    shown = data.get("object") if isinstance(data, Mapping) else None
    is_used = isinstance(type, str) and kind_of(type) in ("payment", "finalization_failed", "noted")
    if (
        not isinstance(type, str)
        or not is_used
        or not isinstance(created, int)
        or not isinstance(shown, Mapping)
    ):
        return None
    owner = owner_of(shown)
    if owner.app != app or not owner.invoice or not owner.customer:
        return None
    error = shown.get("last_finalization_error")
    message = error.get("message") if isinstance(error, Mapping) else None
    fact = StripeInvoiceFact(
        app,
        created,
        type=type,
        message=message if isinstance(message, str) else "",
        found=found_in(shown),
    )
    return BillingWork(
        "stripe", customer=owner.customer, namespace=namespace, invoice=owner.invoice, stripe=fact
    )


def apply(invoice: InvoiceProgress, event: StripeInvoiceEvent, now_s: int) -> StripeApplied:
    """Apply an event about a payment or a finalization. The same event again is ignored."""
    trigger = _PAYMENTS.get(event.type)
    if trigger is not None:
        reported = payment.report(invoice, PaymentFact(trigger, event.created_s * 1000), now_s)
        return StripeApplied(reported.step, reported.outcome)
    running = invoice.state == "issuing.syncing" and invoice.waiting[:1] == ("finalize",)
    # An event of the second in which the attempt began may belong to the attempt before; its call reports it too.
    if kind_of(event.type) != "finalization_failed" or not running or event.created_s <= invoice.entered_at_s:
        return StripeApplied(Step(invoice), "ignored")
    failed = EffectAnswer(sequence=invoice.sequence, effect="finalize", failed=True)
    return StripeApplied(machine.answer(invoice, failed, now_s), "applied", event.message)


def newest_note(known: StripeInvoiceNote | None, event: StripeInvoiceEvent) -> StripeInvoiceNote | None:
    """What is noted after an event: the newer of the two, member by member where the newer one has none."""
    new = event.note
    if known is None or new is None:
        return known or new
    newer, older = (new, known) if new.at_s >= known.at_s else (known, new)
    members = {
        name: getattr(newer, name) if getattr(newer, name) is not None else getattr(older, name)
        for name in StripeInvoiceNote.__struct_fields__
    }
    return StripeInvoiceNote(**members)
