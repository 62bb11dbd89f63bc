"""One invoice on its way to Stripe: which call is next, and what each outcome does.

Owns: the order of calls, when a call is repeated, when Stripe is asked for its result. Does not own: what a call
sends (stripe_request), where rows lie (stripe_bills), what an answer means (stripe_outcome). Time is an argument (ms).

    issue   customer, if Stripe does not have it > create > lines > finalize
    pay     pay; it fails where Stripe has no finalized invoice
    void    void, or delete where Stripe has a draft; nothing where it has none; it fails where a payment was collected
            and credit notes have not given back all of it

A call's key and bytes are fixed when it is made. Stripe keeps the first result of a key for 24 hours, a 500 too. So a
call whose outcome is unknown is repeated as it is for SURE_MS; after that, and after a 500 that Stripe keeps, Stripe is
asked what it has (`found`):

    what the call does is there     it was executed, the next call follows
    it is not, twice, LOOK_AGAIN_MS apart    it was not, and is made again under a new key

Stripe's total is compared with ours after the lines and after the finalization; where it differs nothing more is done.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pipeline.core.billing.stripe_outcome import Outcome
from pipeline.core.billing.stripe_request import CallName, StripeTarget, key_of
from pipeline.core.billing.stripe_window import LOOK_AGAIN_MS, PAUSE_MOST_MS, PAUSE_MS, SURE_MS
from pipeline.records import StripeFound, StripeOrder

InvoiceOutcome = Literal["", "done", "failed"]
COLLECTED: Final = (
    "Stripe has collected the payment, so it cannot be voided there. Issue a credit note for all of it at Stripe, then "
    "retry the invoice."
)
NOT_THERE: Final = "Stripe has no finalized invoice that could be paid."
ISSUED: Final = ("open", "paid", "void", "uncollectible")
_GONE: Final = ("", "deleted")


class StripeCall(msgspec.Struct, array_like=True):
    """A call that was decided.

    Attributes:
        name: what it does.
        key: its idempotency key.
        made_at_ms: no attempt began before it.
        next_at_ms: when it is to be made, or Stripe is to be asked.
        attempts: whose outcome is known, and questions to Stripe.
        unsure: an attempt had no answer, or a 5xx: Stripe may have executed it.
        asks: Stripe is asked, and the call is not made any more.
        missed_at_ms: when Stripe was first asked and had not executed it; 0: it was not asked.
        resumes: it is asked where the invoice is, before the first call of an order.
    """

    name: CallName
    key: str
    made_at_ms: int
    next_at_ms: int
    attempts: int = 0
    unsure: bool = False
    asks: bool = False
    missed_at_ms: int = 0
    resumes: bool = False


class StripeInvoice(msgspec.Struct, array_like=True):
    """The state of an invoice.

    Attributes:
        order: what is to be done.
        stripe_customer: Stripe's id of its customer; empty: not known.
        found: what Stripe showed last; its id is that of the invoice.
        call: in progress.
        made: how many keys were made for each call.
        outcome, message: of the order, once it has ended.
        at_ms: when that was.
    """

    order: StripeOrder
    stripe_customer: str = ""
    found: StripeFound = msgspec.field(default_factory=StripeFound)
    call: StripeCall | None = None
    made: dict[str, int] = {}
    outcome: InvoiceOutcome = ""
    message: str = ""
    at_ms: int = 0


def take_order(known: StripeInvoice | None, order: StripeOrder) -> StripeInvoice:
    """An invoice with a new order. A later one takes over what Stripe has of it; a call in progress ends first."""
    if known is None:
        return StripeInvoice(order, found=StripeFound(id=order.stripe_id))
    if order.sequence <= known.order.sequence:
        return known
    if order.action != "issue":
        order = msgspec.structs.replace(known.order, action=order.action, sequence=order.sequence)
    if known.call is None and known.found.id:
        known.found = StripeFound(id=known.found.id)  # it may have changed since
    known.order, known.outcome, known.message = order, "", ""
    return known


def proceed(invoice: StripeInvoice, target: StripeTarget, now_ms: int) -> None:
    """Make the next call of an order, or end it.

    Args:
        invoice: changed in place.
        target: with the ids of the invoice and its customer; those of Stripe are taken from `invoice`.
        now_ms: the time of the record.
    """
    if invoice.call is not None or invoice.outcome:
        return
    if invoice.found.id and not invoice.found.status:
        _make(invoice, target, "create", now_ms, resumes=True)  # its state is not known: it is asked
        return
    name = _next(invoice)
    if name is not None:
        _make(invoice, target, name, now_ms)
    elif _is_issue_of_another_total(invoice):
        ours, theirs = invoice.order.total, invoice.found.total
        _end(
            invoice,
            "failed",
            f"Stripe's total is {theirs} where ours is {ours}, in its smallest unit.",
            now_ms,
        )
    elif invoice.order.action == "void" and _is_collected(invoice.found):
        _end(invoice, "failed", COLLECTED, now_ms)
    elif invoice.order.action == "pay" and invoice.found.status in (*_GONE, "draft"):
        _end(invoice, "failed", NOT_THERE, now_ms)
    else:
        _end(invoice, "done", "", now_ms)


def target_of(invoice: StripeInvoice, target: StripeTarget) -> StripeTarget:
    """The target with what is known of Stripe's ids."""
    return target._replace(stripe_customer=invoice.stripe_customer, stripe_invoice=invoice.found.id)


def must_ask(call: StripeCall, now_ms: int) -> bool:
    """Whether Stripe has to be asked the result of a call before it may be made again."""
    return call.asks or call.resumes or now_ms - call.made_at_ms >= SURE_MS


