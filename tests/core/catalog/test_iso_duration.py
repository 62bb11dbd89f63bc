"""Durations: which texts are one, and which of two divides the other, for every length of a month."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog.iso_duration import are_aligned, are_equal, duration_of, exact_duration
from pipeline.core.values import calendar
from pipeline.errors import Rejected

CADENCES = st.sampled_from(["PT1H", "P1D", "P1W", "P2W", "P4W", "P1M", "P3M", "P6M", "P12M", "P1Y", "P30D"])


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "1M", "P1.5M", "P1M2Y", "P-1M", "+P1M", "PT1S", "P1001Y", "P400000D", "p1m", "P1M "],
)
def test_a_text_that_is_no_duration(text: str) -> None:
    assert duration_of(text) is None


@pytest.mark.parametrize("text", ["P1M", "P1Y2M3W4DT5H6M", "-P1D", "PT0S", "PT120S", "P1000Y"])
def test_a_text_that_is_one(text: str) -> None:
    assert duration_of(text) is not None


@given(st.from_regex(r"P([0-9]{1,3}Y)?([0-9]{1,4}M)?([0-9]{1,4}W)?(T[0-9]{1,4}H)?", fullmatch=True))
def test_what_the_calendar_steps_by_is_a_duration_of_the_same_length(text: str) -> None:
    try:
        interval = calendar.parse(text)
    except Rejected:
        return
    duration = duration_of(text)
    assert duration == (interval.months, interval.days * calendar.DAY_S + interval.seconds)


@pytest.mark.parametrize(
    ("one", "other", "aligned"),
    [
        ("P1M", "P12M", True), ("P3M", "P1Y", True), ("P1W", "P4W", True), ("PT1H", "P1M", True), ("P1D", "P1Y", True),
        ("P1W", "P1M", False), ("P30D", "P1M", False), ("P2M", "P3M", False), ("P2W", "P3W", False),
        ("-P1M", "P1M", False), ("PT0S", "P1M", False),
    ],
)  # fmt: skip
def test_which_cadences_go_together(one: str, other: str, aligned: bool) -> None:
    assert are_aligned(one, other) is are_aligned(other, one) is aligned


@given(CADENCES, CADENCES)
def test_equal_cadences_are_aligned_and_never_only_for_some_months(one: str, other: str) -> None:
    if are_equal(one, other):
        assert are_aligned(one, other)
    first, second = exact_duration(one), exact_duration(other)
    if first.months and not second.months:
        lengths = {first.length_s(days) % second.seconds for days in (28, 29, 30, 31)}
        assert are_aligned(one, other) is (lengths == {0} or first == second)
