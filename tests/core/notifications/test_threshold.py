"""Which thresholds are met, and which are news: OpenMeter's table, Lago's crossings, and laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.notifications import threshold
from pipeline.core.notifications.threshold import (
    Level,
    Marks,
    Rearm,
    Threshold,
    Told,
    Volume,
    Warned,
    expiring,
    judge,
    met,
    volume,
)
from pipeline.core.quota.grant import Grant
from pipeline.core.values import number
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.number import SCALE

FOLDER = Path(__file__).parents[2] / "cases"
CASES = json.loads((FOLDER / "openmeter-notification-thresholds.json").read_text())["cases"]
PEERS = json.loads((FOLDER / "peers-alerts-credits-scenarios.json").read_text())["cases"]
# Of the crossings only those with listed thresholds and rising usage: endless steps (`recurringStep`) are no kind of
# ours, and OpenMeter's rule compares levels, so that a falling usage crosses nothing. Wallets are in test_credit.
# Left out: percentage charges, progressive invoices and proration, which are billing's; wallets restricted to one
# metric, since a grant belongs to one feature by nature; voiding more than is left, since a void takes all of it.
CROSSINGS = [case for case in PEERS if case["model"] == "alert thresholds"]
LISTED = [case for case in CROSSINGS if case["in"]["oneTime"] and case["in"]["direction"] == "increasing"]
FALLING = [case for case in CROSSINGS if case["in"]["oneTime"] and case["in"]["direction"] == "decreasing"]


def atto(value: float | str) -> int:
    return number.atto(str(value))


def named(threshold_: list[Threshold]) -> dict[str, Any] | None:
    return {"type": threshold_[-1].type, "value": threshold_[-1].value} if threshold_ else None


def test_there_are_cases() -> None:
    assert (len(CASES), len(LISTED), len(FALLING)) == (21, 8, 4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_openmeter_thresholds(case: dict[str, Any]) -> None:
    value = case["in"]["value"]
    level = Level(
        atto(value["balance"]), atto(value["usage"]), atto(value.get("totalAvailableGrantAmount", 0))
    )
    found = met([Threshold(one["type"], atto(one["value"])) for one in case["in"]["thresholds"]], level)
    for kind, wanted in case["out"].items():
        assert named(found.usage if kind == "usage" else found.balance) == (
            None if wanted is None else {"type": wanted["type"], "value": atto(wanted["value"])}
        )


def usage(*values: int) -> list[Threshold]:
    return [Threshold("usage_value", value * SCALE) for value in values]


def level_of(used: int, total: int = 0) -> Level:
    return Level(max(0, total - used) * SCALE, used * SCALE, total * SCALE)


def told_ids(told: list[Told]) -> list[str]:
    return sorted(id for one in told if one.state == "fired" for id in (*one.passed, one.threshold))


@pytest.mark.parametrize("case", LISTED, ids=lambda case: case["id"])
def test_lago_crossings(case: dict[str, Any]) -> None:
    """Lago's limits are met when reached, OpenMeter's when passed: so one unit more is used here."""
    given_ = case["in"]
    thresholds = usage(*map(int, given_["oneTime"]))
    marks, _ = judge(None, thresholds, [(0, level_of(int(given_["previous"]) + 1))], 1)
    _, told = judge(marks, thresholds, [(0, level_of(int(given_["current"]) + 1))], 2)
    listed = [f"usage_value:{value}" for value in case["out"]["crossed"] if value in given_["oneTime"]]
    assert told_ids(told) == sorted(listed)


@pytest.mark.parametrize("case", FALLING, ids=lambda case: case["id"])
def test_lago_crossings_of_a_falling_balance(case: dict[str, Any]) -> None:
    given_ = case["in"]
    thresholds = [Threshold("balance_value", int(value) * SCALE) for value in given_["oneTime"]]
    previous, current = int(given_["previous"]), int(given_["current"])
    marks, _ = judge(None, thresholds, [(0, Level((previous - 1) * SCALE, 0, SCALE))], 1)
    _, told = judge(marks, thresholds, [(0, Level(max(0, current - 1) * SCALE, 0, SCALE))], 2)
    listed = [f"balance_value:{value}" for value in case["out"]["crossed"] if value in given_["oneTime"]]
    assert told_ids(told) == sorted(listed)


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
def test_each_is_told_once_a_period_and_again_on_replay(
    moves: list[tuple[int, int, int]], rearm: Rearm
) -> None:
    marks: Marks | None = None
    history: list[list[Told]] = []
    for position, level in enumerate(periods(moves)):
        marks, told = judge(marks, THRESHOLDS, [level], position, rearm)
        history.append(told)
        decoded = msgspec.msgpack.Decoder(Marks).decode(msgspec.msgpack.encode(marks))
        assert decoded == marks
        assert judge(marks, THRESHOLDS, [level], position, rearm)[1] == told
    flat = [one for told in history for one in told]
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
        marks: Marks | None = None
        told: list[Told] = []
        for position, level in enumerate(course):
            marks, new = judge(marks, THRESHOLDS, [(0, level)], position)
            told += new
        found.append(told_ids(told))
    assert found[0] == found[1]


def test_a_jump_is_told_by_the_highest() -> None:
    marks, told = judge(None, usage(10, 50, 90), [(7, level_of(60))], 3)
    assert told == [Told(3, 7, "fired", "usage_value:50", ["usage_value:10"])]
    assert told[0].key == "7/usage_value:50/0/fired"
    assert judge(marks, usage(10, 50, 90), [(7, level_of(20))], 4)[1] == []  # falling back tells nothing
    _, over = judge(marks, usage(10, 50, 90), [(7, level_of(10))], 5)
    assert over == [Told(5, 7, "resolved", "usage_value:50", ["usage_value:10"])]


def test_a_new_period_resolves_and_arms_again() -> None:
    marks, _ = judge(None, usage(10), [(7, level_of(11))], 1)
    marks, told = judge(marks, usage(10), [(7, level_of(15)), (9, level_of(12))], 2)
    assert told == [Told(2, 7, "resolved", "usage_value:10"), Told(2, 9, "fired", "usage_value:10")]
    assert judge(marks, usage(10), [(9, level_of(12))], 2)[1] == told


def test_what_the_last_record_of_a_period_crossed_is_told() -> None:
    _, told = judge(Marks(7), usage(10), [(7, level_of(15)), (9, level_of(0))], 2)
    assert [(one.state, one.since_s) for one in told] == [("fired", 7), ("resolved", 7)]


def test_arming_again_when_resolved() -> None:
    marks: Marks | None = None
    states = []
    for position, used in enumerate((11, 9, 12, 8, 13)):
        marks, told = judge(marks, usage(10), [(0, level_of(used))], position, "resolved")
        states += [(one.state, one.times) for one in told]
    assert states == [("fired", 0), ("resolved", 0), ("fired", 1), ("resolved", 1), ("fired", 2)]


@given(st.lists(st.integers(-20, 60), max_size=20), st.integers(0, 200))
def test_a_volume_is_told_once_a_window(changes: list[int], limit: int) -> None:
    state: Volume | None = None
    crossings = []
    for position, change in enumerate(changes):
        state, crossed = volume(state, change, limit, position)
        assert volume(state, change, limit, position) == (state, crossed)
        if crossed:
            crossings.append(position)
    totals = [sum(changes[: place + 1]) for place in range(len(changes))]
    above = [place for place, total in enumerate(totals) if total > limit]
    assert crossings == above[:1]


def test_a_grant_that_ends_soon_is_told_once() -> None:
    grants = [
        Grant("a", 10, 0, expires_at_s=1000),
        Grant("empty", 10, 0, expires_at_s=1000),
        Grant("never", 10, 0),
        Grant("later", 10, 0, expires_at_s=5000),
        Grant("voided", 10, 0, expires_at_s=9000, voided_at_s=900),
    ]
    balances = {"a": 1, "never": 5, "later": 5, "voided": 2}
    state: Warned | None = None
    told = []
    for position, now_s in enumerate((0, 300, 420, 480, 900, 990, 4400, 4600, 4999, 6000)):
        state, ids = expiring(state, grants, balances, now_s, 600, position)
        assert expiring(state, grants, balances, now_s, 600, position) == (state, ids)
        told += [(now_s, id) for id in ids]
    assert told == [(300, "voided"), (420, "a"), (4400, "later")]
    assert state == Warned({})
    assert threshold.next_warning_s(grants, 0, 600) == 300
    assert threshold.next_warning_s(grants, 400, 600) == 4400
    assert threshold.next_warning_s(grants, 4400, 600) == NEVER_S
