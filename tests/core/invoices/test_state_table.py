"""Every cell of the table of states: where each trigger leads from each state, and that nothing else leads anywhere.

EXPECTED is written down from the documentation of OpenMeter, not made from the table that it checks.
"""

from __future__ import annotations

import pytest

from pipeline.core.invoices import machine
from pipeline.core.invoices.state_table import (
    AWAITED,
    BEGUN,
    FAILED,
    FINAL,
    STATES,
    TABLE,
    TRIGGERS,
    InvoiceState,
    InvoiceTrigger,
    is_immutable,
    short_status,
)
from tests.core.invoices.states import NOW_S, in_state, terms

PAY = "payment_processing"
# `trigger>state`; `D` is delete>delete.in_progress, `U` edit>draft.updating, `V` void>voided, `R` retry>pending.
EXPECTED = f"""
gathering
draft.created                     D U next>draft.waiting_for_collection failed>draft.invalid
draft.waiting_for_collection      D U next>draft.collecting snapshot_quantities>draft.collecting
draft.collecting                  D U next>draft.validating failed>draft.invalid
draft.updating                    D next>draft.waiting_for_collection failed>draft.invalid
draft.validating                  D U next>draft.syncing failed>draft.invalid
draft.invalid                     D U retry>draft.validating
draft.syncing                     D next>draft.waiting_auto_approval failed>draft.sync_failed
draft.sync_failed                 D U retry>draft.validating
draft.waiting_auto_approval       D U next>draft.ready_to_issue approve>draft.ready_to_issue
draft.manual_approval_needed      D U approve>draft.ready_to_issue
draft.ready_to_issue              D U next>issuing.line_finalization
issuing.line_finalization         D next>issuing.syncing failed>issuing.line_finalization_failed
issuing.line_finalization_failed  D retry>issuing.line_finalization
issuing.syncing                   D V next>issuing.charge_booking failed>issuing.failed
issuing.failed                    D V retry>issuing.syncing
issuing.charge_booking            D next>issued failed>issuing.charge_booking_failed
issuing.charge_booking_failed     D V retry>issuing.charge_booking
issued                            V next>{PAY}.pending
{PAY}.pending                     V authorized>{PAY}.booking_authorized paid>{PAY}.booking_authorized_and_settled
                                  payment_failed>{PAY}.failed overdue>overdue uncollectible>uncollectible
                                  action_required>{PAY}.action_required
{PAY}.booking_authorized          V next>{PAY}.authorized failed>{PAY}.booking_authorized_failed
{PAY}.booking_authorized_failed   V retry>{PAY}.booking_authorized
{PAY}.booking_settled             V next>paid failed>{PAY}.booking_settled_failed
{PAY}.booking_settled_failed      V retry>{PAY}.booking_settled
{PAY}.booking_authorized_and_settled
                                  V next>paid failed>{PAY}.booking_authorized_and_settled_failed
{PAY}.booking_authorized_and_settled_failed
                                  V retry>{PAY}.booking_authorized_and_settled
{PAY}.authorized                  V paid>{PAY}.booking_settled payment_failed>{PAY}.failed overdue>overdue
                                  uncollectible>uncollectible action_required>{PAY}.action_required
{PAY}.failed                      V R authorized>{PAY}.booking_authorized
                                  paid>{PAY}.booking_authorized_and_settled payment_failed>{PAY}.failed
                                  overdue>overdue uncollectible>uncollectible action_required>{PAY}.action_required
{PAY}.action_required             V R authorized>{PAY}.booking_authorized
                                  paid>{PAY}.booking_authorized_and_settled payment_failed>{PAY}.failed
                                  overdue>overdue uncollectible>uncollectible action_required>{PAY}.action_required
overdue                           R authorized>{PAY}.booking_authorized paid>{PAY}.booking_authorized_and_settled
                                  payment_failed>{PAY}.failed uncollectible>uncollectible
                                  action_required>{PAY}.action_required
uncollectible                     V authorized>{PAY}.booking_authorized paid>{PAY}.booking_authorized_and_settled
paid
voided
delete.in_progress                next>delete.syncing failed>delete.failed
delete.syncing                    next>deleted failed>delete.failed
delete.failed                     D retry>delete.in_progress
deleted
"""
SHORT = {
    "D": "delete>delete.in_progress",
    "U": "edit>draft.updating",
    "V": "void>voided",
    "R": f"retry>{PAY}.pending",
}


def expected() -> dict[tuple[str, str], str]:
    cells, state = {}, ""
    for line in EXPECTED.splitlines():
        words = line.split()
        if not line.startswith(" ") and words:
            state = words.pop(0)
        for word in words:
            trigger, _, to = SHORT.get(word, word).partition(">")
            cells[state, trigger] = to
    return cells


