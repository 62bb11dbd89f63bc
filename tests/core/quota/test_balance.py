"""Balances: grace, limits, beginnings and ends, resets, what is late, what state is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pipeline.core.quota.account_members import SEGMENT_ENTRIES
from pipeline.core.quota.account_usage import UsageChange, change_of
from pipeline.core.quota.balance import move
from pipeline.core.quota.balance_machine import KEEP_S
from pipeline.core.quota.balance_result import BalanceOutcome
from pipeline.core.quota.balance_state import decode_head
from pipeline.core.quota.grant import Grant, burn_order
from pipeline.core.quota.terms import COUNTED, Counted, Terms
from pipeline.core.values.calendar import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    NEVER_S,
    Interval,
    Recurrence,
    Reset,
    Schedule,
)
from pipeline.core.values.number import SCALE
from pipeline.records import Window
from tests.fixtures.balance_world import ACCOUNT, START_S, World, same
from tests.fixtures.metered_events import Memory

HOURLY = Schedule(START_S, Recurrence(Interval(0, HOUR_S), START_S))
MONTHLY = Schedule(START_S, Recurrence(Interval(1, 0), START_S))


def terms_of(schedule: Schedule = MONTHLY, *grants: Grant, **members: Any) -> Terms:
    return Terms("e", 1, members.pop("aggregation", "SUM"), schedule, burn_order(grants), **members)


def grant(amount: int = 100, **members: Any) -> Grant:
    return Grant("g", amount * SCALE, START_S, **members)


def mover(table: Memory, terms: Terms, keep_s: int = KEEP_S) -> Callable[..., BalanceOutcome]:
    world, positions = World(terms.aggregation), iter(range(10**9))

    def at(now: int, *events: tuple[int, int]) -> BalanceOutcome:
        """now, and of each event the minute and the value."""
        changes = [world.event(minute, b"p", value) for minute, value in events]
        return move(table, ACCOUNT, terms, START_S + now * MINUTE_S, changes, next(positions), keep_s)

    return at


def test_access_goes_on_for_the_grace_period_only() -> None:
    at = mover(Memory(), terms_of(MONTHLY, grant(), grace_s=600))
    assert at(1, (1, 60)).status.has_access
    exhausted = at(5, (4, 40)).status
    assert (exhausted.balance, exhausted.has_access) == (0, True)
    assert exhausted.exhausted_at_s == START_S + 4 * MINUTE_S
    assert exhausted.next_at_s == START_S + 14 * MINUTE_S
    assert at(13, (13, 5)).status.has_access
    after = at(14).status
    assert (after.has_access, after.overage) == (False, 5 * SCALE)
    assert at(15, (2, -20)).status.has_access  # a late correction brings balance back
    again = at(16, (16, 20)).status
    assert (again.has_access, again.exhausted_at_s) == (True, START_S + 16 * MINUTE_S)


def test_a_late_event_moves_the_exhaustion_back() -> None:
    at = mover(Memory(), terms_of(MONTHLY, grant(), grace_s=600))
    assert at(9, (8, 100)).status.exhausted_at_s == START_S + 8 * MINUTE_S
    assert at(9, (3, 100)).status.exhausted_at_s == START_S + 3 * MINUTE_S


def test_a_soft_limit_never_ends_access() -> None:
    at = mover(Memory(), terms_of(MONTHLY, grant(), soft=True))
    standing = at(1, (0, 500)).status
    assert (standing.balance, standing.overage, standing.has_access) == (0, 400 * SCALE, True)


def test_an_entitlement_gives_access_from_its_beginning_to_its_end() -> None:
    at = mover(
        Memory(),
        terms_of(MONTHLY, grant(), starts_at_s=START_S + 5 * MINUTE_S, ends_at_s=START_S + 9 * MINUTE_S),
    )
    first = at(0).status
    assert (first.has_access, first.next_at_s) == (False, START_S + 5 * MINUTE_S)
    assert at(5).status.has_access
    assert at(8, (8, 10)).status.has_access
    last = at(12, (9, 10), (7, 1)).status
    assert (last.has_access, last.next_at_s, last.usage) == (False, NEVER_S, 11 * SCALE)


def test_usage_of_a_minute_to_come_waits_for_it() -> None:
    at = mover(Memory(), terms_of(MONTHLY, grant()))
    waiting = at(1, (30, 7)).status
    assert (waiting.usage, waiting.next_at_s) == (0, START_S + 30 * MINUTE_S)
    assert at(29).status.usage == 0
    assert at(30).status.usage == 7 * SCALE


def test_resets_say_what_the_period_came_to() -> None:
    schedule = HOURLY._replace(resets=(Reset(START_S + 90 * MINUTE_S, START_S + 90 * MINUTE_S, False),))
    at = mover(Memory(), terms_of(schedule, grant()))
    at(10, (10, 130))
    outcome = at(200, (70, 5))
    assert [(done.at_s, done.usage, done.overage, done.manual) for done in outcome.resets] == [
        (START_S + 60 * MINUTE_S, 130 * SCALE, 30 * SCALE, False),
        (START_S + 90 * MINUTE_S, 5 * SCALE, 5 * SCALE, True),
        (START_S + 150 * MINUTE_S, 0, 0, False),
    ]
    assert outcome.status.since_s == START_S + 150 * MINUTE_S


def test_a_manual_reset_in_the_past_is_reported_once() -> None:
    table, world = Memory(), World("SUM")
    terms = terms_of(MONTHLY, grant())
    move(table, ACCOUNT, terms, START_S + 600, [world.event(2, b"p", 40), world.event(8, b"p", 2)], 0)
    reset = Schedule(START_S, MONTHLY.recurrence, (Reset(START_S + 300, START_S, False),))
    changed = msgspec.structs.replace(terms, schedule=reset, revision=2)
    outcome = move(table, ACCOUNT, changed, START_S + 660)
    assert [(done.at_s, done.usage, done.manual) for done in outcome.resets] == [
        (START_S + 300, 40 * SCALE, True)
    ]
    assert outcome.status.usage == 2 * SCALE
    again = move(table, ACCOUNT, msgspec.structs.replace(changed, revision=3), START_S + 720)
    assert again.resets == []


def test_late_usage_is_reported() -> None:
    at = mover(Memory(), terms_of(HOURLY, grant(max_rollover=100 * SCALE)))
    at(10, (10, 30))
    assert at(20, (11, 5)).corrections == []  # of this phase, and not old
    assert at(61).status.balance == 65 * SCALE
    late = at(70, (50, 10), (62, 1))
    assert [(one.minute_s, one.change, one.counted) for one in late.corrections] == [
        (START_S + 50 * MINUTE_S, 10 * SCALE, True)
    ]
    assert (late.status.balance, late.status.late_count) == (54 * SCALE, 0)  # it was of the period before
    old = mover(Memory(), terms_of(MONTHLY, grant()))
    old(1, (1, 1))
    corrected = old(200, (3, 4), (199, 1))
    assert (corrected.status.late, corrected.status.late_count) == (4 * SCALE, 1)
    assert [one.change for one in corrected.corrections] == [4 * SCALE]
    assert old(201).status.late == 4 * SCALE


def test_what_is_too_old_to_be_counted_is_reported_too() -> None:
    at = mover(Memory(), terms_of(HOURLY, grant()), keep_s=2 * HOUR_S)
    for hour in range(10):
        at(60 * hour, (60 * hour, 1))
    standing = at(601).status
    outcome = at(602, (5, 9), (601, 2))
    assert [(one.minute_s, one.counted) for one in outcome.corrections] == [(START_S + 5 * MINUTE_S, False)]
    assert outcome.status.usage == standing.usage + 2 * SCALE


@pytest.mark.parametrize("aggregation", COUNTED)
def test_state_does_not_grow_for_ever(aggregation: Counted) -> None:
    table = Memory()
    at = mover(table, terms_of(HOURLY, grant(), aggregation=aggregation), keep_s=DAY_S)
    sizes = []
    for hour in range(24 * 8):
        at(60 * hour, (60 * hour, hour), (60 * hour + 1, 1))
        sizes.append(len(table))
    assert max(sizes[100:]) <= max(sizes[:100])


@pytest.mark.parametrize("aggregation", COUNTED)
def test_many_phases_are_thinned_and_still_right(aggregation: Counted) -> None:
    tick = Recurrence(Interval(0, HOUR_S), START_S)
    terms = terms_of(MONTHLY, grant(recurrence=tick), aggregation=aggregation)
    world, table = World(aggregation), Memory()
    for hour in range(200):
        move(table, ACCOUNT, terms, START_S + hour * HOUR_S, [world.event(60 * hour, b"p", hour)], hour)
    now_s = START_S + 199 * HOUR_S
    for position, minute in enumerate((7, 3000, 9001), 1000):
        found = move(table, ACCOUNT, terms, now_s, [world.event(minute, b"p", 5)], position).status
        same(found, world.recount(terms, now_s))


def test_many_members_are_counted_once_a_period() -> None:
    terms = terms_of(MONTHLY, grant(10_000), aggregation="UNIQUE_COUNT")
    table, members = Memory(), [number.to_bytes(16) for number in range(3 * SEGMENT_ENTRIES + 1)]
    changes = [
        UsageChange(b"p", START_S + minute * MINUTE_S, 0, minute, members=members[place::7])
        for minute, place in enumerate(range(7), 20)
    ]
    found = move(table, ACCOUNT, terms, START_S + HOUR_S, changes, 0)
    assert found.status.usage == len(members) * SCALE
    again = [UsageChange(b"p", START_S, 0, 9, members=members)]
    earlier = move(table, ACCOUNT, terms, START_S + 65 * MINUTE_S, again, 1)
    assert earlier.status.usage == len(members) * SCALE
    reset = MONTHLY._replace(resets=(Reset(START_S + 23 * MINUTE_S, START_S, False),))
    changed = msgspec.structs.replace(terms, schedule=reset, revision=2)
    after = move(table, ACCOUNT, changed, START_S + 66 * MINUTE_S).status
    assert after.usage == len({member for place in range(3, 7) for member in members[place::7]}) * SCALE


def test_old_state_decodes() -> None:
    """Fields are only ever added at the end."""
    table = Memory()
    mover(table, terms_of(MONTHLY, grant()))(3, (1, 10))
    head = msgspec.msgpack.decode(table[ACCOUNT + b"b"])
    assert decode_head(msgspec.msgpack.encode(head[:6])).before.at_s == START_S


def window(**members: Any) -> Window:
    given_ = {
        "namespace": "default", "meter": "m", "meter_id": 7, "subject": "a", "dimensions": {"x": "1"},
        "start_s": START_S, "value": "2.5", "count": 1, "change": "2.5", "order": "", "members": [],
        "revision": 4, "received_at_ms": 0,
    }  # fmt: skip
    return Window(**{**given_, **members})


def test_windows_of_one_minute_add_up_and_the_newest_of_each_counts() -> None:
    windows = [
        window(),
        window(value="3", revision=5),
        window(value="9", revision=3),  # older than what is known
        window(subject="b"),
        window(dimensions={"x": "2"}),
        window(part=1),
        window(meter_id=8),
    ]
    changes = [change_of(one) for one in windows]
    found = move(Memory(), ACCOUNT, terms_of(MONTHLY, grant()), START_S, changes, 0)
    assert found.status.usage == 13 * SCALE


def test_members_of_a_window() -> None:
    change = change_of(window(members=["00" * 16, "01" * 16], value="2"))
    terms = terms_of(MONTHLY, grant(), aggregation="UNIQUE_COUNT")
    assert move(Memory(), ACCOUNT, terms, START_S, [change, change], 0).status.usage == 2 * SCALE
