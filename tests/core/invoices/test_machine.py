"""The path of an invoice by records: effects in order, instants, numbers; and laws over random records."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.invoices import actions, machine, payment
from pipeline.core.invoices.payment_fact import PaymentFact
from pipeline.core.invoices.progress import EffectAnswer, InvoiceProgress, Step
from pipeline.core.invoices.state_table import FINAL, LOCAL_EFFECTS, STATES, TABLE, is_immutable
from pipeline.errors import Broken, Rejected
from tests.core.invoices.states import DAY, ID, NOW_S, answered, created, done, in_state, terms
from tests.fixtures.examples import examples

STRAIGHT = (
    "draft.collecting", "draft.validating", "draft.syncing", "draft.waiting_auto_approval", "draft.ready_to_issue",
    "issuing.line_finalization", "issuing.syncing", "issuing.charge_booking", "issued", "payment_processing.pending",
)  # fmt: skip


def issued(**changed: object) -> Step:
    """An invoice that waits for its payment."""
    step = machine.advance(created(**changed).invoice, NOW_S)
    for at_s in (NOW_S, NOW_S):
        step = answered(step, at_s)
    step = machine.perform(machine.advance(step.invoice, NOW_S + 86_400), done, NOW_S + 86_400)
    while step.invoice.waiting:
        step = answered(step, NOW_S + 86_400)
    return step


def test_the_straight_path() -> None:
    step = created()
    assert step.entered == ("draft.created", "draft.waiting_for_collection")
    assert machine.next_due_s(step.invoice) == NOW_S
    entered, asked = list[str](), list[str]()
    step = machine.perform(machine.advance(step.invoice, NOW_S), done, NOW_S)
    while True:
        entered += step.entered
        asked += [intent.id for intent in step.intents]
        if step.invoice.waiting:
            step = answered(step, NOW_S)
        elif step.invoice.state == "draft.waiting_auto_approval":
            assert machine.next_due_s(step.invoice) == NOW_S + 86_400
            step = machine.perform(machine.advance(step.invoice, NOW_S + 86_400), done, NOW_S + 86_400)
        else:
            break
    assert tuple(entered) == STRAIGHT
    assert asked == [
        f"{ID}/3/collect", f"{ID}/5/sync_draft", f"{ID}/9/request_number", f"{ID}/9/finalize",
        f"{ID}/12/collect_payment",
    ]  # fmt: skip
    assert step.invoice.number == "INV-ACME-1"
    assert step.invoice.issued_at_s == NOW_S + 86_400
    assert step.invoice.due_at_s == NOW_S + 31 * 86_400


@pytest.mark.parametrize("early_s", [1, 3600])
def test_instants_are_exact(early_s: int) -> None:
    waits = created().invoice
    assert machine.advance(waits, NOW_S - early_s) == Step(waits)
    assert machine.advance(waits, NOW_S).entered == ("draft.collecting",)
    draft = in_state("draft.waiting_auto_approval")
    assert machine.advance(draft, NOW_S + 86_400 - early_s) == Step(draft)
    assert machine.advance(draft, NOW_S + 86_400).entered[0] == "draft.ready_to_issue"
    unpaid = issued().invoice
    due_s = NOW_S + 31 * 86_400
    assert machine.next_due_s(unpaid) == due_s
    assert machine.advance(unpaid, due_s - early_s) == Step(unpaid)
    assert machine.advance(unpaid, due_s).entered == ("overdue",)


def test_a_due_date_fires_once_and_not_for_an_app_with_a_clock() -> None:
    due_s = NOW_S + 31 * 86_400
    overdue = machine.advance(issued().invoice, due_s).invoice
    retried = actions.act(overdue, "retry", due_s + 5)
    assert retried.entered == ("payment_processing.pending",)
    assert machine.advance(retried.invoice, due_s + 10**6).entered == ()
    assert machine.next_due_s(retried.invoice) is None
    own_clock = issued(app_has_clock=True).invoice
    assert machine.advance(own_clock, due_s).entered == ()


def test_a_clock_that_jumps_back_changes_no_order() -> None:
    collecting = machine.advance(created().invoice, NOW_S + 9).invoice
    step = machine.answer(collecting, EffectAnswer(sequence=3, effect="collect"), NOW_S - 500)
    assert machine.perform(step, done, NOW_S - 500).invoice.entered_at_s == NOW_S + 9


def test_without_auto_advance_it_waits_for_an_approval() -> None:
    step = machine.advance(created(auto_advance=False, draft_until_s=None).invoice, NOW_S)
    step = answered(answered(step, NOW_S), NOW_S)
    assert step.invoice.state == "draft.manual_approval_needed"
    assert (machine.next_due_s(step.invoice), step.invoice.due_at_s) == (None, None)
    assert machine.advance(step.invoice, NOW_S + 10**8).entered == ()
    step = machine.perform(actions.act(step.invoice, "approve", NOW_S + 500), done, NOW_S + 500)
    assert step.invoice.state == "issuing.syncing"
    assert step.invoice.due_at_s == NOW_S + 500 + 30 * 86_400


def test_an_approval_before_the_time_begins_the_time_to_pay() -> None:
    draft = in_state("draft.waiting_auto_approval")
    step = machine.perform(actions.act(draft, "approve", NOW_S + 7), done, NOW_S + 7)
    assert step.invoice.due_at_s == NOW_S + 7 + 30 * 86_400


def test_an_effect_that_fails_leads_to_a_retry_of_the_same_effect() -> None:
    syncing = machine.fire(in_state("issuing.line_finalization", waiting=()), "next", NOW_S)
    assert syncing is not None
    failed = machine.answer(
        syncing.invoice, EffectAnswer(sequence=8, effect="request_number", failed=True), NOW_S
    )
    assert failed.entered == ("issuing.failed",)
    again = actions.act(failed.invoice, "retry", NOW_S + 1)
    assert [intent.effect for intent in again.intents] == ["request_number"]
    assert again.invoice.issued_at_s == NOW_S


def test_a_late_number_is_kept_and_a_second_one_is_an_error() -> None:
    failed = in_state("issuing.failed", number_requested=True)
    late = EffectAnswer(sequence=3, effect="request_number", number="INV-ACME-9")
    kept = machine.answer(failed, late, NOW_S).invoice
    assert (kept.number, kept.state) == ("INV-ACME-9", "issuing.failed")
    again = actions.act(kept, "retry", NOW_S)
    assert [intent.effect for intent in again.intents] == ["finalize"]
    with pytest.raises(Broken, match="INV-ACME-9"):
        machine.answer(kept, msgspec.structs.replace(late, number="INV-ACME-10"), NOW_S)


def test_an_app_that_numbers_is_asked_first() -> None:
    before = in_state("issuing.line_finalization", waiting=(), terms=terms(app_numbers=True))
    step = machine.fire(before, "next", NOW_S)
    assert step is not None
    assert ([intent.effect for intent in step.intents], step.invoice.number_requested) == (
        ["finalize"],
        False,
    )
    own = answered(step, NOW_S, number="A-7")
    assert (own.invoice.number, own.invoice.number_requested) == ("A-7", False)
    ours = answered(step, NOW_S)
    assert ours.intents[0].effect == "request_number"
    ours = answered(ours, NOW_S)
    assert (ours.invoice.number, ours.invoice.state) == ("INV-ACME-1", "payment_processing.pending")


def test_an_app_cannot_change_a_number() -> None:
    waiting = in_state("issuing.syncing", waiting=("finalize",), number="INV-ACME-1", number_requested=True)
    with pytest.raises(Rejected, match="has the number INV-ACME-1 and cannot get X-1"):
        machine.answer(waiting, EffectAnswer(sequence=7, effect="finalize", number="X-1"), NOW_S)


def test_a_critical_issue_stops_a_draft() -> None:
    collecting = machine.advance(created().invoice, NOW_S)
    rated = machine.answer(collecting.invoice, EffectAnswer(sequence=3, effect="collect"), NOW_S)
    bad = EffectAnswer(sequence=3, effect="rate", terms=terms(is_critical=True))
    assert machine.answer(rated.invoice, bad, NOW_S).entered == ("draft.invalid",)


def test_an_invoice_without_lines_is_deleted() -> None:
    draft = in_state("draft.waiting_auto_approval", terms=terms(has_lines=False))
    step = machine.advance(draft, NOW_S + 86_400)
    assert step.entered == ("draft.ready_to_issue", "delete.syncing")
    assert answered(step, NOW_S).invoice.state == "deleted"


# Random records.

Record = tuple[str, str, int, int]
CLOCKS_S = (0, 1, 60, 3600, 86_400, 31 * 86_400, -50)
FACTS = ("authorized", "payment_failed", "overdue", "uncollectible", "action_required", "paid", "void")
ACTIONS = ("approve", "retry", "retry", "snapshot_quantities", "advance", "edit", "delete", "void")


def record_of(byte: int) -> Record:
    """A record for each byte: half of them are answers that succeed, so that a history comes far."""
    kind, rest = byte % 16, byte // 16
    if kind < 7:
        return ("answer", "done", 0, 0)
    if kind == 7:
        return ("answer", ("failed", "failed", "critical", "empty")[rest % 4], 0, 0)
    if kind < 10:
        return ("clock", "", CLOCKS_S[rest % 7], 0)
    if kind < 13:
        return ("fact", FACTS[(rest + kind) % 7], 0, rest)
    return ("action", ACTIONS[rest % 8], 0, 0) if kind < 15 else ("again", "", 0, rest)


class History:
    """Applies records, keeps the answers for repeats, and checks what holds after each of them."""

    def __init__(self, auto_advance: bool, app_numbers: bool) -> None:
        self.now_s = NOW_S - 3600
        self.sent = list[EffectAnswer]()
        self.intents = list[str]()
        self.states = list[str]()
        start = terms(auto_advance=auto_advance, app_numbers=app_numbers)
        if not auto_advance:
            start = msgspec.structs.replace(start, draft_until_s=None)
        self.invoice = self.take(machine.begin(ID, start, self.now_s), None)

    def take(self, step: Step, before: InvoiceProgress | None) -> InvoiceProgress:
        after = step.invoice
        assert after.state in STATES
        self.intents += [intent.id for intent in step.intents]
        assert len(set(self.intents)) == len(self.intents), "an intent is asked for once"
        assert after.number_requested == any(intent.endswith("request_number") for intent in self.intents)
        for one, other in pairwise([*([before.state] if before else []), *step.entered]):
            assert other in {way.to for ways in TABLE[one].values() for way in ways}
        self.states += step.entered
        if before is not None:
            assert after.sequence == before.sequence + len(step.entered)
            assert before.number is None or after.number == before.number
            assert after.number_requested or not before.number_requested
            assert before.state not in FINAL or step.entered == ()
            if is_immutable(before.state):
                assert is_immutable(after.state)
                assert after.terms == before.terms
        if after.number_requested:
            assert "issuing.syncing" in self.states
            assert not after.state.startswith(("draft", "delete"))
        if not after.terms.app_numbers and "issuing.syncing" not in self.states:
            assert after.number is None
        if after.state == "issued" or after.state.startswith("payment"):
            assert after.number is not None
        due_s = machine.next_due_s(after)
        if due_s is not None and after.held is None:
            assert machine.advance(after, max(due_s, after.entered_at_s)).entered
            if due_s - 1 >= after.entered_at_s:
                assert machine.advance(after, due_s - 1) == Step(after)
        return after

    def apply(self, record: Record) -> Step:
        kind, what, delta_s, at = record
        self.now_s += delta_s
        if kind == "clock":
            return machine.advance(self.invoice, self.now_s)
        if kind == "fact":
            return payment.report(self.invoice, PaymentFact(what, at), self.now_s).step  # type: ignore[arg-type]
        if kind == "again" and self.sent:
            return machine.answer(self.invoice, self.sent[at % len(self.sent)], self.now_s)
        if kind == "answer" and self.invoice.waiting:
            self.sent.append(self._answer(what))
            return machine.answer(self.invoice, self.sent[-1], self.now_s)
        if kind == "action":
            return self._act(what)
        return Step(self.invoice)

    def _answer(self, how: str) -> EffectAnswer:
        invoice, effect = self.invoice, self.invoice.waiting[0]
        new = None
        if effect == "rate":
            new = msgspec.structs.replace(
                invoice.terms, is_critical=how == "critical", has_lines=how != "empty"
            )
        number = "INV-ACME-1" if effect == "request_number" and how != "failed" else None
        return EffectAnswer(
            sequence=invoice.sequence, effect=effect, failed=how == "failed", terms=new, number=number
        )

    def _act(self, what: str) -> Step:
        try:
            if what == "advance":
                return actions.advance(self.invoice, self.now_s)
            if what == "edit":
                return actions.edit(
                    self.invoice, msgspec.structs.replace(self.invoice.terms, due_after=DAY), self.now_s
                )
            return actions.act(self.invoice, what, self.now_s)  # type: ignore[arg-type]
        except Rejected as refused:
            assert refused.reason in (
                "invoice_action_not_available", "invoice_cannot_be_edited", "invoice_cannot_advance",
            )  # fmt: skip
            return Step(self.invoice)


@settings(max_examples=examples(400))
@given(
    straight=st.sampled_from(range(0, 45, 3)),
    seed=st.integers(0, 2**64 - 1),
    length=st.integers(0, 60),
    auto_advance=st.booleans(),
    app_numbers=st.booleans(),
)
def test_laws_over_random_records(
    straight: int, seed: int, length: int, auto_advance: bool, app_numbers: bool
) -> None:
    """straight: how many records of the straight path come first, so that the late states are reached too."""
    history = History(auto_advance, app_numbers)
    first = [("answer", "done", 0, 0), ("clock", "", 3600, 0), ("action", "approve", 0, 0)] * 15
    records = map(record_of, Random(seed).randbytes(length))
    for record in (*first[:straight], *records):
        before = history.invoice
        history.invoice = history.take(history.apply(record), before)
        if record[0] in ("answer", "again", "fact", "clock"):
            once = history.invoice
            repeated = (
                history.apply((record[0], record[1], 0, record[3]))
                if record[0] != "answer"
                else (machine.answer(once, history.sent[-1], history.now_s) if history.sent else Step(once))
            )
            if not (record[0] == "fact" and once.held is not None):
                assert repeated.entered == ()
                assert repeated.invoice == once


def test_only_local_effects_are_done_at_once() -> None:
    assert "collect" not in LOCAL_EFFECTS
    step = machine.perform(machine.advance(created().invoice, NOW_S), done, NOW_S)
    assert [intent.effect for intent in step.intents] == ["collect"]