def settle(
    invoice: StripeInvoice,
    key: str,
    outcome: Outcome,
    now_ms: int,
    found: StripeFound | None = None,
    message: str = "",
    is_stored: bool = False,
) -> None:
    """Apply the outcome of a call. An outcome of another call changes nothing.

    Args:
        invoice: changed in place.
        key: of the call.
        outcome: of the attempt.
        now_ms: when it is applied.
        found: what the answer shows; of a call that was not done only the customer that it has created.
        message: Stripe's own.
        is_stored: a repeat would bring the same answer.
    """
    call = invoice.call
    if call is None or call.key != key:
        return
    call.attempts += 1
    call.next_at_ms = now_ms + min(PAUSE_MS << min(call.attempts, 20), PAUSE_MOST_MS)
    if call.resumes:
        return
    if outcome == "done" and found is not None:
        _executed(invoice, call, found, now_ms)
        return
    if call.name == "customer" and found is not None and found.id:
        invoice.stripe_customer = found.id  # it was created, and only its details were not taken
    invoice.message = message
    if outcome == "refused" and not call.unsure:
        invoice.call = None
        _end(invoice, "failed", message, now_ms)
        return
    if outcome == "refused" or (outcome == "unknown" and is_stored):
        call.asks = True
    call.unsure = call.unsure or outcome == "unknown"


def ask(invoice: StripeInvoice, key: str, found: StripeFound, now_ms: int) -> None:
    """Apply what Stripe has, as it was asked about a call.

    Args:
        invoice: changed in place.
        key: of the call.
        found: the customer or the invoice; without an id: there is none.
        now_ms: when it is applied.
    """
    call = invoice.call
    if call is None or call.key != key:
        return
    if call.resumes:
        invoice.call = None
        invoice.found = StripeFound(status="deleted") if found.status in _GONE else found
        return
    if _is_done(invoice, call.name, found):
        _executed(invoice, call, found, now_ms)
        return
    if not call.missed_at_ms or now_ms - call.missed_at_ms < LOOK_AGAIN_MS:
        call.missed_at_ms = call.missed_at_ms or now_ms
        call.asks, call.next_at_ms = True, max(call.missed_at_ms + LOOK_AGAIN_MS, now_ms + PAUSE_MS)
        call.attempts += 1  # what was asked too early has changed the call, or it would not be asked again
        return
    invoice.call = None  # it was not executed: a new key follows
    if call.name != "customer" and found.id:
        invoice.found = found


def end_unfinished(invoice: StripeInvoice, message: str, now_ms: int) -> None:
    """An order fails although a call may be in progress, whose outcome stays unknown. message: why."""
    call, invoice.call = invoice.call, None
    if call is not None and not call.resumes:
        message = f"{message} Whether Stripe has executed the call {call.name} is unknown."
    _end(invoice, "failed", message, now_ms)


def _make(
    invoice: StripeInvoice, target: StripeTarget, name: CallName, now_ms: int, resumes: bool = False
) -> None:
    made = invoice.made.get(name, 0) + 1
    key = key_of(name, target_of(invoice, target), invoice.order, made)
    if resumes:
        key = f"ask-{invoice.order.sequence}-{key}"
    else:
        invoice.made = invoice.made | {name: made}
    invoice.call = StripeCall(name, key, now_ms, now_ms, resumes=resumes)


def _next(invoice: StripeInvoice) -> CallName | None:
    """The next call of the order; None: there is none, and it ends."""
    found, order = invoice.found, invoice.order
    match order.action:
        case "void":
            if found.status == "draft":
                return "delete"
            return "void" if found.status in ("open", "uncollectible") else None
        case "pay":
            return "pay" if found.status == "open" else None
        case "issue":
            return _next_of_issue(invoice)


def _next_of_issue(invoice: StripeInvoice) -> CallName | None:
    found, order = invoice.found, invoice.order
    if found.status in _GONE:
        return "create" if invoice.stripe_customer else "customer"
    if found.status == "draft" and found.items == 0 and order.items:
        return "lines"
    return "finalize" if found.status == "draft" and found.total == order.total else None


def _is_collected(found: StripeFound) -> bool:
    return found.status == "paid" and found.total > found.credited


def _is_issue_of_another_total(invoice: StripeInvoice) -> bool:
    return invoice.order.action == "issue" and invoice.found.total != invoice.order.total


def _is_done(invoice: StripeInvoice, name: CallName, found: StripeFound) -> bool:
    """Whether what Stripe has shows that a call was executed."""
    match name:
        case "customer" | "create":
            return bool(found.id) and found.status != "deleted"
        case "lines":
            return found.items > 0 or found.status in ISSUED
        case "finalize":
            return found.status in ISSUED
        case "pay":
            return found.status == "paid"
        case "void":
            return found.status == "void"
        case "delete":
            return found.status in _GONE


def _executed(invoice: StripeInvoice, call: StripeCall, found: StripeFound, now_ms: int) -> None:
    invoice.call, invoice.message = None, ""
    if call.name == "customer":
        invoice.stripe_customer = found.id
        return
    if call.name == "delete":
        found = StripeFound(status="deleted")
    invoice.found = found
    if call.name == "pay" and found.status != "paid":
        _end(invoice, "failed", "The payment was not collected.", now_ms)


def _end(invoice: StripeInvoice, outcome: InvoiceOutcome, message: str, now_ms: int) -> None:
    invoice.outcome, invoice.message, invoice.at_ms = outcome, message, now_ms
