"""Invoices in a state, for the tests of this folder."""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.machine import answer, begin, perform
from pipeline.core.invoices.progress import DraftTerms, EffectAnswer, InvoiceIntent, InvoiceProgress, Step
from pipeline.core.invoices.state_table import AWAITED, InvoiceState
from pipeline.core.values.calendar import Interval

ID = "01J0000000000000000000000A"
NOW_S = 1_800_000_000
DAY = Interval(0, 0, 1)


def terms(**changed: object) -> DraftTerms:
    """Collected at NOW_S, a draft for one day, due 30 days later."""
    usual = DraftTerms(
        auto_advance=True,
        collection_at_s=NOW_S,
        draft_until_s=NOW_S + 86_400,
        due_after=Interval(0, 0, 30),
    )
    return msgspec.structs.replace(usual, **changed)


def in_state(state: InvoiceState, **changed: object) -> InvoiceProgress:
    """An invoice that has just entered a state; its effects are not answered."""
    usual = InvoiceProgress(
        invoice_id=ID,
        state=state,
        sequence=7,
        entered_at_s=NOW_S,
        terms=terms(),
        waiting=AWAITED.get(state, ()),
    )
    return msgspec.structs.replace(usual, **changed)


def done(step: Step, intent: InvoiceIntent) -> EffectAnswer:
    """The answer to an intent that succeeded."""
    number = "INV-ACME-1" if intent.effect == "request_number" else None
    return EffectAnswer(sequence=intent.sequence, effect=intent.effect, number=number)


def created(**changed: object) -> Step:
    """A new invoice after its local effects."""
    return perform(begin(ID, terms(**changed), NOW_S - 3600), done, NOW_S - 3600)


def answered(step: Step, now_s: int, **changed: object) -> Step:
    """The step after the answer to its one open intent, and the local effects that follow."""
    (intent,) = step.intents
    usual = done(step, intent)
    return perform(answer(step.invoice, msgspec.structs.replace(usual, **changed), now_s), done, now_s)