CELLS = expected()
OPEN = {"number": "INV-ACME-1"}  # an invoice for which every guard of a first way holds
UNGUARDED_AT_S = NOW_S + 86_400


def test_the_table_names_every_state_and_leads_only_to_states() -> None:
    assert set(TABLE) == set(STATES)
    named = {way.to for ways in TABLE.values() for options in ways.values() for way in options}
    assert named <= set(STATES)
    assert set(AWAITED) | set(BEGUN) | FAILED | FINAL <= set(STATES)
    assert {line.split()[0] for line in EXPECTED.splitlines() if line and line[0] != " "} == set(STATES)


def test_every_state_but_the_first_can_be_reached() -> None:
    reached, open_states = set[InvoiceState](), ["draft.created"]
    while open_states:
        state = open_states.pop()
        ways = [way.to for options in TABLE[state].values() for way in options]
        open_states += [to for to in ways if to not in reached]
        reached |= set(ways)
    assert set(STATES) - reached == {"gathering", "draft.created"}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_every_cell(state: InvoiceState, trigger: InvoiceTrigger) -> None:
    invoice = in_state(state, waiting=(), **OPEN)
    way = machine.way_of(invoice, trigger, UNGUARDED_AT_S)
    assert (way and way.to) == CELLS.get((state, trigger))
    step = machine.fire(invoice, trigger, UNGUARDED_AT_S)
    if way is None:
        assert step is None
    else:
        assert step is not None
        assert step.entered[:1] == (() if way.to == state else (way.to,))
        assert step.invoice.sequence == invoice.sequence + len(step.entered)


@pytest.mark.parametrize(
    ("state", "trigger", "changed", "to"),
    [
        ("draft.waiting_for_collection", "next", {"terms": terms(collection_at_s=UNGUARDED_AT_S + 1)}, None),
        ("draft.validating", "next", {"terms": terms(is_critical=True)}, None),
        ("draft.syncing", "next", {"terms": terms(is_critical=True)}, None),
        ("draft.syncing", "next", {"terms": terms(auto_advance=False)}, "draft.manual_approval_needed"),
        ("draft.syncing", "next", {"terms": terms(auto_advance=False, is_critical=True)}, None),
        ("draft.waiting_auto_approval", "next", {"terms": terms(draft_until_s=UNGUARDED_AT_S + 1)}, None),
        ("draft.waiting_auto_approval", "next", {"terms": terms(draft_until_s=None)}, None),
        ("draft.waiting_auto_approval", "next", {"terms": terms(is_critical=True)}, None),
        (
            "draft.waiting_auto_approval",
            "approve",
            {"terms": terms(is_critical=True)},
            "draft.ready_to_issue",
        ),
        ("draft.manual_approval_needed", "approve", {"terms": terms(is_critical=True)}, None),
        ("draft.ready_to_issue", "next", {"terms": terms(has_lines=False)}, "delete.syncing"),
        ("issuing.syncing", "next", {}, None),
        ("issuing.syncing", "void", {}, None),
        ("issuing.failed", "void", {}, None),
        ("issuing.charge_booking_failed", "void", {}, None),
        ("issuing.syncing", "delete", {"number_requested": True}, None),
        ("issuing.failed", "delete", {"number_requested": True}, None),
        ("issuing.charge_booking", "delete", {"number_requested": True}, None),
        ("issuing.charge_booking_failed", "delete", {"number_requested": True}, None),
    ],
)
def test_every_guard_closes_its_way(
    state: InvoiceState, trigger: InvoiceTrigger, changed: dict[str, object], to: InvoiceState | None
) -> None:
    way = machine.way_of(in_state(state, waiting=(), **changed), trigger, UNGUARDED_AT_S)
    assert (way and way.to) == to


def test_failed_and_final_and_immutable_states() -> None:
    assert len(FAILED) == 9
    assert "draft.invalid" not in FAILED
    assert all("retry" in TABLE[state] for state in FAILED)
    assert {state for state in STATES if not TABLE[state]} == FINAL | {"gathering"}
    mutable = {state for state in STATES if not is_immutable(state)}
    assert mutable == {"gathering", *(state for state in STATES if state.startswith("draft."))}
    assert {state for state in STATES if "edit" in TABLE[state]} <= mutable
    assert short_status("payment_processing.pending") == PAY


def test_a_state_that_waits_can_succeed_and_fail() -> None:
    assert all({"next", "failed"} <= set(TABLE[state]) for state in AWAITED)
    assert not set(AWAITED) & (FINAL | FAILED)
