"""Which windows are compared, and which numbers belong to each: from minutes, states and Stripe's sums."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.core.billing.stripe_comparison import (
    HOUR_S,
    ComparedCounts,
    compare,
    counted_usage,
    remainders_are_doubtful,
    span_of,
)
from pipeline.core.billing.stripe_drift import CountedUsage, SentWindow
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.index import key_of
from pipeline.core.values.number import SCALE
from pipeline.records import Definition, Window

FROM_S = 1_800_000_000 // 86_400 * 86_400
SPAN = span_of(FROM_S, FROM_S + 3 * HOUR_S, HOUR_S)
NOW_MS = (FROM_S + 100 * HOUR_S) * 1_000
AT_MS = (FROM_S + 3 * HOUR_S) * 1_000


def state(units: int, **others: Any) -> SentWindow:
    made = SentWindow(units * SCALE, units, units, 0, 0, "", "", 1, AT_MS)
    return made._replace(**others)


def counts(**others: Any) -> ComparedCounts:
    """Three windows of 4, 0 and 6 units that agree."""
    agreed = ComparedCounts(
        SCALE,
        {FROM_S: [state(1), state(3)], FROM_S + 2 * HOUR_S: [state(6)]},
        {FROM_S: CountedUsage(4 * SCALE, AT_MS), FROM_S + 2 * HOUR_S: CountedUsage(6 * SCALE, AT_MS)},
        {FROM_S: Decimal(4), FROM_S + 2 * HOUR_S: Decimal(6)},
        {},
    )
    return replace(agreed, **others)


def found(compared: ComparedCounts) -> list[tuple[int, list[str], str | None]]:
    """(hour, causes, Stripe's units)"""
    return [
        (
            (row.window.start_s - FROM_S) // HOUR_S,
            [part.cause for part in row.parts],
            None if row.window.stripe is None else str(row.window.stripe),
        )
        for row in compare(SPAN, compared, (), NOW_MS)
    ]


@pytest.mark.parametrize(
    ("from_s", "to_s", "size_s", "starts"),
    [
        (0, 7_200, 3_600, [0, 3_600]),
        (1, 7_199, 3_600, []),
        (3_599, 7_201, 3_600, [3_600]),
        (7_200, 3_600, 3_600, []),
        (86_399, 3 * 86_400, 86_400, [86_400, 172_800]),
    ],
)
def test_only_whole_windows_are_compared(from_s: int, to_s: int, size_s: int, starts: list[int]) -> None:
    span = span_of(from_s, to_s, size_s)
    assert list(span.starts()) == starts
    assert span.is_empty == (not starts)


def test_windows_that_agree_have_no_row() -> None:
    assert found(counts()) == []


def test_a_window_that_only_one_count_has_differs() -> None:
    middle = FROM_S + HOUR_S
    assert found(counts(stripe=counts().stripe | {middle: Decimal(7)})) == [(1, ["foreign"], "7")]  # type: ignore[operator]
    assert found(counts(sent=counts().sent | {middle: [state(2, confirmed=0)]})) == [  # type: ignore[operator]
        (1, ["unexplained", "pending"], "0")
    ]
    assert found(counts(counted=counts().counted | {middle: CountedUsage(SCALE, AT_MS)})) == [  # type: ignore[operator]
        (1, ["unexplained"], "0")
    ]


def test_units_of_another_mapping_of_the_same_meter_are_not_ours() -> None:
    more = {FROM_S: Decimal(9), FROM_S + 2 * HOUR_S: Decimal(6)}
    assert found(counts(stripe=more, elsewhere={FROM_S: 5})) == []
    assert found(counts(stripe=more, elsewhere={FROM_S: 4})) == [(0, ["foreign"], "5")]


def test_a_customer_without_an_id_at_stripe_is_not_read() -> None:
    assert [row[1:] for row in found(counts(stripe=None))] == [(["unknown_customer"], None)] * 2


def test_a_meter_that_is_gone_is_not_counted_again() -> None:
    assert found(counts(counted=None)) == []


def test_where_stripe_shows_nothing_of_a_customer_it_is_not_by_hand() -> None:
    assert [row[1] for row in found(counts(stripe={}))] == [["unexplained"]] * 2
    assert [row[1] for row in found(counts(stripe={FROM_S: Decimal(4)}))] == [["foreign"]]


def test_a_unit_of_another_window_is_right_while_all_windows_sum_to_whole_units() -> None:
    moved = counts(sent={FROM_S: [state(5, exact=4 * SCALE)], FROM_S + 2 * HOUR_S: [state(5, exact=6 * SCALE)]},
                   stripe={FROM_S: Decimal(5), FROM_S + 2 * HOUR_S: Decimal(5)})  # fmt: skip
    assert remainders_are_doubtful(moved) and not remainders_are_doubtful(counts())
    assert [row[1] for row in found(replace(moved, whole=[(10 * SCALE, 10)]))] == [["remainder"]] * 2
    assert [row[1] for row in found(replace(moved, whole=[(10 * SCALE, 11)]))] == [["unexplained"]] * 2
    assert [row[1] for row in found(replace(moved, whole=[(11 * SCALE, 10)]))] == [["unexplained"]] * 2


def attribution(subject: str, *holders: tuple[int, str]) -> Definition:
    body: dict[str, object] = {"subject": subject, "holders": [list(one) for one in holders]}
    return Definition(1, "attribution", "n", subject, "", 0, body)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 600), st.integers(0, 10**9)), max_size=30))
def test_minutes_are_summed_by_the_customer_that_had_the_subject(minutes: list[tuple[str, int, int]]) -> None:
    """Subject a is the customer's until minute 300, b is another's from the beginning."""
    definitions = [attribution("a", (0, "cus"), (FROM_S + 300 * 60, "other")), attribution("b", (0, "other"))]
    holders = Holders()
    holders.update(Changes({key_of(one): one for one in definitions}))
    windows = [
        Window("n", "m", 1, subject, {}, FROM_S + minute * 60, str(value), 1, "0", "", [], 1, value)
        for subject, minute, value in minutes
    ]
    mine = [(minute // 60, value) for subject, minute, value in minutes if subject == "a" and minute < 300]
    expected = {
        FROM_S + hour * HOUR_S: CountedUsage(
            sum(value for at, value in mine if at == hour) * SCALE,
            max(value for at, value in mine if at == hour),
        )
        for hour in {at for at, _ in mine}
    }
    assert counted_usage(windows, holders, "cus", HOUR_S) == expected
