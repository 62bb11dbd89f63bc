"""The law of booking: whatever the order of events and the runs, the sum of what was billed is the rating."""

from __future__ import annotations

import doctest
from typing import NamedTuple

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core.catalog.price_reading import read_price
from pipeline.core.rating import booking
from pipeline.core.rating.booking import by_part, difference, summed
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import LineTerms, Tariff, tariff_of
from pipeline.core.values import money
from pipeline.core.values.number import SCALE
from tests.core.rating.any_terms import QUANTITIES, line_terms
from tests.fixtures.examples import examples

MOST_PARTS = 3


class History(NamedTuple):
    """What happened in a service period.

    Attributes:
        parts: how many it has.
        events: (part, quantity) in the order of their arrival.
        runs: after how many events each run came; the last one is after all.
        currents: the newest part at each run, never falling, the last one at the end.
        final: the place of the first run that was final.
        other: the events in another order of arrival.
    """

    parts: int
    events: list[tuple[int, int]]
    runs: list[int]
    currents: list[int]
    final: int
    other: list[tuple[int, int]]


LATE = [(0, 3 * SCALE), (1, 3 * SCALE), (0, SCALE)]  # the last one is late, and above the maximum
REACHED = History(2, LATE, [1, 2, 3], [0, 1, 1], 2, LATE[::-1])
AT_MOST_50 = LineTerms(read_price("law", {"type": "unit", "amount": "10", "maximumAmount": "50"}), "USD")


@st.composite
def histories(draw: st.DrawFn) -> History:
    parts = draw(st.integers(1, MOST_PARTS))
    events = draw(st.lists(st.tuples(st.integers(0, parts - 1), QUANTITIES), max_size=8))
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=4)))
    currents = sorted(draw(st.lists(st.integers(0, parts - 1), min_size=len(cuts), max_size=len(cuts))))
    runs, currents = [*cuts, len(events)], [*currents, parts - 1]
    ended = [place for place, current in enumerate(currents) if current == parts - 1]
    other = draw(st.permutations(events))
    return History(parts, events, runs, currents, draw(st.sampled_from(ended)), list(other))


def ratings(tariff: Tariff, history: History, run: int) -> list[tuple[RatedDetail, ...]]:
    """The rating up to the end of each part, of the usage that is known at a run."""
    known, current = history.events[: history.runs[run]], history.currents[run]
    sums = [sum(quantity for part, quantity in known if part <= end) for end in range(current + 1)]
    return [
        rate(tariff, LinePart(total, minimum=run >= history.final and end == current)).details
        for end, total in enumerate(sums)
    ]


def amounts(details: list[RatedDetail] | tuple[RatedDetail, ...]) -> dict[tuple[str, int], tuple[int, ...]]:
    """The money of each component, but for components without any."""
    found = {
        one.key: (one.amount, one.charges, one.percentage_discount, one.maximum_discount)
        for one in summed(details)
    }
    return {key: values for key, values in found.items() if any(values)}


@settings(max_examples=examples(60))
@given(line_terms(), histories())
def test_the_sum_of_what_was_billed_is_the_rating(terms: LineTerms, history: History) -> None:
    tariff = tariff_of(terms)
    booked: list[RatedDetail] = []
    for run in range(len(history.runs)):
        rating = ratings(tariff, history, run)[-1]
        new = difference(rating, booked)
        references = [one.child_reference for one in new]
        assert len(set(references)) == len(references)
        booked = msgspec.json.decode(msgspec.json.encode(summed([*booked, *new])), type=list[RatedDetail])
        assert amounts(booked) == amounts(rating)
        assert sum(one.total for one in booked) == sum(one.total for one in rating) >= 0
        assert difference(rating, booked) == []


@example(AT_MOST_50, REACHED)
@settings(max_examples=examples(60))
@given(line_terms(), histories())
def test_each_part_is_billed_what_a_single_run_at_the_end_gives_it(
    terms: LineTerms, history: History
) -> None:
    tariff = tariff_of(terms)
    booked: list[list[RatedDetail]] = [[] for _ in range(history.parts)]
    last: list[tuple[RatedDetail, ...]] = []
    for run, current in enumerate(history.currents):
        last = ratings(tariff, history, run)
        new = by_part(last, booked[: current + 1])
        for part, found in enumerate(new):
            references = [one.child_reference for one in found]
            assert len(set(references)) == len(references)
            booked[part].extend(found)
        assert amounts([one for part in booked for one in part]) == amounts(last[-1])
    at_once = by_part(last, [[] for _ in last])
    assert [amounts(part) for part in booked] == [amounts(part) for part in at_once]


@settings(max_examples=examples(60))
@given(line_terms(), histories())
def test_the_order_of_events_changes_no_total(terms: LineTerms, history: History) -> None:
    tariff = tariff_of(terms)
    totals = []
    for events in (history.events, history.other):
        booked: list[RatedDetail] = []
        for run in range(len(history.runs)):
            booked += difference(ratings(tariff, history._replace(events=events), run)[-1], booked)
        totals.append(amounts(booked))
    assert totals[0] == totals[1]


@settings(max_examples=examples(60))
@given(line_terms(), QUANTITIES, QUANTITIES)
def test_what_is_billed_and_taken_back_leaves_nothing(terms: LineTerms, first: int, second: int) -> None:
    tariff = tariff_of(terms)
    booked = list(difference(rate(tariff, LinePart(first)).details, []))
    booked += difference(rate(tariff, LinePart(second)).details, booked)
    booked += difference([], booked)
    assert amounts(booked) == {}
    assert sum(one.total for one in booked) == 0


@settings(max_examples=examples(60))
@given(line_terms(), histories())
def test_the_minimum_holds_after_a_final_run_and_the_maximum_always(
    terms: LineTerms, history: History
) -> None:
    tariff = tariff_of(terms)
    booked: list[RatedDetail] = []
    for run in range(len(history.runs)):
        booked += difference(ratings(tariff, history, run)[-1], booked)
        total = sum(one.total for one in booked)
        if tariff.maximum_atto is not None:
            assert total <= money.minor(tariff.maximum_atto, tariff.digits)
        if run >= history.final:
            assert total >= money.minor(tariff.minimum_atto, tariff.digits)


def test_a_quantity_without_money_stays_open_until_an_amount_changes() -> None:
    price = {"type": "unit", "amount": "0.001"}
    tariff = tariff_of(LineTerms(read_price("line", price), "USD"))
    booked: list[RatedDetail] = []
    for units, expected in ((1, []), (2, []), (5, [(5, 1)]), (6, []), (15, [(10, 1)])):
        new = difference(rate(tariff, LinePart(units * SCALE)).details, booked)
        assert [(one.quantity_atto // SCALE, one.total) for one in new] == expected
        booked += new


def test_the_examples_are_true() -> None:
    result = doctest.testmod(booking)
    assert result.attempted and not result.failed
