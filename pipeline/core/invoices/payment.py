"""Payments: what an app reports about an invoice, in whatever order the reports arrive.

Owns: applying, holding or ignoring a fact. Does not own: which of two facts counts (payment_fact), what an app sends
(custom_invoicing, stripe_event, sandbox).

A report may overtake our own records: an app can be paid before its answer to `finalize` has arrived. Such a fact is
held until the invoice reaches a state that takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from pipeline.core.invoices import machine
from pipeline.core.invoices.payment_fact import FactTrigger, PaymentFact, is_stronger, stronger
from pipeline.core.invoices.progress import InvoiceProgress, Step
from pipeline.core.invoices.state_table import InvoiceState

FactOutcome = Literal["applied", "held", "ignored"]
_BOOKING = "payment_processing.booking_"
# States that have no way for the trigger that leads to them: a newer fact confirms them.
_CONFIRMED: Final[Mapping[InvoiceState, FactTrigger]] = {
    "overdue": "overdue",
    "uncollectible": "uncollectible",
    "payment_processing.authorized": "authorized",
}


class Reported(NamedTuple):
    """What a fact did. ignored: it is older than what is known, or the invoice has no way for it."""

    step: Step
    outcome: FactOutcome


def report(invoice: InvoiceProgress, fact: PaymentFact, now_s: int) -> Reported:
    """Apply a fact. The same fact again is ignored.

    Args:
        invoice: before the fact.
        fact: what happened.
        now_s: the time of the record that brings it.
    """
    if not is_stronger(fact, invoice.paid_by):
        return Reported(Step(invoice), "ignored")
    known = msgspec.structs.replace(invoice, paid_by=fact)
    if not invoice.waiting and machine.way_of(known, fact.trigger, now_s) is not None:
        step = machine.fire(known, fact.trigger, now_s)
        return Reported(Step(known) if step is None else step, "applied")
    if _CONFIRMED.get(invoice.state) == fact.trigger:
        return Reported(Step(known), "applied")
    if not _is_on_its_way(invoice) or (invoice.held is not None and not is_stronger(fact, invoice.held)):
        return Reported(Step(invoice), "ignored")
    return Reported(Step(msgspec.structs.replace(invoice, held=stronger(invoice.held, fact))), "held")


def _is_on_its_way(invoice: InvoiceProgress) -> bool:
    """Whether the app may know more of the invoice than our records do."""
    state = invoice.state
    return state == "issued" or state.startswith(("issuing.", _BOOKING))
