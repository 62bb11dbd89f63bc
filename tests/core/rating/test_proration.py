"""Shares of flat prices, and changes in the middle of a period: what each part is worth, and what is billed for it."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.catalog.price import FlatPrice
from pipeline.core.rating import proration
from pipeline.core.rating.booking import difference, summed
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.line_periods import TimePeriod
from pipeline.core.rating.proration import prorated
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import LineTerms, tariff_of
from tests.fixtures.examples import examples

DAY = 86_400
MONTH = TimePeriod(0, 30 * DAY)
ENDS: dict[str, Any] = {"subscription_end_s": 10 * DAY}


@pytest.mark.parametrize(
    ("amount", "days", "more", "expected"),
    [
        ("30", 10, {}, "10"),
        ("30", 30, {}, "30"),
        ("0.005", 30, {}, "0.005"),  # not a share: rounded by the rating, with all its digits shown
        ("0.005", 15, {}, "0"),
        ("0.01", 15, {}, "0.01"),
        ("30", 10, {"enabled": False}, "30"),
        ("30", 10, ENDS, "10"),
        ("30", 10, ENDS | {"end_mode": "bill_full_period"}, "30"),
        (
            "30",
            9,
            ENDS | {"end_mode": "bill_full_period"},
            "9",
        ),  # an item that ends before the subscription does
        ("30", 10, {"end_mode": "bill_full_period"}, "10"),
    ],
)
def test_prorated(amount: str, days: int, more: dict[str, Any], expected: str) -> None:
    price = prorated(FlatPrice(amount, "in_arrears"), TimePeriod(0, days * DAY), MONTH, 2, **more)
    assert price == FlatPrice(expected, "in_arrears")


def worth(amount: int, service: TimePeriod) -> tuple[RatedDetail, ...]:
    """The rating of a flat item for the part of the month in which it is in force."""
    price = prorated(FlatPrice(str(amount)), service, MONTH, 2)
    return rate(tariff_of(LineTerms(price, "USD")), LinePart(0)).details


def change(items: list[tuple[int, TimePeriod]], booked: list[list[RatedDetail]]) -> list[int]:
    """One run after a change: what is billed for each item, in cents."""
    new = [difference(worth(*item), before) for item, before in zip(items, booked, strict=True)]
    for before, found in zip(booked, new, strict=True):
        before.extend(found)
    return [sum(one.total for one in found) for found in new]


def test_an_upgrade_after_ten_days_costs_its_rest_less_the_rest_of_the_old_one() -> None:
    booked: list[list[RatedDetail]] = [[]]
    assert change([(30, MONTH)], booked) == [3000]
    booked.append([])
    tenth = 10 * DAY
    items = [(30, TimePeriod(0, tenth)), (60, TimePeriod(tenth, MONTH.end_s))]
    assert change(items, booked) == [-2000, 4000]
    assert change(items, booked) == [0, 0]


def test_a_change_that_is_undone_leaves_nothing_behind() -> None:
    booked: list[list[RatedDetail]] = [[], []]
    change([(30, MONTH), (60, TimePeriod(MONTH.end_s - DAY, MONTH.end_s))], booked)
    assert change([(30, MONTH)], booked[:1]) == [0]
    assert summed([*booked[1], *difference([], booked[1])]) == []


@settings(max_examples=examples(100))
@given(st.lists(st.tuples(st.integers(1, 10**5), st.integers(1, 10**6)), min_size=1, max_size=6))
def test_after_any_changes_each_item_has_been_billed_its_own_seconds(changes: list[tuple[int, int]]) -> None:
    """Each change ends the item before it; all of them were billed in advance, up to the end of the month."""
    booked: list[list[RatedDetail]] = []
    items: list[tuple[int, TimePeriod]] = []
    at_s = 0
    for amount, length_s in changes:
        if items:
            before, service = items[-1]
            items[-1] = (before, TimePeriod(service.start_s, at_s))
        items.append((amount, TimePeriod(at_s, MONTH.end_s)))
        booked.append([])
        change(items, booked)
        at_s = min(at_s + length_s, MONTH.end_s - 1)
        if at_s <= items[-1][1].start_s:
            break
    totals = [sum(one.total for one in found) for found in booked]
    assert totals == [sum(one.total for one in worth(*item)) for item in items]
    most = max(amount for amount, _ in items)
    assert 0 <= sum(totals) <= most * 100 + len(items)


@settings(max_examples=examples(50))
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_shares_of_a_period_differ_from_the_price_by_half_a_cent_each(lengths: list[int]) -> None:
    total = sum(proration.share(100 * 10**18, length, sum(lengths), 2) for length in lengths)
    assert 2 * abs(total - 10_000) <= len(lengths)


def test_the_examples_are_true() -> None:
    result = doctest.testmod(proration)
    assert result.attempted and not result.failed
