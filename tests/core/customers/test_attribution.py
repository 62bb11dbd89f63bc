"""Whose usage it is: a table, and laws of any history."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.customers.attribution import (
    NO_CUSTOMER,
    Attribution,
    Holders,
    Holding,
    attribute,
    hand_over,
    holder,
)
from pipeline.core.definitions.changes import Changes
from pipeline.records import Definition, Window

CHANGES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a", "b", "c", NO_CUSTOMER])), max_size=8)


def history(changes: list[tuple[int, str]]) -> list[Holding]:
    """Changes at ever later half minutes."""
    holdings: list[Holding] = []
    for half_minutes, customer in sorted(changes, key=lambda change: change[0]):
        holdings = hand_over(holdings, customer, half_minutes * 30_000)
    return holdings


def definition(subject: str, holdings: list[Holding]) -> Definition:
    return Definition(
        1, "attribution", "default", subject, "", 0, Attribution(subject=subject, holders=holdings).members
    )


def window(subject: str, start_s: int, meter: str = "tokens") -> Window:
    return Window("default", meter, 1, subject, {}, start_s, "1", 1, "1", "", [], 0, 0)


@pytest.mark.parametrize(
    ("changes", "start_s", "customer"),
    [
        ([], 0, NO_CUSTOMER),
        ([(5, "a")], 0, "a"),  # the first holder has what came before
        ([(5, "a")], 6000, "a"),
        ([(2, "a"), (4, "b")], 60, "a"),
        ([(2, "a"), (4, "b")], 120, "b"),  # on the minute: from that minute on
        ([(2, "a"), (5, "b")], 120, "a"),  # within the minute: from the next
        ([(2, "a"), (5, "b")], 180, "b"),
        ([(2, "a"), (5, NO_CUSTOMER)], 180, NO_CUSTOMER),
        ([(2, "a"), (5, NO_CUSTOMER), (9, "b")], 240, NO_CUSTOMER),
        ([(2, "a"), (5, NO_CUSTOMER), (9, "b")], 300, "b"),
        ([(2, "a"), (5, "b"), (5, "a")], 180, "a"),  # there and back within a minute
    ],
)
def test_usage_belongs_to_who_held_the_subject_when_the_minute_began(
    changes: list[tuple[int, str]], start_s: int, customer: str
) -> None:
    assert holder(history(changes), start_s) == customer


@given(CHANGES)
def test_a_history_is_strictly_ordered_and_changes_hands_each_time(changes: list[tuple[int, str]]) -> None:
    holdings = history(changes)
    starts = [one.from_s for one in holdings]
    assert starts == sorted(set(starts))
    assert all(start % 60 == 0 for start in starts)
    assert all(one.customer != other.customer for one, other in itertools.pairwise(holdings))


@given(CHANGES, st.sampled_from(["a", "b"]))
def test_a_change_leaves_every_minute_that_has_begun_as_it_was(
    changes: list[tuple[int, str]], new: str
) -> None:
    before = history(changes)
    after = hand_over(before, new, 41 * 30_000)
    for start_s in range(0, 41 * 30, 60):
        if before:
            assert holder(after, start_s) == holder(before, start_s)
    assert holder(after, 42 * 60) == new


@given(CHANGES)
def test_a_history_survives_the_control_log(changes: list[tuple[int, str]]) -> None:
    holdings = history(changes)
    stored = Attribution.of(definition("s", holdings))
    assert stored is not None and stored.holders == holdings


def test_only_watched_meters_of_held_subjects_pass() -> None:
    holders = Holders()
    feature = Definition(2, "feature", "default", "f", "", 0, {"meterSlug": "tokens"})
    holders.update(Changes({"1": definition("ann", [Holding(0, "a"), Holding(60, "b")]), "2": feature}))
    windows = [window("ann", 0), window("ann", 60), window("bob", 0), window("ann", 0, "calls")]
    assert [(one.customer, one.window.start_s) for one in attribute(windows, holders)] == [
        ("a", 0),
        ("b", 60),
    ]
    holders.update(Changes({"2": Definition(3, "feature", "default", "f", "", 0, None)}))
    assert attribute(windows, holders) == []
