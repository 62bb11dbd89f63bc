"""The sandbox pays at once, or ends a payment as the metadata of the invoice wants."""

from __future__ import annotations

import pytest

from pipeline.core.invoices import machine, payment, sandbox
from pipeline.core.invoices.progress import Step
from tests.core.invoices.states import NOW_S, created, done


def run(metadata: dict[str, str] | None) -> Step:
    """From a new invoice to its end, with every intent answered by the sandbox, the numbering and the clock."""
    step = machine.perform(machine.advance(created().invoice, NOW_S + 90_000), done, NOW_S + 90_000)
    while step.intents:
        (intent,) = step.intents
        fact = sandbox.payment_of(intent, metadata)
        answer = sandbox.answer_of(intent)
        if fact is not None:
            following = payment.report(step.invoice, fact, NOW_S + 90_000).step
        elif intent.effect == "sync_void":
            break
        else:
            following = machine.answer(step.invoice, answer or done(step, intent), NOW_S + 90_000)
        step = machine.perform(following, done, NOW_S + 90_000)
    return step


@pytest.mark.parametrize(
    ("target", "state"),
    [
        (None, "paid"),
        ("paid", "paid"),
        ("something", "paid"),
        ("failed", "payment_processing.failed"),
        ("uncollectible", "uncollectible"),
        ("action_required", "payment_processing.action_required"),
    ],
)
def test_where_an_invoice_ends(target: str | None, state: str) -> None:
    metadata = None if target is None else {sandbox.TARGET: target}
    ended = run(metadata).invoice
    assert (ended.state, ended.number) == (state, "INV-ACME-1")


def test_it_answers_only_for_an_app() -> None:
    (intent,) = machine.perform(machine.advance(created().invoice, NOW_S), done, NOW_S).intents
    assert intent.effect == "collect"
    assert sandbox.answer_of(intent) is None
    assert sandbox.payment_of(intent, None) is None


def test_an_invoice_that_is_sent_is_paid_only_as_its_metadata_wants() -> None:
    step = machine.perform(machine.advance(created().invoice, NOW_S + 90_000), done, NOW_S + 90_000)
    while step.intents[0].effect != "collect_payment":
        answer = sandbox.answer_of(step.intents[0]) or done(step, step.intents[0])
        following = machine.answer(step.invoice, answer, NOW_S + 90_000)
        step = machine.perform(following, done, NOW_S + 90_000)
    (intent,) = step.intents
    assert sandbox.payment_of(intent, None, "send_invoice") is None
    paid = sandbox.payment_of(intent, {sandbox.TARGET: "paid"}, "send_invoice")
    assert paid is not None and paid == sandbox.payment_of(intent, None)
