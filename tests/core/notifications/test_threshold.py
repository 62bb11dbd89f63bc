"""Which thresholds are met, and which are news: OpenMeter's table, Lago's crossings, and laws."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.notifications import threshold
from pipeline.core.notifications.threshold import (
    FiredThresholds,
    Firing,
    Lead,
    Level,
    Rearm,
    Threshold,
    Volume,
    WarnedGrants,
    expiring,
    judge,
    met,
    volume,
)
from pipeline.core.quota.grant import Grant
from pipeline.core.values import number, timestamp
from pipeline.core.values.calendar import NEVER_S, Interval
from pipeline.core.values.number import SCALE

FOLDER = Path(__file__).parents[2] / "cases"
CASES = json.loads((FOLDER / "openmeter-notification-thresholds.json").read_text())["cases"]
PEERS = json.loads((FOLDER / "peers-alerts-credits-scenarios.json").read_text())["cases"]
# Of the crossings only those with listed thresholds, of usage that rises and of balances that fall: endless steps
# (`recurringStep`) are no kind of ours, and OpenMeter's rule compares levels, so that a falling usage crosses nothing.
# Wallets are in test_burndown.
# Left out: percentage charges, which tests/core/rating/test_percentage.py has; invoices at thresholds of a period that
# runs and units that weigh their share of days, which are no settings of ours; wallets restricted to one metric, since
# a grant belongs to one feature by nature; voiding more than is left, since a void takes all of it.
# OpenMeter compares strictly; here a threshold is met at its value. So these cases of its table have another answer:
AT_THE_VALUE = {
    "Exact threshold match (deprecated)": {"usage": {"type": "PERCENT", "value": 50.0}, "balance": None},
    "Exact threshold match": {"usage": {"type": "usage_percentage", "value": 50.0}, "balance": None},
}
CROSSINGS = [case for case in PEERS if case["model"] == "alert thresholds"]
LISTED = [case for case in CROSSINGS if case["in"]["oneTime"] and case["in"]["direction"] == "increasing"]
FALLING = [case for case in CROSSINGS if case["in"]["oneTime"] and case["in"]["direction"] == "decreasing"]


def atto(value: float | str) -> int:
    return number.atto(str(value))


def named(threshold_: list[Threshold]) -> dict[str, Any] | None:
    return {"type": threshold_[-1].type, "value": threshold_[-1].value} if threshold_ else None


def test_there_are_cases() -> None:
    assert (len(CASES), len(LISTED), len(FALLING)) == (21, 8, 4)
    assert any(case["id"] in AT_THE_VALUE for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_openmeter_thresholds(case: dict[str, Any]) -> None:
    value = case["in"]["value"]
    level = Level(
        atto(value["balance"]), atto(value["usage"]), atto(value.get("totalAvailableGrantAmount", 0))
    )
    found = met([Threshold(one["type"], atto(one["value"])) for one in case["in"]["thresholds"]], level)
    for kind, wanted in AT_THE_VALUE.get(case["id"], case["out"]).items():
        assert named(found.usage if kind == "usage" else found.balance) == (
            None if wanted is None else {"type": wanted["type"], "value": atto(wanted["value"])}
        )


def usage(*values: int) -> list[Threshold]:
    return [Threshold("usage_value", value * SCALE) for value in values]


def level_of(used: int, total: int = 0) -> Level:
    return Level(max(0, total - used) * SCALE, used * SCALE, total * SCALE)


def fired_ids(fired: list[Firing]) -> list[str]:
    return sorted(id for one in fired if one.state == "fired" for id in (*one.passed, one.threshold))


@pytest.mark.parametrize("case", LISTED, ids=lambda case: case["id"])
def test_lago_crossings(case: dict[str, Any]) -> None:
    given_ = case["in"]
    thresholds = usage(*map(int, given_["oneTime"]))
    marks, _ = judge(None, thresholds, [(0, level_of(int(given_["previous"])))], 1)
    _, fired = judge(marks, thresholds, [(0, level_of(int(given_["current"])))], 2)
    listed = [f"usage_value:{value}" for value in case["out"]["crossed"] if value in given_["oneTime"]]
    assert fired_ids(fired) == sorted(listed)


@pytest.mark.parametrize("case", FALLING, ids=lambda case: case["id"])
def test_lago_crossings_of_a_falling_balance(case: dict[str, Any]) -> None:
    given_ = case["in"]
    thresholds = [Threshold("balance_value", int(value) * SCALE) for value in given_["oneTime"]]
    previous, current = int(given_["previous"]), int(given_["current"])
    marks, _ = judge(None, thresholds, [(0, Level(previous * SCALE, 0, SCALE))], 1)
    _, fired = judge(marks, thresholds, [(0, Level(current * SCALE, 0, SCALE))], 2)
    listed = [f"balance_value:{value}" for value in case["out"]["crossed"] if value in given_["oneTime"]]
    assert fired_ids(fired) == sorted(listed)


THRESHOLDS = [
    *usage(10, 50),
    Threshold("usage_percentage", 80 * SCALE),
    Threshold("PERCENT", 100 * SCALE),
    Threshold("balance_value", 30 * SCALE),
    Threshold("balance_value", 0),
]
steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 130), st.sampled_from([0, 50, 100])), max_size=30
)


def periods(moves: list[tuple[int, int, int]]) -> list[tuple[int, Level]]:
    """Levels one after the other; the start of the period only grows."""
    since = 0
    found = []
    for step, used, total in moves:
        since += step == 0
        found.append((since, level_of(used, total)))
    return found


@given(steps, st.sampled_from(["period", "resolved"]))
def test_each_fires_once_a_period_and_again_on_replay(
    moves: list[tuple[int, int, int]], rearm: Rearm
) -> None:
    marks: FiredThresholds | None = None
    history: list[list[Firing]] = []
    for position, level in enumerate(periods(moves)):
        marks, fired = judge(marks, THRESHOLDS, [level], position, rearm)
        history.append(fired)
        decoded = msgspec.msgpack.Decoder(FiredThresholds).decode(msgspec.msgpack.encode(marks))
        assert decoded == marks
        assert judge(marks, THRESHOLDS, [level], position, rearm)[1] == fired
    flat = [one for fired in history for one in fired]
    assert len({one.key for one in flat}) == len(flat)
    fired = [(one.since_s, id) for one in flat if one.state == "fired" for id in (*one.passed, one.threshold)]
    if rearm == "period":
        assert len(set(fired)) == len(fired)
    seen = set(fired)
    assert all(
        (since_s, one.id) in seen for since_s, level in periods(moves) for kind in met(THRESHOLDS, level)
        for one in kind
    )  # fmt: skip
    assert all(one.state != "resolved" or (one.since_s, one.threshold) in seen for one in flat)


@given(st.lists(st.integers(0, 130), min_size=1, max_size=20), st.data())
def test_how_usage_is_cut_into_records_does_not_matter(growth: list[int], data: st.DataObject) -> None:
    levels = [level_of(used, 100) for used in sorted(growth)]
    kept = data.draw(st.lists(st.booleans(), min_size=len(levels) - 1, max_size=len(levels) - 1))
    coarse = [level for level, keep in zip(levels, [*kept, True], strict=True) if keep]
    found = []
    for course in (levels, coarse):
        marks: FiredThresholds | None = None
        fired: list[Firing] = []
        for position, level in enumerate(course):
            marks, new = judge(marks, THRESHOLDS, [(0, level)], position)
            fired += new
        found.append(fired_ids(fired))
    assert found[0] == found[1]


LEVELS = st.builds(
    Level,
    balance=st.integers(0, 5).map(lambda units: units * SCALE),
    usage=st.integers(-1, 5).map(lambda units: units * SCALE),
    total_available=st.integers(0, 4).map(lambda units: units * SCALE),
)
CLOSE = st.lists(
    st.builds(
        Threshold,
        st.sampled_from(["usage_value", "usage_percentage", "balance_value"]),
        st.sampled_from([0, 1, 2, 3, 25, 50, 100, 125]).map(lambda units: units * SCALE),
    ),
    unique_by=lambda one: one.id,
    max_size=8,
)


def test_a_jump_fires_by_the_highest() -> None:
    marks, fired = judge(None, usage(10, 50, 90), [(7, level_of(60))], 3)
    assert fired == [Firing(3, 7, "fired", "usage_value:50", ["usage_value:10"])]
    assert fired[0].key == "7/usage_value:50/0/fired"
    _, over = judge(marks, usage(10, 50, 90), [(7, level_of(9))], 5)
    assert over == [Firing(5, 7, "resolved", "usage_value:50", ["usage_value:10"])]


def test_each_threshold_of_a_jump_resolves_when_it_is_no_longer_met() -> None:
    marks, _ = judge(None, usage(10, 50, 90), [(7, level_of(60))], 3)
    marks, higher = judge(marks, usage(10, 50, 90), [(7, level_of(10))], 4)
    assert higher == [Firing(4, 7, "resolved", "usage_value:50")]
    marks, lower = judge(marks, usage(10, 50, 90), [(7, level_of(9))], 5)
    assert lower == [Firing(5, 7, "resolved", "usage_value:10")]
    assert judge(marks, usage(10, 50, 90), [(7, level_of(60))], 6)[1] == []  # armed by the next period only


def test_a_threshold_that_was_passed_with_another_has_a_key_of_its_own() -> None:
    marks: FiredThresholds | None = None
    found = []
    for position, used in enumerate((11, 0, 11, 0, 41, 0, 11)):
        marks, new = judge(marks, usage(10, 40), [(0, level_of(used))], position, "resolved")
        found += [one.key for one in new if one.state == "fired"]
    assert found == [
        "0/usage_value:10/0/fired", "0/usage_value:10/1/fired", "0/usage_value:40/0/fired",
        "0/usage_value:10/2/fired",
    ]  # fmt: skip


def crossed(before: set[str], now: set[str], earlier: set[str], rearm: Rearm) -> set[str]:
    """What a rule promises to fire when `now` is met after `before`. earlier: what has fired in the period."""
    return now - (before if rearm == "resolved" else earlier)


@given(steps, CLOSE, st.sampled_from(["period", "resolved"]), st.data())
def test_each_crossing_fires_once_under_a_key_of_its_own(
    moves: list[tuple[int, int, int]], thresholds: list[Threshold], rearm: Rearm, data: st.DataObject
) -> None:
    """For any series of levels and any rule, whenever the worker dies and reads a record again."""
    marks: FiredThresholds | None = None
    keys: list[str] = []
    period, before, earlier, unresolved = -1, set[str](), set[str](), set[str]()
    for position, (since_s, level) in enumerate(periods(moves)):
        if since_s != period:
            period, before, earlier, unresolved = since_s, set(), set(), set()
        now = {one.id for kind in met(thresholds, level) for one in kind}
        kept = marks
        marks, new = judge(kept, thresholds, [(since_s, level)], position, rearm)
        if data.draw(st.booleans()):
            assert judge(marks, thresholds, [(since_s, level)], position, rearm) == (marks, new)
            assert judge(kept, thresholds, [(since_s, level)], position, rearm) == (marks, new)
        names = [
            (one.state, id) for one in new if one.since_s == since_s for id in (*one.passed, one.threshold)
        ]
        fires = {id for state, id in names if state == "fired"}
        assert len(names) == len(set(names))
        assert fires == crossed(before, now, earlier, rearm)
        resolves = {id for state, id in names if state == "resolved"}
        assert resolves == unresolved - now
        keys += [one.key for one in new]
        before, earlier, unresolved = now, earlier | now, (unresolved & now) | fires
    assert len(set(keys)) == len(keys)


def test_a_new_period_resolves_and_arms_again() -> None:
    marks, _ = judge(None, usage(10), [(7, level_of(11))], 1)
    marks, fired = judge(marks, usage(10), [(7, level_of(15)), (9, level_of(12))], 2)
    assert fired == [Firing(2, 7, "resolved", "usage_value:10"), Firing(2, 9, "fired", "usage_value:10")]
    assert judge(marks, usage(10), [(9, level_of(12))], 2)[1] == fired


def test_what_the_last_record_of_a_period_crossed_fires() -> None:
    _, fired = judge(FiredThresholds(7), usage(10), [(7, level_of(15)), (9, level_of(0))], 2)
    assert [(one.state, one.since_s) for one in fired] == [("fired", 7), ("resolved", 7)]


def test_arming_again_when_resolved() -> None:
    marks: FiredThresholds | None = None
    states = []
    for position, used in enumerate((11, 9, 12, 8, 13)):
        marks, fired = judge(marks, usage(10), [(0, level_of(used))], position, "resolved")
        states += [(one.state, one.times) for one in fired]
    assert states == [("fired", 0), ("resolved", 0), ("fired", 1), ("resolved", 1), ("fired", 2)]


@given(st.lists(st.integers(-20, 60), max_size=20), st.integers(0, 200))
def test_a_volume_fires_once_a_window(changes: list[int], limit: int) -> None:
    state: Volume | None = None
    crossings = []
    for position, change in enumerate(changes):
        state, crossed = volume(state, change, limit, position)
        assert volume(state, change, limit, position) == (state, crossed)
        if crossed:
            crossings.append(position)
    totals = [sum(changes[: place + 1]) for place in range(len(changes))]
    reached = [place for place, total in enumerate(totals) if total >= limit]
    assert crossings == reached[:1]


@given(CLOSE, LEVELS)
def test_a_threshold_is_met_at_its_value_exactly(thresholds: list[Threshold], level: Level) -> None:
    """Counted with fractions, and no further than the definition: usage >= value, balance <= value."""
    total, used = Fraction(level.total_available, SCALE), Fraction(level.usage, SCALE)
    wanted = set()
    for one in thresholds:
        value = Fraction(one.value, SCALE)
        meets = {
            "usage_value": used >= value,
            "usage_percentage": total > 0 and used * 100 >= value * total,
            "balance_value": total > 0 and Fraction(level.balance, SCALE) <= value,
        }
        if meets[one.type]:
            wanted.add(one.id)
    found = met(thresholds, level)
    assert {one.id for kind in found for one in kind} == wanted


def test_all_of_a_quota_is_all_of_it() -> None:
    """Ten of ten: the threshold of 100 % is met, and so is a balance of zero; nothing has to come after it."""
    thresholds = [Threshold("PERCENT", 100 * SCALE), Threshold("balance_value", 0)]
    marks, early = judge(None, thresholds, [(0, level_of(9, 10))], 1)
    _, fired = judge(marks, thresholds, [(0, level_of(10, 10))], 2)
    assert (early, fired_ids(fired)) == ([], ["balance_value:0", "usage_percentage:100"])


LEAD = Lead(Interval(0, 600))


def test_a_grant_that_ends_soon_fires_once() -> None:
    grants = [
        Grant("a", 10, 0, expires_at_s=1000),
        Grant("empty", 10, 0, expires_at_s=1000),
        Grant("never", 10, 0),
        Grant("later", 10, 0, expires_at_s=5000),
        Grant("voided", 10, 0, expires_at_s=9000, voided_at_s=900),
    ]
    balances = {"a": 1, "never": 5, "later": 5, "voided": 2}
    state: WarnedGrants | None = None
    fired = []
    for position, now_s in enumerate((0, 300, 420, 480, 900, 990, 4400, 4600, 4999, 6000)):
        state, ids = expiring(state, grants, balances, now_s, LEAD, position)
        assert expiring(state, grants, balances, now_s, LEAD, position) == (state, ids)
        fired += [(now_s, id) for id in ids]
    assert fired == [(300, "voided"), (420, "a"), (4400, "later")]
    assert state == WarnedGrants({})
    assert threshold.next_warning_s(grants, 0, LEAD) == 300
    assert threshold.next_warning_s(grants, 400, LEAD) == 4400
    assert threshold.next_warning_s(grants, 4400, LEAD) == NEVER_S


@pytest.mark.parametrize(
    ("ends", "name", "warned"),
    [
        ("2026-03-31T00:00:00Z", "Z", "2026-02-28T00:00:00Z"),
        ("2026-03-31T00:00:00+02:00", "Europe/Berlin", "2026-02-28T00:00:00+01:00"),
        ("2026-07-01T00:00:00+02:00", "Europe/Berlin", "2026-06-01T00:00:00+02:00"),
    ],
)
def test_a_month_before_the_end_is_a_month_of_the_calendar(ends: str, name: str, warned: str) -> None:
    ends_at_s, warned_at_s = (timestamp.parse_ns(text) // 10**9 for text in (ends, warned))
    grant, lead = Grant("a", 10, 0, expires_at_s=ends_at_s), Lead(Interval(1, 0), name)
    assert threshold.next_warning_s([grant], 0, lead) == warned_at_s
    assert expiring(None, [grant], {"a": 1}, warned_at_s - 60, lead, 1)[1] == []
    assert expiring(None, [grant], {"a": 1}, warned_at_s, lead, 1)[1] == ["a"]
