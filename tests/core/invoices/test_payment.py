"""Payments that are reported in any order, twice, too early or too late."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices import machine, payment
from pipeline.core.invoices.payment_fact import FactTrigger, PaymentFact
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.state_table import InvoiceState
from tests.core.invoices.states import NOW_S, answered, done, in_state

LATE_S = NOW_S + 10


def pending() -> InvoiceProgress:
    return in_state("payment_processing.pending", number="INV-1")


def after(invoice: InvoiceProgress, *facts: PaymentFact) -> InvoiceProgress:
    for fact in facts:
        step = payment.report(invoice, fact, LATE_S).step
        invoice = machine.perform(step, done, LATE_S).invoice
    return invoice


@pytest.mark.parametrize(
    ("trigger", "state"),
    [
        ("authorized", "payment_processing.authorized"),
        ("paid", "paid"),
        ("payment_failed", "payment_processing.failed"),
        ("overdue", "overdue"),
        ("uncollectible", "uncollectible"),
        ("action_required", "payment_processing.action_required"),
        ("void", "voided"),
    ],
)
def test_where_each_fact_leads(trigger: FactTrigger, state: InvoiceState) -> None:
    fact = PaymentFact(trigger, 5)
    paid = after(pending(), fact)
    assert paid.state == state
    assert payment.report(paid, fact, LATE_S).outcome == "ignored"
    assert after(paid, fact) == paid


@given(
    facts=st.lists(
        st.builds(
            PaymentFact,
            st.sampled_from(["payment_failed", "action_required", "overdue", "paid", "authorized"]),
            st.integers(0, 3),
        ),
        max_size=4,
    )
)
def test_the_order_of_arrival_decides_nothing(facts: list[PaymentFact]) -> None:
    assert len({after(pending(), *order).state for order in permutations(facts)}) == 1


def test_an_older_fact_changes_nothing() -> None:
    newer = after(pending(), PaymentFact("action_required", 9))
    assert payment.report(newer, PaymentFact("payment_failed", 8), LATE_S).outcome == "ignored"
    assert after(newer, PaymentFact("payment_failed", 10)).state == "payment_processing.failed"


def test_paid_wins_late_and_nothing_follows_it() -> None:
    lost = after(pending(), PaymentFact("uncollectible", 9))
    paid = after(lost, PaymentFact("paid", 3))
    assert paid.state == "paid"
    assert after(paid, PaymentFact("void", 10), PaymentFact("payment_failed", 11)) == paid


def test_paid_after_voided_is_ignored() -> None:
    voided = after(pending(), PaymentFact("void", 5))
    assert payment.report(voided, PaymentFact("paid", 6), LATE_S).outcome == "ignored"
    assert voided.state == "voided"


def test_an_overdue_invoice_is_voided_by_its_app_and_not_by_a_client() -> None:
    overdue = after(pending(), PaymentFact("overdue", 5))
    assert machine.way_of(overdue, "void", LATE_S) is None
    assert after(overdue, PaymentFact("void", 6)).state == "voided"


def test_a_payment_before_our_own_answer_is_held() -> None:
    syncing = in_state("issuing.syncing", waiting=("finalize",), number="INV-1")
    first = payment.report(syncing, PaymentFact("payment_failed", 4), NOW_S)
    assert (first.outcome, first.step.entered) == ("held", ())
    second = payment.report(first.step.invoice, PaymentFact("paid", 5), NOW_S)
    assert payment.report(second.step.invoice, PaymentFact("payment_failed", 3), NOW_S).outcome == "ignored"
    step = machine.answer(second.step.invoice, done_finalize(syncing), LATE_S)
    ended = machine.perform(step, done, LATE_S)
    assert ended.invoice.state == "paid"
    assert ended.entered[-2:] == ("payment_processing.booking_authorized_and_settled", "paid")


def done_finalize(invoice: InvoiceProgress) -> machine.EffectAnswer:
    return machine.EffectAnswer(sequence=invoice.sequence, effect="finalize")


def test_a_payment_during_a_booking_is_held() -> None:
    booking = payment.report(pending(), PaymentFact("authorized", 4), NOW_S).step
    held = payment.report(booking.invoice, PaymentFact("paid", 5), NOW_S)
    assert held.outcome == "held"
    booked = answered(machine.Step(held.step.invoice, (), booking.intents), LATE_S)
    assert booked.invoice.state == "paid"
    assert "payment_processing.booking_settled" in booked.entered


def test_a_void_during_a_booking_waits_for_the_booking() -> None:
    booking = payment.report(pending(), PaymentFact("authorized", 4), NOW_S).step
    held = payment.report(booking.invoice, PaymentFact("void", 5), NOW_S)
    assert (held.outcome, held.step.entered) == ("held", ())
    booked = answered(machine.Step(held.step.invoice, (), booking.intents), LATE_S)
    assert booked.entered == ("voided",)


@pytest.mark.parametrize("state", ["draft.created", "draft.syncing", "gathering", "deleted"])
def test_a_payment_of_what_was_not_issued_is_ignored(state: InvoiceState) -> None:
    assert payment.report(in_state(state), PaymentFact("paid", 5), NOW_S).outcome == "ignored"
