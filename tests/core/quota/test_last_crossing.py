"""Since when an amount is reached: rows of hours and minutes in state find what minutes in memory find."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.quota.account_usage import StoredUsage, UsageChange, UsageRows
from pipeline.core.quota.history import MinuteUsage
from pipeline.core.values.calendar import HOUR_S, MINUTE_S, Interval, Recurrence, Schedule
from pipeline.core.values.number import SCALE
from tests.fixtures.fake_transaction import DictTable

SCHEDULE = Schedule(0, Recurrence(Interval(1, 0), 0))
Usage = list[tuple[int, int]]  # minute and whole units


def rows_of(usage: Usage, aggregation: Literal["SUM", "LATEST"] = "SUM") -> UsageRows:
    rows = UsageRows(StoredUsage.of(DictTable()), b"account", aggregation, since_s=0)
    changes = [
        UsageChange(b"", minute * MINUTE_S, value * SCALE, 1, f"{minute:06d}") for minute, value in usage
    ]
    rows.record(changes, SCHEDULE)
    return rows


@pytest.mark.parametrize(
    ("usage", "since"),
    [
        ([(5, 10), (70, 1), (130, 1)], 5),
        (
            [(5, 10), (70, -5), (90, 6), (130, 1)],
            90,
        ),  # the hour ends above the amount, and was below it inside
        ([(5, 10), (70, -5), (130, 5)], 130),
        ([(5, 9)], 0),
    ],
)
def test_the_last_time_counts(usage: Usage, since: int) -> None:
    assert rows_of(usage).crossing(0, 3 * HOUR_S, 10 * SCALE) == since * MINUTE_S


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.integers(0, 299), st.integers(-6, 8), max_size=12).map(
        lambda found: sorted(found.items())
    ),
    st.integers(1, 12),
    st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted),
    st.sampled_from(["SUM", "LATEST"]),
)
def test_rows_find_what_minutes_find(
    usage: Usage, amount: int, span: list[int], aggregation: Literal["SUM", "LATEST"]
) -> None:
    from_s, to_s = (minute * MINUTE_S for minute in span)
    values = [(minute * MINUTE_S, value * SCALE, f"{minute:06d}") for minute, value in usage]
    expected = MinuteUsage(values, aggregation == "LATEST").crossing(from_s, to_s, amount * SCALE)
    assert rows_of(usage, aggregation).crossing(from_s, to_s, amount * SCALE) == expected
