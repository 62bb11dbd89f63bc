"""Each reminder once, in order, with its own time, whatever the clock records are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices.dunning import UNPAID, DueStep, Dunning, DunningStep, due_steps, next_step_s
from pipeline.core.invoices.state_table import STATES, TABLE, InvoiceState
from pipeline.core.values.calendar import DAY_S, Interval

DUE_S = 1_800_000_007
DUNNING = Dunning(
    (
        DunningStep(Interval(0, 0, 10), "retry_payment"),
        DunningStep(Interval(0, 0, 3), "notify"),
        DunningStep(Interval(0, 0, 40), "notify"),
    ),
    Interval(0, 0, 30),
    "uncollectible",
)
ALL = [
    DueStep(1, DUE_S + 3 * DAY_S, "notify"),
    DueStep(2, DUE_S + 10 * DAY_S, "retry_payment"),
    DueStep(3, DUE_S + 30 * DAY_S, "give_up"),
]


def test_a_step_is_due_at_its_instant() -> None:
    first = ALL[0]
    assert due_steps(DUNNING, "overdue", DUE_S, 0, first.at_s - 1, "UTC") == []
    assert due_steps(DUNNING, "overdue", DUE_S, 0, first.at_s, "UTC") == [first]
    assert due_steps(DUNNING, "overdue", DUE_S, 1, first.at_s, "UTC") == []
    assert next_step_s(DUNNING, "overdue", DUE_S, 1, "UTC") == ALL[1].at_s
    assert first.id_of("01A") == "01A/dunning/1"


def test_after_a_downtime_all_are_made_with_their_own_times() -> None:
    assert due_steps(DUNNING, "overdue", DUE_S, 0, DUE_S + 99 * DAY_S, "UTC") == ALL
    assert next_step_s(DUNNING, "overdue", DUE_S, 3, "UTC") is None


@given(st.lists(st.integers(-DAY_S, 50 * DAY_S), max_size=10))
def test_any_clock_makes_each_step_once_and_in_order(clocks_s: list[int]) -> None:
    made: list[DueStep] = []
    for after_s in [*clocks_s, 50 * DAY_S]:
        made += due_steps(DUNNING, "overdue", DUE_S, len(made), DUE_S + after_s, "UTC")
    assert made == ALL


@pytest.mark.parametrize("state", STATES)
def test_only_what_is_unpaid_is_reminded_of(state: InvoiceState) -> None:
    found = due_steps(DUNNING, state, DUE_S, 0, DUE_S + 99 * DAY_S, "UTC")
    assert (found == ALL) == (state in UNPAID)
    assert (next_step_s(DUNNING, state, DUE_S, 0, "UTC") is not None) == (state in UNPAID)
    if state in UNPAID:
        assert {"paid", "uncollectible"} <= set(TABLE[state])


def test_without_steps_nothing_is_due() -> None:
    assert due_steps(Dunning(), "overdue", DUE_S, 0, DUE_S + 10**9, "UTC") == []
