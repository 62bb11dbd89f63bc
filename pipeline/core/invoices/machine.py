"""Moving an invoice along the table of states.

Owns: firing triggers, asking for effects and taking their answers, what the clock does. Does not own: the table
(state_table), what clients may do (actions), payments that an app reports (payment), the content (invoice).

Everything is a function of records: an instant is the time of the record that is applied, a repeated record finds that
its answer is known and changes nothing. Effects are asked for by intents, whose names are pure functions of the
invoice, the number of states before, and the effect; so a replay asks for the same. Instants are seconds since 1970.

    draft.waiting_for_collection --clock, collectionAt--> draft.collecting, intent `collect`
    answer to `collect`                                   intent `rate`
    answer to `rate`                                      draft.validating, intent `rate`, and so on
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pipeline.core.invoices.payment_fact import stronger
from pipeline.core.invoices.progress import DraftTerms, EffectAnswer, InvoiceIntent, InvoiceProgress, Step
from pipeline.core.invoices.state_table import (
    AWAITED,
    BEGUN,
    LOCAL_EFFECTS,
    START,
    TABLE,
    Effect,
    InvoiceState,
    InvoiceTrigger,
    Way,
    WayGuard,
)
from pipeline.errors import Broken, Rejected


def begin(invoice_id: str, terms: DraftTerms, created_at_s: int) -> Step:
    """A new invoice, in `draft.created`."""
    invoice = InvoiceProgress(
        invoice_id=invoice_id, state=START, sequence=0, entered_at_s=created_at_s, terms=terms
    )
    return _enter(invoice, START, "next", created_at_s)


def way_of(invoice: InvoiceProgress, trigger: InvoiceTrigger, now_s: int) -> Way | None:
    """The way that a trigger opens at an instant; None where there is none."""
    ways = TABLE[invoice.state].get(trigger, ())
    return next((way for way in ways if all(_holds(guard, invoice, now_s) for guard in way.guards)), None)


def fire(invoice: InvoiceProgress, trigger: InvoiceTrigger, now_s: int) -> Step | None:
    """Fire a trigger, then advance.

    Returns:
        None if the state has no way for it. A way to the state itself changes nothing.
    """
    way = way_of(invoice, trigger, now_s)
    if way is None:
        return None
    if way.to == invoice.state:
        return Step(invoice)
    return _then_advance(_enter(invoice, way.to, trigger, now_s), now_s)


def advance(invoice: InvoiceProgress, now_s: int) -> Step:
    """Continue until the invoice waits for an answer, an instant or a trigger, or ends. This is what the clock does.

    Args:
        now_s: the time of the record. One before the newest change counts as that.
    """
    return _then_advance(Step(invoice), max(now_s, invoice.entered_at_s))


def answer(invoice: InvoiceProgress, answered: EffectAnswer, now_s: int) -> Step:
    """Apply the result of an effect.

    An answer to a state that was left changes nothing but the number, which is never lost.

    Raises:
        Broken: the numbering gives another number than the one that the invoice has.
        Rejected: `invoice_number_is_fixed`: an app does.
    """
    invoice = _numbered(invoice, answered)
    if not _awaits(invoice, answered):
        return Step(invoice)
    if answered.terms is not None:
        invoice = msgspec.structs.replace(invoice, terms=answered.terms)
    # An effect that leaves a critical issue has failed, as long as the content may still be changed.
    critical = invoice.terms.is_critical and invoice.state.startswith("draft.")
    if answered.failed or critical:
        failed = fire(invoice, "failed", now_s)
        if failed is None:
            raise Broken(f"The invoice {invoice.invoice_id} has no way to fail in {invoice.state}.")
        return failed
    rest = invoice.waiting[1:]
    return _then_advance(_ask(msgspec.structs.replace(invoice, waiting=rest), (), "next", now_s), now_s)


def perform(step: Step, effect_of: Callable[[Step, InvoiceIntent], EffectAnswer], now_s: int) -> Step:
    """Do the local effects of a step, and those that follow from them, in the same transaction.

    Args:
        step: what a record did.
        effect_of: does one effect, and returns its answer.
        now_s: the time of the record.

    Returns:
        The invoice after all of them, with every state that was entered and the intents that other stages answer.
    """
    entered, left = list(step.entered), list[InvoiceIntent]()
    open_intents = list(step.intents)
    while open_intents:
        intent = open_intents.pop(0)
        if intent.effect not in LOCAL_EFFECTS:
            left.append(intent)
            continue
        step = answer(step.invoice, effect_of(step, intent), now_s)
        entered += step.entered
        open_intents += step.intents
    return Step(step.invoice, tuple(entered), tuple(left))


def next_due_s(invoice: InvoiceProgress) -> int | None:
    """The next instant at which the clock moves the invoice; None if none does."""
    if way_of(invoice, "next", invoice.entered_at_s) is not None and not invoice.waiting:
        return invoice.entered_at_s
    if invoice.state == "draft.waiting_for_collection":
        return invoice.terms.collection_at_s
    if invoice.state == "draft.waiting_auto_approval" and not invoice.terms.is_critical:
        return invoice.terms.draft_until_s
    return invoice.due_at_s if _awaits_due_at(invoice) else None


def _awaits_due_at(invoice: InvoiceProgress) -> bool:
    unanswered = not invoice.was_overdue and not invoice.terms.app_has_clock
    return unanswered and "overdue" in TABLE[invoice.state]


def _holds(guard: WayGuard, invoice: InvoiceProgress, now_s: int) -> bool:
    terms = invoice.terms
    match guard:
        case "collection_due":
            return now_s >= terms.collection_at_s
        case "draft_over":
            return terms.draft_until_s is not None and now_s >= terms.draft_until_s
        case "not_critical":
            return not terms.is_critical
        case "auto_advance":
            return terms.auto_advance
        case "by_hand":
            return not terms.auto_advance
        case "has_lines":
            return terms.has_lines
        case "no_lines":
            return not terms.has_lines
        case "not_numbered":
            return not invoice.number_requested
        case "numbered":
            return invoice.number is not None
        case "void_reported":
            return invoice.paid_by is not None and invoice.paid_by.trigger == "void"


def _enter(invoice: InvoiceProgress, state: InvoiceState, trigger: InvoiceTrigger, now_s: int) -> Step:
    now_s = max(now_s, invoice.entered_at_s)
    issued = invoice.issued_at_s
    entered = msgspec.structs.replace(
        invoice,
        state=state,
        sequence=invoice.sequence + 1,
        entered_at_s=now_s,
        waiting=_effects_of(invoice, state),
        approved=trigger == "approve" or (invoice.approved and trigger != "edit"),
        issued_at_s=now_s if issued is None and state == "issuing.syncing" else issued,
        was_overdue=invoice.was_overdue or state == "overdue",
    )
    return _ask(entered, (state,), trigger, now_s)


def _effects_of(invoice: InvoiceProgress, state: InvoiceState) -> tuple[Effect, ...]:
    effects = AWAITED.get(state, ())
    return effects[::-1] if state == "issuing.syncing" and invoice.terms.app_numbers else effects


def _ask(
    invoice: InvoiceProgress, entered: tuple[InvoiceState, ...], trigger: InvoiceTrigger, now_s: int
) -> Step:
    """Ask for the first effect that is awaited, and for those of a new state that are only begun."""
    if invoice.waiting[:1] == ("request_number",) and invoice.number is not None:
        invoice = msgspec.structs.replace(invoice, waiting=invoice.waiting[1:])
    begun = BEGUN.get(invoice.state, ()) if entered else ()
    if invoice.waiting[:1] == ("request_number",):
        invoice = msgspec.structs.replace(invoice, number_requested=True)
    intents = tuple(
        InvoiceIntent(invoice.invoice_id, invoice.sequence, effect, trigger, now_s)
        for effect in (*invoice.waiting[:1], *begun)
    )
    return Step(invoice, entered, intents)


def _then_advance(step: Step, now_s: int) -> Step:
    entered, intents = list(step.entered), list(step.intents)
    while not step.invoice.waiting:
        invoice, trigger = _by_itself(step.invoice, now_s)
        way = way_of(invoice, trigger, now_s)
        if way is None:
            step = Step(invoice)
            break
        step = _enter(invoice, way.to, trigger, now_s) if way.to != invoice.state else Step(invoice)
        entered += step.entered
        intents += step.intents
    return Step(step.invoice, tuple(entered), tuple(intents))


def _by_itself(invoice: InvoiceProgress, now_s: int) -> tuple[InvoiceProgress, InvoiceTrigger]:
    """What moves an invoice that waits for no effect: a payment that is held, the due date, or the way on."""
    held = invoice.held
    if held is not None and way_of(invoice, held.trigger, now_s) is not None:
        paid_by = stronger(invoice.paid_by, held)
        return msgspec.structs.replace(invoice, held=None, paid_by=paid_by), held.trigger
    due_at = invoice.due_at_s
    if _awaits_due_at(invoice) and due_at is not None and now_s >= due_at:
        return invoice, "overdue"
    return invoice, "next"


def _numbered(invoice: InvoiceProgress, answered: EffectAnswer) -> InvoiceProgress:
    """The invoice with the number that an answer brings: ours at any time, that of an app while it is awaited."""
    number, ours = answered.number, answered.effect == "request_number"
    if number is None or number == invoice.number or not (ours or _awaits(invoice, answered)):
        return invoice
    if invoice.number is None:
        return msgspec.structs.replace(invoice, number=number)
    sentence = f"The invoice {invoice.invoice_id} has the number {invoice.number} and cannot get {number}."
    raise Broken(sentence) if ours else Rejected("invoice_number_is_fixed", sentence)


def _awaits(invoice: InvoiceProgress, answered: EffectAnswer) -> bool:
    return answered.sequence == invoice.sequence and invoice.waiting[:1] == (answered.effect,)
