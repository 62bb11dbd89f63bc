"""The custom invoicing app: a client's own invoicing system, which calls back when it has taken an invoice over.

Owns: which effects wait for a callback, what each callback does to an invoice and its content. Does not own: routes.
Without its hook an effect is done at once. While `issuing.syncing` waits for a callback, the client may number the
invoice itself; otherwise it gets a number of ours after the callback. A callback in another state is refused, and so is
one that names a line that the invoice does not have.
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` CustomInvoicingDraftSynchronizedRequest,
CustomInvoicingFinalizedRequest, CustomInvoicingPaymentTrigger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from pipeline.core.invoices import machine, payment
from pipeline.core.invoices.invoice import InvoiceContent, InvoiceExternalIds
from pipeline.core.invoices.line import InvoiceLine, LineExternalIds
from pipeline.core.invoices.payment_fact import FactTrigger, PaymentFact
from pipeline.core.invoices.progress import EffectAnswer, InvoiceIntent, InvoiceProgress, Step
from pipeline.core.invoices.state_table import Effect
from pipeline.errors import Rejected

CustomTrigger = Literal[
    "paid", "payment_failed", "payment_uncollectible", "payment_overdue", "action_required", "void"
]
CUSTOM_TRIGGERS: Final[tuple[CustomTrigger, ...]] = get_args(CustomTrigger)
_FACTS: Final[Mapping[CustomTrigger, FactTrigger]] = {
    "paid": "paid",
    "payment_failed": "payment_failed",
    "payment_uncollectible": "uncollectible",
    "payment_overdue": "overdue",
    "action_required": "action_required",
    "void": "void",
}


class CustomHooks(NamedTuple):
    """Which effects wait for a callback: those of `draft.syncing`, those of `issuing.syncing`."""

    draft: bool
    issuing: bool


class SyncedIds(msgspec.Struct, frozen=True, kw_only=True):
    """The ids that a client has for an invoice.

    Attributes:
        invoice: of the invoice.
        lines: line id -> its id there.
        discounts: id of a discount of a line -> its id there.
    """

    invoice: str | None = None
    lines: Mapping[str, str] = {}
    discounts: Mapping[str, str] = {}


class CalledBack(NamedTuple):
    """What a callback did to the state and to the content."""

    step: Step
    content: InvoiceContent


def answer_of(intent: InvoiceIntent, hooks: CustomHooks) -> EffectAnswer | None:
    """The answer to an intent for the app; None for one that waits for a callback, or has no answer."""
    waits = {"sync_draft": hooks.draft, "finalize": hooks.issuing, "sync_delete": False}
    if waits.get(intent.effect, True):
        return None
    return EffectAnswer(sequence=intent.sequence, effect=intent.effect)


def draft_synchronized(
    invoice: InvoiceProgress, content: InvoiceContent, number: str | None, ids: SyncedIds, now_s: int
) -> CalledBack:
    """The client has taken a draft over.

    Args:
        number: that the client gives the invoice; None: it gives none.
        ids: that the client has for it.

    Raises:
        Rejected: `invoice_action_not_available` in another state, `invoice_line_not_found`.
    """
    step = _answered(invoice, "draft.syncing", "sync_draft", number, now_s)
    return CalledBack(step, with_ids(content, ids))


def issuing_synchronized(
    invoice: InvoiceProgress,
    content: InvoiceContent,
    number: str | None,
    sent_to_customer_at: str | None,
    payment_id: str | None,
    now_s: int,
) -> CalledBack:
    """The client has issued an invoice.

    Args:
        number: that the client gives it; None: it gets one of ours.
        sent_to_customer_at: RFC 3339; when the customer got it.
        payment_id: of the payment, at the client.

    Raises:
        Rejected: `invoice_action_not_available` in another state, `invoice_number_is_fixed` if it has another number.
    """
    step = _answered(invoice, "issuing.syncing", "finalize", number, now_s)
    ids = content.external_ids or InvoiceExternalIds()
    if payment_id is not None:
        ids = msgspec.structs.replace(ids, payment=payment_id)
    changed = msgspec.structs.replace(
        content,
        sent_to_customer_at=sent_to_customer_at or content.sent_to_customer_at,
        external_ids=None if ids == InvoiceExternalIds() else ids,
    )
    return CalledBack(step, changed)


def payment_status(invoice: InvoiceProgress, trigger: CustomTrigger, now_ms: int) -> Step:
    """The client reports a payment. The state that the invoice has already is no change.

    Args:
        now_ms: the time of the record; a callback has none of its own.

    Raises:
        Rejected: `invoice_action_not_available`: the state has no way for it.
    """
    reported = payment.report(invoice, PaymentFact(_FACTS[trigger], now_ms), now_ms // 1000)
    known = invoice.paid_by is not None and invoice.paid_by.trigger == _FACTS[trigger]
    if reported.outcome == "ignored" and not known:
        raise Rejected(
            "invoice_action_not_available", f"An invoice that is {invoice.state} has no trigger {trigger}."
        )
    return reported.step


def with_ids(content: InvoiceContent, ids: SyncedIds) -> InvoiceContent:
    """The content with the ids of a client; those that it had and that are not named stay.

    Raises:
        Rejected: `invoice_line_not_found`: an id of a line or discount that the invoice does not have.
    """
    lines = {line.id for line in content.lines}
    discounts = {one.id for line in content.lines if line.discounts for one in line.discounts.amount}
    unknown = [
        *(id for id in ids.lines if id not in lines),
        *(id for id in ids.discounts if id not in discounts),
    ]
    if unknown:
        raise Rejected(
            "invoice_line_not_found", f"The invoice has no line or discount {', '.join(unknown)[:512]}."
        )
    external = content.external_ids
    if ids.invoice is not None:
        external = msgspec.structs.replace(external or InvoiceExternalIds(), invoicing=ids.invoice)
    named = tuple(_line_with_ids(line, ids) for line in content.lines)
    return msgspec.structs.replace(content, external_ids=external, lines=named)


def _line_with_ids(line: InvoiceLine, ids: SyncedIds) -> InvoiceLine:
    if line.id in ids.lines:
        external = line.external_ids or LineExternalIds()
        line = msgspec.structs.replace(
            line, external_ids=msgspec.structs.replace(external, invoicing=ids.lines[line.id])
        )
    if line.discounts is None:
        return line
    amount = tuple(
        msgspec.structs.replace(one, external_id=ids.discounts.get(one.id, one.external_id))
        for one in line.discounts.amount
    )
    return msgspec.structs.replace(line, discounts=msgspec.structs.replace(line.discounts, amount=amount))


def _answered(invoice: InvoiceProgress, state: str, effect: Effect, number: str | None, now_s: int) -> Step:
    if invoice.state != state or invoice.waiting[:1] != (effect,):
        raise Rejected(
            "invoice_action_not_available", f"An invoice that is {invoice.state} waits for no such callback."
        )
    answered = EffectAnswer(sequence=invoice.sequence, effect=effect, number=number)
    return machine.answer(invoice, answered, now_s)
