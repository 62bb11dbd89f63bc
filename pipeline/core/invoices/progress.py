"""How far an invoice is: its state, what it waits for, what a record did to it.

Owns: these values. Does not own: moving along (machine), the table of states (state_table), the content (invoice).
Instants are seconds since 1970.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pipeline.core.invoices.payment_fact import PaymentFact
from pipeline.core.invoices.state_table import Effect, InvoiceState, InvoiceTrigger
from pipeline.core.invoices.times import due_at_s
from pipeline.core.values.calendar import Interval


class DraftTerms(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the content and the workflow of an invoice decide about its way. A change of either replaces all of it.

    Attributes:
        auto_advance: it is issued without an approval.
        collection_at_s: until then usage is awaited.
        draft_until_s: until then it may be checked; None: it waits for an approval.
        due_after, zone: from when payment is due, and in which zone days and months are counted.
        has_lines: a line is not deleted.
        is_critical: a validation issue is critical.
        app_numbers: its app may give it a number of its own.
        app_has_clock: its app reports itself when payment is overdue.
    """

    auto_advance: bool
    collection_at_s: int
    draft_until_s: int | None
    due_after: Interval
    zone: str = "UTC"
    has_lines: bool = True
    is_critical: bool = False
    app_numbers: bool = False
    app_has_clock: bool = False


class InvoiceProgress(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The state of one invoice.

    Attributes:
        sequence: how many states it was in, this one included.
        waiting: effects of this state that are not answered; the first one is asked for.
        approved: a client approved it, and did not wait for `draft_until_s`.
        number_requested: a number of our series is its own, known or not.
        number: the number of the issued invoice; that of a draft is another (numbering.draft_number).
        issued_at_s: it went to the app for good.
        was_overdue: the clock does not make it overdue again.
        paid_by: the newest payment fact that was applied; `held`: one that waits for a state that takes it.
    """

    invoice_id: str
    state: InvoiceState
    sequence: int
    entered_at_s: int
    terms: DraftTerms
    waiting: tuple[Effect, ...] = ()
    approved: bool = False
    number_requested: bool = False
    number: str | None = None
    issued_at_s: int | None = None
    was_overdue: bool = False
    paid_by: PaymentFact | None = None
    held: PaymentFact | None = None

    @property
    def due_at_s(self) -> int | None:
        """When it has to be paid; None: not known before it is approved."""
        issued_at_s = self.issued_at_s if self.approved else None
        return due_at_s(self.terms.draft_until_s, issued_at_s, self.terms.due_after, self.terms.zone)


class InvoiceIntent(NamedTuple):
    """An effect that is asked for. trigger: what led to the state of `sequence`."""

    invoice_id: str
    sequence: int
    effect: Effect
    trigger: InvoiceTrigger
    at_s: int

    @property
    def id(self) -> str:
        """The same for the same step of the same invoice."""
        return f"{self.invoice_id}/{self.sequence}/{self.effect}"


class EffectAnswer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The result of an effect.

    Attributes:
        sequence, effect: of the intent.
        failed: it was not done, and a retry is needed.
        terms: what the invoice is after it; None: nothing changed.
        number: given by the numbering, or by an app that numbers.
    """

    sequence: int
    effect: Effect
    failed: bool = False
    terms: DraftTerms | None = None
    number: str | None = None


class Step(NamedTuple):
    """What a record did: the invoice after it, the states that it entered in order, the effects to begin."""

    invoice: InvoiceProgress
    entered: tuple[InvoiceState, ...] = ()
    intents: tuple[InvoiceIntent, ...] = ()
