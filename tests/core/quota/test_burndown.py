"""The burn-down: every case of OpenMeter's engine, and the laws that hold for any grants and usage."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.quota import burndown
from pipeline.core.quota.burndown import Run, Segment, Snapshot
from pipeline.core.quota.grant import Grant, burn_order
from pipeline.core.values import calendar, number, timestamp
from pipeline.core.values.calendar import DAY_S, HOUR_S, NEVER_S, Interval, Recurrence
from pipeline.errors import Broken

CASES = json.loads((Path(__file__).parents[2] / "cases/openmeter-credit-engine.json").read_text())["cases"]
ENGINE = [
    case for case in CASES if case["in"].get("level") != "entitlement-history"
]  # test_history has that one
PEERS = json.loads((Path(__file__).parents[2] / "cases/peers-alerts-credits-scenarios.json").read_text())[
    "cases"
]
WALLETS = [case for case in PEERS if "trace" in case["model"]]
START_S = 1_704_067_200  # 2024-01-01T00:00:00Z


def at(text: str) -> int:
    return timestamp.parse_ns(text) // 1_000_000_000


def atto(value: float) -> int:
    return number.atto(str(value))


def grant_of(body: dict[str, Any]) -> Grant:
    effective_at_s = at(body["effectiveAt"])
    expiration = body.get("expiration")
    expires_at_s = NEVER_S
    if expiration is not None:
        until = expiration.removeprefix("until ")
        expires_at_s = (
            at(until) if until != expiration else calendar.add(effective_at_s, calendar.parse(expiration))
        )
    recurrence = body.get("recurrence")
    return Grant(
        id=body["id"],
        amount=atto(body["amount"]),
        effective_at_s=effective_at_s,
        priority=body["priority"],
        expires_at_s=expires_at_s,
        voided_at_s=at(body["voidedAt"]) if "voidedAt" in body else NEVER_S,
        recurrence=recurrence
        and Recurrence(calendar.parse(recurrence["interval"]), at(recurrence["anchor"])),
        min_rollover=atto(body.get("minRollover", 0)),
        max_rollover=atto(body.get("maxRollover", 0)),
    )


def run_case(given_: dict[str, Any]) -> Run:
    grants = [grant_of(body) for body in given_["grants"]]
    events = [(calendar.floor_minute(at(one["at"])), atto(one["value"])) for one in given_["usage"]]
    start_s = at(given_["start"])
    before = burndown.begin(grants, start_s)
    if isinstance(given_["startBalances"], dict):
        balances = {name: atto(balance) for name, balance in given_["startBalances"].items()}
        before = Snapshot(
            start_s, balances, atto(given_["startOverage"]), start_s, atto(given_.get("startUsage", 0))
        )
    return burndown.run(
        grants,
        before,
        at(given_["until"]),
        lambda from_s, to_s: sum(value for minute, value in events if from_s <= minute < to_s),
        [(at(reset), given_.get("preserveOverage", False)) for reset in given_.get("resets", [])],
    )


def shown(segment: Segment) -> dict[str, Any]:
    return {
        "from": segment.from_s,
        "to": segment.to_s,
        "usage": segment.usage,
        "overage": segment.overage,
        "overageAtStart": segment.overage_at_start,
        "totalBalanceAtStart": sum(segment.balances_at_start.values()),
        "totalBalanceAtEnd": sum(segment.balances_at_end.values()),
        "reason": segment.reason,
    }


def test_there_are_cases() -> None:
    assert (len(ENGINE), len(WALLETS)) == (27, 2)


@pytest.mark.parametrize("case", ENGINE, ids=lambda case: case["id"])
def test_openmeter_engine(case: dict[str, Any]) -> None:
    wanted = case["out"]
    if wanted.get("error"):
        with pytest.raises(Broken):
            run_case(case["in"])
        return
    run = run_case(case["in"])
    last = run.last
    found = {
        "balances": dict(last.balances),
        "overage": last.overage,
        "usageInPeriod": last.usage,
        "usageSince": last.since_s,
        "totalBalance": last.balance,
        "totalGrantUsage": last.burnt,
        "totalAvailableGrantAmount": last.total_available,
    }
    for name, value in wanted.items():
        if name == "balances":
            assert found[name] == {grant: atto(balance) for grant, balance in value.items()}
        elif name == "usageSince":
            assert found[name] == at(value)
        elif name == "segments":
            check_segments(run.segments, value)
        else:
            assert found[name] == atto(value), name


def check_segments(segments: list[Segment], wanted: list[dict[str, Any]]) -> None:
    assert len(segments) == len(wanted)
    for segment, expected in zip(segments, wanted, strict=True):
        found = shown(segment)
        for name, value in expected.items():
            if name == "balanceAtStart":
                for grant, balance in value.items():
                    assert segment.balances_at_start.get(grant, 0) == atto(balance)
            elif name in ("from", "to"):
                assert found[name] == at(value)
            elif name == "reason":
                assert found[name] == value
            else:
                assert found[name] == atto(value), name


@pytest.mark.parametrize("case", WALLETS, ids=lambda case: case["id"])
def test_lago_wallets(case: dict[str, Any]) -> None:
    grants = [
        Grant(one["id"], int(one["cents"]), 0, int(one["priority"]), created_at_ms=int(one["createdOrder"]))
        for one in case["in"]["grants"]
    ]
    used = int(case["in"]["consumeCents"])
    run = burndown.run(grants, burndown.begin(grants, 0), 60, lambda *_: used)
    assert {name: str(left) for name, left in run.last.balances.items()} == case["out"]["remaining"]
    burnt = [[name, str(cents)] for segment in run.segments for name, cents in segment.burnt.items()]
    assert burnt == case["out"]["links"]


SPAN_MINUTES = 600
minutes = st.integers(0, SPAN_MINUTES).map(lambda minute: START_S + 60 * minute)


@st.composite
def any_grant(draw: st.DrawFn, name: str) -> Grant:
    effective_at_s = draw(minutes) - draw(st.sampled_from([0, 0, DAY_S]))
    recurrence = None
    if draw(st.booleans()):
        recurrence = Recurrence(Interval(0, draw(st.sampled_from([HOUR_S, 4 * HOUR_S]))), draw(minutes))
    return Grant(
        id=name,
        amount=draw(st.integers(1, 100)),
        effective_at_s=effective_at_s,
        priority=draw(st.integers(1, 3)),
        expires_at_s=draw(st.one_of(st.just(NEVER_S), minutes)),
        voided_at_s=draw(st.one_of(st.just(NEVER_S), st.just(NEVER_S), minutes)),
        recurrence=recurrence,
        min_rollover=draw(st.integers(0, 50)),
        max_rollover=draw(st.integers(0, 100)),
        created_at_ms=draw(st.integers(0, 2)),
    )


@st.composite
def any_grants(draw: st.DrawFn) -> list[Grant]:
    return [draw(any_grant(f"g{place}")) for place in range(draw(st.integers(0, 4)))]


changes = st.lists(st.tuples(minutes, st.integers(-30, 80)), max_size=20)
burns = st.lists(st.tuples(minutes, st.integers(0, 80)), max_size=20)
reset_lists = st.lists(st.tuples(minutes, st.booleans()), max_size=3, unique_by=lambda reset: reset[0]).map(
    sorted
)


def total(events: list[tuple[int, int]]) -> burndown.UsageBetween:
    return lambda from_s, to_s: sum(value for minute, value in events if from_s <= minute < to_s)


def checked(resets: list[tuple[int, bool]]) -> list[tuple[int, bool]]:
    return [reset for reset in resets if reset[0] > START_S]


@given(any_grants(), changes, reset_lists)
def test_nothing_is_lost_or_made(
    grants: list[Grant], events: list[tuple[int, int]], resets: list[tuple[int, bool]]
) -> None:
    until_s = START_S + SPAN_MINUTES * 60
    run = burndown.run(grants, burndown.begin(grants, START_S), until_s, total(events), checked(resets))
    assert sum(s.usage for s in run.segments) == sum(value for minute, value in events if minute < until_s)
    for segment in run.segments:
        burnt = sum(segment.burnt.values())
        assert segment.usage + segment.overage_at_start == burnt + segment.overage
        start, end = segment.balances_at_start, segment.balances_at_end
        assert sum(start.values()) - sum(end.values()) == burnt
        assert all(balance >= 0 for balance in end.values())
        assert not (segment.overage > 0 and any(end.values()))
        active = {grant.id for grant in grants if grant.active(segment.from_s)}
        assert set(start) <= active
    for before, after in pairwise(run.segments):
        assert before.to_s == after.from_s
        if before.reason != "usageReset":
            assert before.overage == after.overage_at_start
    assert run.last.total_available == run.last.burnt + run.last.balance


# Usage taken back counts against its phase, and a stop makes two phases of one: so only usage that grows.
@given(
    any_grants(),
    burns,
    reset_lists,
    minutes.filter(lambda at_s: START_S < at_s < START_S + SPAN_MINUTES * 60),
)
def test_a_stop_anywhere_and_on_is_the_same_as_straight_through(
    grants: list[Grant], events: list[tuple[int, int]], resets: list[tuple[int, bool]], stop_s: int
) -> None:
    until_s, resets = START_S + SPAN_MINUTES * 60, checked(resets)
    whole = burndown.run(grants, burndown.begin(grants, START_S), until_s, total(events), resets)
    before = burndown.run(
        grants, burndown.begin(grants, START_S), stop_s, total(events), resets, inclusive=False
    ).last
    if any(at_s == stop_s for at_s, _ in resets):
        _, before = burndown.reset(burn_order(grants), before, dict(resets)[stop_s])
    rest = [reset for reset in resets if reset[0] > stop_s]
    assert burndown.run(grants, before, until_s, total(events), rest).last[:-1] == whole.last[:-1]


@given(any_grants(), changes)
def test_of_latest_each_phase_starts_again(grants: list[Grant], events: list[tuple[int, int]]) -> None:
    until_s = START_S + SPAN_MINUTES * 60
    run = burndown.run(grants, burndown.begin(grants, START_S), until_s, total(events), latest=True)
    amounts = {grant.id: grant.amount for grant in grants}
    for segment in run.segments:
        assert segment.overage_at_start == 0
        assert all(balance == amounts[name] for name, balance in segment.balances_at_start.items())
    assert run.last.usage == run.segments[-1].usage


def test_burning_order() -> None:
    late, soon = {"expires_at_s": 200}, {"expires_at_s": 100}
    grants = [
        Grant("never", 1, 0, 1),
        Grant("b", 1, 0, 1, **late, created_at_ms=2),
        Grant("a", 1, 0, 1, **late, created_at_ms=2),
        Grant("older", 1, 0, 1, **late, created_at_ms=1),
        Grant("soon", 1, 0, 1, **soon),
        Grant("second", 1, 0, 2, **soon),
    ]
    assert [grant.id for grant in burn_order(grants)] == ["soon", "older", "a", "b", "never", "second"]


@pytest.mark.parametrize(
    ("usage", "grants", "exhausted"),
    [
        ([(5, 10)], [Grant("g", 10, 0)], 5),
        ([(5, 6), (7, 6)], [Grant("g", 10, 0)], 7),
        ([(5, 9)], [Grant("g", 10, 0)], None),
        ([], [], None),  # nothing was ever there to run out
        ([(5, 9)], [Grant("g", 10, 0, expires_at_s=1200)], 20),
        ([(5, 20)], [Grant("g", 10, 0), Grant("h", 5, 1200)], 5),  # swallowed by overage: it never came back
        ([(5, 20)], [Grant("g", 10, 0), Grant("h", 15, 1200)], None),
        ([(5, 20), (25, 5)], [Grant("g", 10, 0), Grant("h", 15, 1200)], 25),
    ],
)
def test_since_when_the_balance_is_zero(
    usage: list[tuple[int, int]], grants: list[Grant], exhausted: int | None
) -> None:
    def crossing(from_s: int, to_s: int, available: int) -> int:
        for minute, value in sorted(usage):
            if from_s <= minute * 60 < to_s and (available := available - value) <= 0:
                return minute * 60
        raise AssertionError

    events = [(minute * 60, value) for minute, value in usage]
    last = burndown.run(grants, burndown.begin(grants, 0), 3600, total(events), crossing=crossing).last
    assert last.exhausted_at_s == (NEVER_S if exhausted is None else exhausted * 60)
