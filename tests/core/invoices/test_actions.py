"""What clients do: where it is allowed, and the code with which it is refused everywhere else."""

from __future__ import annotations

import pytest

from pipeline.core.invoices import actions
from pipeline.core.invoices.actions import Action
from pipeline.core.invoices.state_table import STATES, TABLE, InvoiceState, is_immutable
from pipeline.errors import Rejected
from tests.core.invoices.states import DAY, NOW_S, in_state, terms

EDITED = terms(due_after=DAY)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ["approve", "retry", "delete", "void", "snapshot_quantities"])
def test_every_action_in_every_state(state: InvoiceState, action: Action) -> None:
    invoice = in_state(state, number="INV-1")
    if action in TABLE[state] and (state, action) != ("overdue", "void"):
        assert actions.act(invoice, action, NOW_S).entered
        return
    with pytest.raises(Rejected) as refused:
        actions.act(invoice, action, NOW_S)
    gathering = (state, action) == ("gathering", "delete")
    code = "invoice_cannot_delete_gathering" if gathering else "invoice_action_not_available"
    assert refused.value.reason == code


@pytest.mark.parametrize("state", STATES)
def test_an_edit_in_every_state(state: InvoiceState) -> None:
    invoice = in_state(state)
    free = state == "gathering" or (
        not is_immutable(state) and state not in ("draft.updating", "draft.syncing")
    )
    if not free:
        with pytest.raises(Rejected) as refused:
            actions.edit(invoice, EDITED, NOW_S)
        assert refused.value.reason == "invoice_cannot_be_edited"
        return
    step = actions.edit(invoice, EDITED, NOW_S)
    assert step.invoice.terms == EDITED
    assert step.entered == (() if state == "gathering" else ("draft.updating",))


def test_a_number_on_its_way_forbids_a_deletion_and_the_sentence_shows_what_to_do() -> None:
    with pytest.raises(Rejected, match="has a number cannot be deleted: void it"):
        actions.act(in_state("issuing.failed", number_requested=True), "delete", NOW_S)


def test_advance_where_nothing_is_left_to_do() -> None:
    for invoice in (in_state("paid"), in_state("draft.syncing"), in_state("draft.waiting_auto_approval")):
        with pytest.raises(Rejected) as refused:
            actions.advance(invoice, NOW_S)
        assert refused.value.reason == "invoice_cannot_advance"
    assert actions.advance(in_state("draft.waiting_for_collection"), NOW_S).entered == ("draft.collecting",)


def test_an_edit_after_an_approval_needs_another_one() -> None:
    failed = in_state("draft.sync_failed", approved=True)
    assert actions.edit(failed, EDITED, NOW_S).invoice.approved is False


def test_a_void_is_sent_to_the_app() -> None:
    step = actions.act(in_state("payment_processing.pending", number="INV-1"), "void", NOW_S)
    assert [(intent.effect, intent.trigger) for intent in step.intents] == [("sync_void", "void")]
