"""Callbacks of a client's own invoicing system."""

from __future__ import annotations

import pytest

from pipeline.core.invoices.custom_invoicing import (
    CUSTOM_TRIGGERS,
    CustomHooks,
    CustomTrigger,
    SyncedIds,
    answer_of,
    draft_synchronized,
    issuing_synchronized,
    payment_status,
    with_ids,
)
from pipeline.core.invoices.line import AmountDiscount, LineDiscounts, MaximumSpend
from pipeline.core.invoices.progress import InvoiceIntent
from pipeline.core.invoices.state_table import STATES, Effect
from pipeline.errors import Rejected
from tests.core.invoices.invoices import AT, content, line
from tests.core.invoices.states import ID, NOW_S, in_state, terms

NONE = SyncedIds()


@pytest.mark.parametrize(
    ("effect", "hooks", "at_once"),
    [
        ("sync_draft", CustomHooks(False, True), True),
        ("sync_draft", CustomHooks(True, False), False),
        ("finalize", CustomHooks(True, False), True),
        ("finalize", CustomHooks(False, True), False),
        ("sync_delete", CustomHooks(True, True), True),
        ("collect_payment", CustomHooks(False, False), False),
        ("request_number", CustomHooks(False, False), False),
    ],
)
def test_what_waits_for_a_callback(effect: Effect, hooks: CustomHooks, at_once: bool) -> None:
    answer = answer_of(InvoiceIntent(ID, 7, effect, "next", NOW_S), hooks)
    assert (answer is not None) == at_once
    assert answer is None or (answer.sequence, answer.effect, answer.failed) == (7, effect, False)


def test_a_draft_is_taken_over() -> None:
    discounted = line(
        discounts=LineDiscounts(amount=(AmountDiscount(id="d", reason=MaximumSpend(), amount="1"),))
    )
    ids = SyncedIds(invoice="in_1", lines={discounted.id: "il_1"}, discounts={"d": "di_1"})
    syncing = in_state("draft.syncing")
    step, changed = draft_synchronized(syncing, content(lines=(discounted,)), "A-1", ids, NOW_S)
    assert (step.entered, step.invoice.number) == (("draft.waiting_auto_approval",), "A-1")
    (only,) = changed.lines
    assert changed.external_ids is not None and only.external_ids is not None and only.discounts is not None
    assert (changed.external_ids.invoicing, only.external_ids.invoicing) == ("in_1", "il_1")
    assert only.discounts.amount[0].external_id == "di_1"
    assert with_ids(changed, NONE) == changed


@pytest.mark.parametrize("ids", [SyncedIds(lines={"x": "1"}), SyncedIds(discounts={"x": "1"})])
def test_unknown_lines_are_refused(ids: SyncedIds) -> None:
    with pytest.raises(Rejected) as refused:
        draft_synchronized(in_state("draft.syncing"), content(lines=(line(),)), None, ids, NOW_S)
    assert refused.value.reason == "invoice_line_not_found"


@pytest.mark.parametrize("state", STATES)
def test_a_callback_in_another_state_is_refused(state: str) -> None:
    invoice = in_state(state)  # type: ignore[arg-type]
    if state != "draft.syncing":
        with pytest.raises(Rejected):
            draft_synchronized(invoice, content(), None, NONE, NOW_S)
    with pytest.raises(Rejected) as refused:  # also in issuing.syncing, which waits for a number first here
        issuing_synchronized(invoice, content(), None, None, None, NOW_S)
    assert refused.value.reason == "invoice_action_not_available"


def test_an_invoice_is_issued_with_the_number_of_the_client_or_ours() -> None:
    waiting = in_state(
        "issuing.syncing", waiting=("finalize", "request_number"), terms=terms(app_numbers=True)
    )
    step, changed = issuing_synchronized(waiting, content(), "A-9", AT, "pay_1", NOW_S)
    assert (step.invoice.number, step.invoice.number_requested) == ("A-9", False)
    assert (step.entered, changed.sent_to_customer_at) == (("issuing.charge_booking",), AT)
    assert changed.external_ids is not None and changed.external_ids.payment == "pay_1"
    ours, unchanged = issuing_synchronized(waiting, content(), None, None, None, NOW_S)
    assert ([one.effect for one in ours.intents], unchanged) == (["request_number"], content())


@pytest.mark.parametrize("trigger", CUSTOM_TRIGGERS)
def test_a_payment_is_reported_once_or_again(trigger: CustomTrigger) -> None:
    pending = in_state("payment_processing.pending", number="A-1")
    first = payment_status(pending, trigger, NOW_S * 1000)
    assert len(first.entered) == 1
    assert payment_status(first.invoice, trigger, NOW_S * 1000).entered == ()


@pytest.mark.parametrize("state", ["draft.created", "draft.syncing", "gathering", "deleted", "paid"])
def test_a_payment_in_a_wrong_state_is_refused(state: str) -> None:
    with pytest.raises(Rejected, match="has no trigger payment_failed"):
        payment_status(in_state(state), "payment_failed", NOW_S * 1000)  # type: ignore[arg-type]


def test_reports_of_one_second_count_in_their_order() -> None:
    asked = payment_status(in_state("payment_processing.pending"), "action_required", NOW_S * 1000).invoice
    assert payment_status(asked, "payment_failed", NOW_S * 1000 + 1).entered == ("payment_processing.failed",)
