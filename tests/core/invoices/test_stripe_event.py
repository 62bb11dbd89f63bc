"""Events of Stripe: reversed, repeated, too early, of an attempt before."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.invoices import actions, machine
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.stripe_event import (
    EVENT_TYPES,
    StripeInvoiceEvent,
    StripeInvoiceNote,
    apply,
    fact_of,
    kind_of,
    newest_note,
)
from tests.core.invoices.states import NOW_S, done, in_state
from tests.fixtures.examples import examples

SYNCING = in_state("issuing.syncing", waiting=("finalize",), number="INV-1", number_requested=True)


def event(type: str, created_s: int = NOW_S + 5) -> StripeInvoiceEvent:
    return StripeInvoiceEvent(type=f"invoice.{type}", created_s=created_s, message="no tax address")


def after(invoice: InvoiceProgress, *events: StripeInvoiceEvent) -> InvoiceProgress:
    for one in events:
        invoice = machine.perform(apply(invoice, one, NOW_S + 60).step, done, NOW_S + 60).invoice
    return invoice


@pytest.mark.parametrize(
    ("type", "state"),
    [
        ("payment_action_required", "payment_processing.action_required"),
        ("payment_failed", "payment_processing.failed"),
        ("paid", "paid"),
        ("payment_succeeded", "paid"),
        ("overdue", "overdue"),
        ("marked_uncollectible", "uncollectible"),
        ("voided", "voided"),
    ],
)
def test_what_each_event_does(type: str, state: str) -> None:
    pending = in_state("payment_processing.pending", number="INV-1")
    assert after(pending, event(type)).state == state
    assert after(pending, event(type), event(type)) == after(pending, event(type))


@settings(max_examples=examples(50))
@given(
    events=st.lists(
        st.builds(
            event,
            st.sampled_from(
                ["payment_action_required", "payment_failed", "overdue", "paid", "payment_succeeded"]
            ),
            st.integers(NOW_S, NOW_S + 2),
        ),
        max_size=4,
    ),
    before_our_answer=st.integers(0, 4),
)
def test_any_order_also_before_our_own_answer(
    events: list[StripeInvoiceEvent], before_our_answer: int
) -> None:
    ends = set()
    for order in permutations(events):
        early = after(SYNCING, *order[:before_our_answer])
        assert early.state == "issuing.syncing"
        finalized = machine.EffectAnswer(sequence=SYNCING.sequence, effect="finalize")
        known = machine.perform(machine.answer(early, finalized, NOW_S + 60), done, NOW_S + 60).invoice
        ends.add(after(known, *order[before_our_answer:]).state)
    assert len(ends) == 1


def test_a_finalization_that_failed() -> None:
    failed = apply(SYNCING, event("finalization_failed"), NOW_S + 6)
    assert (failed.step.entered, failed.message) == (("issuing.failed",), "no tax address")
    again = apply(failed.step.invoice, event("finalization_failed"), NOW_S + 7)
    assert (again.outcome, again.step.entered) == ("ignored", ())


def test_a_failure_of_the_attempt_before_is_ignored() -> None:
    failed = after(SYNCING, event("finalization_failed", NOW_S + 5))
    retried = actions.act(failed, "retry", NOW_S + 70).invoice
    assert retried.state == "issuing.syncing"
    for created_s in (NOW_S + 5, NOW_S + 70):
        assert apply(retried, event("finalization_failed", created_s), NOW_S + 80).outcome == "ignored"
    assert apply(retried, event("finalization_failed", NOW_S + 71), NOW_S + 80).outcome == "applied"


@pytest.mark.parametrize("type", ["sent", "finalized", "created", "updated"])
def test_other_events_change_no_state(type: str) -> None:
    assert apply(SYNCING, event(type), NOW_S).outcome == "ignored"


def test_the_types_that_are_used() -> None:
    assert len(EVENT_TYPES) == 15
    assert "unused" not in {kind_of(type) for type in EVENT_TYPES}
    assert kind_of("setup_intent.succeeded") == "customer"
    assert kind_of("v1.billing.meter.no_meter_found") == "usage"


def test_the_newest_note_counts_and_keeps_what_it_does_not_have() -> None:
    older = StripeInvoiceNote(at_s=1, number="INV-1", hosted_url="https://old")
    newer = StripeInvoiceNote(at_s=2, hosted_url="https://new")
    merged = StripeInvoiceNote(at_s=2, number="INV-1", hosted_url="https://new")
    for first, second in ((older, newer), (newer, older)):
        known = newest_note(None, StripeInvoiceEvent(type="invoice.sent", created_s=1, note=first))
        assert newest_note(known, StripeInvoiceEvent(type="invoice.sent", created_s=2, note=second)) == merged
    assert newest_note(older, event("sent")) == older


def snapshot(**changed: object) -> dict[str, object]:
    metadata = {"tm_invoice_id": "01I", "tm_app_id": "01A", "tm_customer_id": "01C"}
    shown = {"id": "in_1", "status": "draft", "metadata": metadata} | changed
    return {"id": "e", "type": "invoice.finalization_failed", "created": 7, "data": {"object": shown}}


def test_an_event_is_read_with_its_reason_and_whose_it_is() -> None:
    work = fact_of("default", "01A", snapshot(last_finalization_error={"message": "no tax address"}))
    assert work is not None and work.stripe is not None
    assert (work.namespace, work.customer, work.invoice) == ("default", "01C", "01I")
    assert (work.stripe.at_s, work.stripe.message) == (7, "no tax address")


@pytest.mark.parametrize(
    "event",
    [
        snapshot(metadata={}),
        snapshot(metadata={"tm_invoice_id": "01I", "tm_app_id": "01B", "tm_customer_id": "01C"}),
        snapshot(metadata=[]),
        snapshot() | {"type": "invoice.created"},
        snapshot() | {"created": "7"},
        snapshot() | {"data": {}},
        snapshot() | {"data": None},
        {},
    ],
)
def test_another_event_is_none_of_billing(event: dict[str, object]) -> None:
    assert fact_of("default", "01A", event) is None
