"""The history of an entitlement: OpenMeter's case, and that both lists say the same as the burn-down."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.quota import history as burndown
from pipeline.core.quota.balance_result import Correction
from pipeline.core.quota.grant import Grant, burn_order
from pipeline.core.quota.history import MinuteUsage, history, new_members, recount, value_at
from pipeline.core.quota.terms import Terms
from pipeline.core.values import calendar
from pipeline.core.values.calendar import HOUR_S, MINUTE_S, Interval, Recurrence, Schedule
from pipeline.core.values.number import SCALE
from pipeline.errors import Rejected
from tests.core.quota.test_burndown import CASES, at, atto, grant_of
from tests.fixtures.balance_world import SPAN, START_S, any_terms

HISTORIES = [case for case in CASES if case["in"].get("level") == "entitlement-history"]
UTC = ZoneInfo("UTC")
YEARLY = Recurrence(Interval(12, 0), START_S)
values = st.lists(
    st.tuples(st.integers(0, 30) | st.integers(0, SPAN), st.integers(-20, 60)), max_size=25
).map(lambda rows: [(START_S + m * MINUTE_S, v * SCALE, f"{m:05d}{n:05d}") for n, (m, v) in enumerate(rows)])


def terms_of(*grants: Grant, start_s: int = START_S, **members: Any) -> Terms:
    return Terms("e", 1, "SUM", Schedule(start_s, YEARLY), burn_order(grants), **members)


@pytest.mark.parametrize("case", HISTORIES, ids=lambda case: case["id"])
def test_openmeter_history(case: dict[str, Any]) -> None:
    given_, wanted = case["in"], case["out"]
    usage = MinuteUsage(
        [(calendar.floor_minute(at(one["at"])), atto(one["value"]), "") for one in given_["usage"]], False
    )
    terms = terms_of(*map(grant_of, given_["grants"]), start_s=at(given_["start"]))
    found = history(
        terms, usage, at(given_["from"]), at(given_["to"]), given_["windowSize"], ZoneInfo(given_["timeZone"])
    )
    assert len(found.windowed) == wanted["windows"]
    assert len(found.burndown) == wanted["burndownSegments"]
    for place, row in wanted["rows"].items():
        window = found.windowed[int(place)]
        assert window.balance_at_start == atto(row["balanceAtStart"])
        if "usage" in row:
            assert window.usage == atto(row["usage"])


def test_there_is_a_case() -> None:
    assert len(HISTORIES) == 1


@given(
    any_terms("SUM"),
    values,
    st.integers(0, SPAN),
    st.integers(1, SPAN),
    st.sampled_from(["MINUTE", "HOUR", "DAY"]),
)
def test_both_lists_agree_with_the_burn_down(
    terms: Terms, rows: list[tuple[int, int, str]], first: int, length: int, size: burndown.HistorySize
) -> None:
    usage = MinuteUsage(rows, False)
    from_s = max(terms.schedule.start_s, START_S + first * MINUTE_S)
    to_s = from_s + length * MINUTE_S
    found = history(terms, usage, from_s, to_s, size, UTC)
    assert sum(span.usage for span in found.burndown) == usage.between(from_s, to_s)
    assert (found.burndown[0].from_s, found.burndown[-1].to_s) == (from_s, to_s)
    assert all(before.to_s == after.from_s for before, after in pairwise(found.burndown))
    for span in found.burndown:
        assert span.balance_at_start - span.balance_at_end == sum(span.burnt.values())
        assert all(balance >= 0 for balance in span.balances_at_end.values())
    end = recount(terms, usage, to_s, inclusive=False)
    if all(value >= 0 for _, value, _ in rows):  # usage taken back counts against its whole phase
        assert {k: v for k, v in found.burndown[-1].balances_at_end.items() if v} == {
            k: v for k, v in end.segments[-1].balances_at_end.items() if v
        }
    assert all(before.to_s == after.from_s for before, after in pairwise(found.windowed))
    assert (found.windowed[0].from_s, found.windowed[-1].to_s) == (from_s, to_s)
    assert sum(row.usage for row in found.windowed) == sum(span.usage for span in found.burndown)
    for row in found.windowed:
        assert row.usage == usage.between(row.from_s, row.to_s)


def test_the_first_and_the_last_window_are_cut_where_the_span_is() -> None:
    usage = MinuteUsage([(START_S + minute * MINUTE_S, SCALE, "") for minute in range(0, 200, 10)], False)
    from_s, to_s = START_S + 30 * MINUTE_S + 17, START_S + 170 * MINUTE_S + 1
    found = history(terms_of(Grant("g", 100 * SCALE, START_S)), usage, from_s, to_s, "HOUR", UTC)
    minutes = [((row.from_s - START_S) // 60, (row.to_s - START_S) // 60) for row in found.windowed]
    assert minutes == [(30, 60), (60, 120), (120, 171)]
    amounts = [(row.usage // SCALE, row.balance_at_start // SCALE) for row in found.windowed]
    assert amounts == [(3, 97), (6, 94), (6, 88)]
    (span,) = found.burndown
    assert ((span.from_s - START_S) // 60, (span.to_s - START_S) // 60, span.usage) == (30, 171, 15 * SCALE)


def test_late_usage_is_marked() -> None:
    usage = MinuteUsage([(START_S, 3 * SCALE, ""), (START_S + HOUR_S, 4 * SCALE, "")], False)
    late = [
        Correction(START_S + HOUR_S, 4 * SCALE, START_S + 5 * HOUR_S, True),
        Correction(START_S, 9 * SCALE, START_S + 900 * HOUR_S, False),
    ]
    grants = [Grant("g", 10 * SCALE, START_S), Grant("h", SCALE, START_S + HOUR_S)]
    found = history(terms_of(*grants), usage, START_S, START_S + 3 * HOUR_S, "HOUR", UTC, late)
    assert [(row.usage, row.late) for row in found.windowed] == [
        (3 * SCALE, 0),
        (4 * SCALE, 4 * SCALE),
        (0, 0),
    ]
    assert [span.late for span in found.burndown] == [0, 4 * SCALE]


@pytest.mark.parametrize(
    ("from_s", "to_s"), [(START_S - 1, START_S + 60), (START_S + 60, START_S + 60), (START_S + 60, START_S)]
)
def test_what_is_no_span(from_s: int, to_s: int) -> None:
    with pytest.raises(Rejected) as raised:
        history(terms_of(), MinuteUsage([], False), from_s, to_s, "HOUR", UTC)
    assert raised.value.reason == "bad-query"


def test_a_history_has_an_end() -> None:
    with pytest.raises(Rejected):
        history(terms_of(), MinuteUsage([], False), START_S, START_S + 9000 * HOUR_S, "MINUTE", UTC)


def test_a_span_that_begins_inside_a_segment() -> None:
    usage = MinuteUsage([(START_S, 30 * SCALE, ""), (START_S + 2 * HOUR_S, 90 * SCALE, "")], False)
    terms = terms_of(Grant("g", 100 * SCALE, START_S))
    (span,) = history(terms, usage, START_S + HOUR_S, START_S + 3 * HOUR_S, "HOUR", UTC).burndown
    assert (span.balance_at_start, span.usage, span.balance_at_end, span.overage) == (
        70 * SCALE, 90 * SCALE, 0, 20 * SCALE,
    )  # fmt: skip


def test_a_member_counts_once_a_period() -> None:
    hourly = Schedule(START_S, Recurrence(Interval(0, HOUR_S), START_S))
    terms = Terms("e", 1, "UNIQUE_COUNT", hourly)
    seen = [
        (START_S + minute * MINUTE_S, member) for minute, member in ((70, "a"), (5, "a"), (9, "a"), (9, "b"))
    ]
    assert sorted(new_members([*seen, seen[0]], terms)) == [
        (START_S + 5 * MINUTE_S, SCALE, ""),
        (START_S + 9 * MINUTE_S, SCALE, ""),
        (START_S + 70 * MINUTE_S, SCALE, ""),
    ]


def test_the_value_at_an_instant_takes_its_whole_minute() -> None:
    usage = MinuteUsage([(START_S, 30 * SCALE, ""), (START_S + 60, 90 * SCALE, "")], False)
    terms = terms_of(Grant("g", 100 * SCALE, START_S))
    for at_s, balance, access in ((0, 100, True), (1, 70, True), (60, 70, True), (61, 0, False)):
        last, found = value_at(terms, usage, START_S + at_s)
        assert (last.balance, found) == (balance * SCALE, access)


@given(values, st.integers(1, 2000), st.booleans())
def test_the_exhaustion_is_found_as_a_plain_loop_finds_it(
    rows: list[tuple[int, int, str]], available: int, latest: bool
) -> None:
    usage, end_s = MinuteUsage(rows, latest), START_S + SPAN * MINUTE_S
    minutes = range(START_S, end_s, MINUTE_S)
    above = [usage.between(START_S, minute + MINUTE_S) >= available * SCALE for minute in minutes]
    since = START_S
    if above[-1]:
        since = START_S + (len(above) - above[::-1].index(False) if False in above else 0) * MINUTE_S
    assert usage.crossing(START_S, end_s, available * SCALE) == since
