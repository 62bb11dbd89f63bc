"""The state machine of a balance: it is a full recount, whatever came when, how often and in which order."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import balance, credit, period
from pipeline.core import terms as terms_
from pipeline.core.balance import forget, move
from pipeline.core.balance_state import decode_head
from pipeline.core.grant import Grant, burn_order
from pipeline.core.number import SCALE
from pipeline.core.period import DAY_S, HOUR_S, MINUTE_S, NEVER_S, Interval, Recurrence, Reset, Schedule
from pipeline.core.standing import Outcome, Standing
from pipeline.core.terms import COUNTED, Counted, Terms
from pipeline.core.usage_rows import SEGMENT_ENTRIES, Change, change_of
from pipeline.records import Window
from tests.core.test_aggregate import Memory

START_S = 1_704_067_200  # 2024-01-01T00:00:00Z
SPAN = 400  # minutes in which things happen
ACCOUNT = b"a" * 16


@dataclass
class World:
    """Windows as AGGREGATE would send them, and a recount of them that keeps no state."""

    aggregation: Counted
    values: dict[tuple[int, bytes], tuple[int, int, str]] = field(
        default_factory=dict
    )  # revision, value, order
    members: set[tuple[int, bytes]] = field(default_factory=set)
    revision: int = 0

    def event(self, minute: int, part: bytes, value: int) -> Change:
        """One more event, and the window as it is then."""
        self.revision += 1
        at_s = START_S + minute * MINUTE_S
        _, before, order = self.values.get((at_s, part), (0, 0, ""))
        if self.aggregation == "UNIQUE_COUNT":
            member = bytes([abs(value) % 5]) * 16
            self.members.add((at_s, member))
            return Change(part, at_s, 0, self.revision, members=[member])
        if self.aggregation == "LATEST":
            order = max(order, f"{at_s:012d}{self.revision * 7919 % 64:03d}{self.revision:06d}")
            newest = order.endswith(f"{self.revision:06d}")
            self.values[at_s, part] = (self.revision, value * SCALE if newest else before, order)
        else:
            self.values[at_s, part] = (self.revision, before + value * SCALE, "")
        revision, total, order = self.values[at_s, part]
        return Change(part, at_s, total, revision, order, cause=f"event {revision}")

    def minutes(self, terms: Terms, until_s: int) -> dict[int, tuple[int, str]]:
        """Usage by minute: value and order."""
        found: dict[int, tuple[int, str]] = {}
        if self.aggregation == "UNIQUE_COUNT":
            seen: set[tuple[int, bytes]] = set()
            for at_s, member in sorted(self.members):
                key = (period.usage_period(terms.schedule, at_s)[0], member)
                if key not in seen and at_s < until_s:
                    seen.add(key)
                    found[at_s] = (found.get(at_s, (0, ""))[0] + SCALE, "")
            return found
        for (at_s, _), (_, value, order) in self.values.items():
            if at_s < until_s:
                before = found.get(at_s, (0, ""))
                found[at_s] = max((value, order), before, key=lambda one: one[1]) if order else (
                    before[0] + value, ""
                )  # fmt: skip
        return found

    def recount(self, terms: Terms, now_s: int) -> Standing:
        now_s = period.floor_minute(now_s)
        until_s = min(now_s + MINUTE_S, terms.ends_at_s)
        minutes = self.minutes(terms, until_s)

        def between(from_s: int, to_s: int) -> int:
            inside = [one for at_s, one in minutes.items() if from_s <= at_s < to_s]
            if terms.latest:
                return max(inside, key=lambda one: one[1], default=(0, ""))[0]
            return sum(value for value, _ in inside)

        def crossing(from_s: int, to_s: int, available: int) -> int:
            since, total = None, 0
            for at_s in sorted(minutes):
                if from_s <= at_s < to_s:
                    total = minutes[at_s][0] if terms.latest else total + minutes[at_s][0]
                    since = None if total < available else since or at_s
            return from_s if since is None else since

        start_s = terms.schedule.start_s
        resets = list(terms_.resets(terms, start_s, min(now_s, terms.ends_at_s - MINUTE_S)))
        last = credit.run(
            terms.order,
            terms_.begin(terms),
            max(until_s, start_s),
            between,
            resets,
            terms.latest,
            crossing,
            False,
        ).last
        return standing_of(terms, last, now_s)


def standing_of(terms: Terms, last: credit.Snapshot, now_s: int) -> Standing:
    since_s = last.since_s
    return Standing(
        terms.entitlement, terms.revision, 0, now_s, last.balance, last.usage, max(0, last.overage),
        last.total_available, terms_.has_access(terms, last.balance, last.exhausted_at_s, now_s), since_s,
        period.usage_period(terms.schedule, since_s)[1], last.exhausted_at_s, 0,
        {name: left for name, left in last.balances.items() if left},
    )  # fmt: skip


def same(found: Standing, wanted: Standing) -> None:
    left = {name: balance for name, balance in found.balances.items() if balance}
    assert found._replace(position=0, next_at_s=0, late=0, late_count=0, balances=left) == wanted


minute_numbers = st.integers(0, SPAN)
minutes = minute_numbers.map(lambda minute: START_S + minute * MINUTE_S)


@st.composite
def any_grant(draw: st.DrawFn, name: str) -> Grant:
    tick = Recurrence(Interval(0, draw(st.sampled_from([HOUR_S, 2 * HOUR_S]))), draw(minutes))
    return Grant(
        id=name,
        amount=draw(st.integers(1, 100)) * SCALE,
        effective_at_s=draw(st.one_of(st.just(START_S), minutes)),
        priority=draw(st.integers(1, 2)),
        expires_at_s=draw(st.one_of(st.just(NEVER_S), minutes)),
        voided_at_s=draw(st.sampled_from([NEVER_S, NEVER_S, START_S + 90 * MINUTE_S])),
        recurrence=draw(st.sampled_from([None, tick])),
        min_rollover=draw(st.integers(0, 50)) * SCALE,
        max_rollover=draw(st.integers(0, 100)) * SCALE,
    )


@st.composite
def any_terms(draw: st.DrawFn, aggregation: Counted | None = None) -> Terms:
    start_s = START_S + draw(st.sampled_from([0, 0, 60, 7260]))
    resets = draw(
        st.lists(st.tuples(minutes, st.booleans(), st.booleans()), max_size=2, unique_by=lambda r: r[0])
    )
    recurrence = Recurrence(
        draw(st.sampled_from([Interval(0, HOUR_S), Interval(0, 3 * HOUR_S), Interval(1, 0)])), START_S
    )
    return Terms(
        entitlement="e",
        revision=1,
        aggregation=aggregation or draw(st.sampled_from(COUNTED)),
        schedule=Schedule(
            start_s,
            recurrence,
            tuple(
                Reset(at_s, recurrence.anchor_s if retain else at_s, preserve)
                for at_s, retain, preserve in sorted(resets)
                if at_s > start_s
            ),
        ),
        order=burn_order(draw(any_grant(f"g{place}")) for place in range(draw(st.integers(0, 3)))),
        preserve=draw(st.booleans()),
        soft=draw(st.sampled_from([False, False, True])),
        grace_s=draw(st.sampled_from([0, 600])),
        ends_at_s=draw(st.one_of(st.just(NEVER_S), minutes.filter(lambda at_s: at_s > start_s + 60))),
    )  # fmt: skip


@dataclass(frozen=True)
class Arrival:
    now: int  # minutes; the newest so far counts
    minute: int
    part: bytes
    value: int


arrivals = st.lists(
    st.builds(Arrival, minute_numbers, minute_numbers, st.sampled_from([b"p", b"q"]), st.integers(-20, 60)),
    max_size=25,
)


def record(arrived: list[Arrival], place: int, size: int) -> list[Arrival]:
    return arrived[place : place + size]


@given(any_terms(), arrivals, st.integers(1, 4), st.booleans())
@settings(max_examples=400)
def test_it_is_a_full_recount(terms: Terms, arrived: list[Arrival], size: int, on_time: bool) -> None:
    world, table, now_s = World(terms.aggregation), Memory(), START_S
    if on_time:
        arrived = [
            replace(one, now=max(one.now, one.minute)) for one in sorted(arrived, key=lambda one: one.minute)
        ]
    for place in range(0, len(arrived), size):
        batch = record(arrived, place, size)
        now_s = max(now_s, START_S + max(one.now for one in batch) * MINUTE_S + 17)
        changes = [world.event(one.minute, one.part, one.value) for one in batch]
        outcome = move(table, ACCOUNT, terms, now_s, changes, place)
        same(outcome.standing, world.recount(terms, now_s))
        assert balance.read(table, ACCOUNT, terms) == outcome.standing
    end_s = START_S + 2 * SPAN * MINUTE_S
    same(move(table, ACCOUNT, terms, end_s).standing, world.recount(terms, end_s))
    forget(table, ACCOUNT, terms)
    assert not table


@given(any_terms(), arrivals, st.randoms(use_true_random=False))
def test_order_does_not_matter(terms: Terms, arrived: list[Arrival], chance: random.Random) -> None:
    world = World(terms.aggregation)
    changes = [world.event(one.minute, one.part, one.value) for one in arrived]
    shuffled = changes[:]
    chance.shuffle(shuffled)
    end_s = START_S + SPAN * MINUTE_S
    found = []
    for order in (changes, shuffled):
        table = Memory()
        for position, change in enumerate(order):
            move(table, ACCOUNT, terms, START_S + position * 13 * MINUTE_S, [change], position)
        found.append(move(table, ACCOUNT, terms, end_s).standing._replace(late=0, late_count=0))
    assert found[0] == found[1]
    same(found[0], world.recount(terms, end_s))


@given(any_terms(), arrivals, st.lists(minutes, max_size=6))
def test_time_may_pass_in_one_step_or_in_many(terms: Terms, arrived: list[Arrival], stops: list[int]) -> None:
    end_s = START_S + 2 * SPAN * MINUTE_S
    found = []
    for ticks in ([], sorted(stops), range(START_S, end_s, 7 * MINUTE_S)):
        world, table, resets = World(terms.aggregation), Memory(), 0
        move(table, ACCOUNT, terms, START_S, [world.event(a.minute, a.part, a.value) for a in arrived], 0)
        for now_s in [*ticks, end_s]:
            outcome = move(table, ACCOUNT, terms, now_s)
            resets += len(outcome.resets)
        found.append((outcome.standing, resets))
    assert found[0] == found[1] == found[2]


@given(any_terms(), arrivals)
def test_only_the_instants_that_it_names_change_it(terms: Terms, arrived: list[Arrival]) -> None:
    world, table = World(terms.aggregation), Memory()
    at = move(
        table, ACCOUNT, terms, START_S, [world.event(a.minute, a.part, a.value) for a in arrived], 0
    ).standing
    for minute in range(1, SPAN + 20, 3):
        now_s = START_S + minute * MINUTE_S
        quiet = now_s < at.next_at_s
        following = move(table, ACCOUNT, terms, now_s).standing
        if quiet:
            assert following._replace(at_s=at.at_s) == at
        at = following
        assert at.next_at_s > now_s


@given(any_terms(), arrivals, st.integers(1, 3))
def test_a_record_read_again_changes_nothing(terms: Terms, arrived: list[Arrival], size: int) -> None:
    world, table = World(terms.aggregation), Memory()
    batches = []
    for place in range(0, len(arrived), size):
        batch = record(arrived, place, size)
        now_s = START_S + max(one.now for one in batch) * MINUTE_S
        batches.append((now_s, [world.event(one.minute, one.part, one.value) for one in batch], place))
        outcome = move(table, ACCOUNT, terms, *batches[-1])
        kept = dict(table)
        for again in batches:
            repeated = move(table, ACCOUNT, terms, *again)
            assert repeated.standing == outcome.standing
            assert (repeated.resets, repeated.corrections, repeated.cause) == ([], [], "")
        assert table == kept


@given(any_terms(), arrivals)
def test_the_same_windows_at_new_positions_change_nothing(terms: Terms, arrived: list[Arrival]) -> None:
    world, table = World(terms.aggregation), Memory()
    changes = [world.event(one.minute, one.part, one.value) for one in arrived]
    first = move(table, ACCOUNT, terms, START_S + SPAN * MINUTE_S, changes, 0)
    again = move(table, ACCOUNT, terms, START_S + SPAN * MINUTE_S, changes[::-1], 1)
    assert again.standing._replace(position=first.standing.position) == first.standing
    assert again.corrections == []


@given(st.data(), st.sampled_from(COUNTED), arrivals, st.integers(0, SPAN))
@settings(max_examples=200)
def test_other_terms_are_counted_as_if_they_had_always_been(
    data: st.DataObject, aggregation: Counted, arrived: list[Arrival], now: int
) -> None:
    old, new = (data.draw(any_terms(aggregation)) for _ in range(2))
    new = msgspec.structs.replace(
        new, schedule=new.schedule._replace(start_s=old.schedule.start_s), revision=2
    )
    world, table = World(aggregation), Memory()
    half = len(arrived) // 2
    for position, one in enumerate(arrived[:half]):
        move(
            table,
            ACCOUNT,
            old,
            START_S + now * MINUTE_S,
            [world.event(one.minute, one.part, one.value)],
            position,
        )
    move(table, ACCOUNT, old, START_S + now * MINUTE_S)
    now_s = START_S + now * MINUTE_S
    same(move(table, ACCOUNT, new, now_s).standing, world.recount(new, now_s))
    for position, one in enumerate(arrived[half:], half):
        outcome = move(table, ACCOUNT, new, now_s, [world.event(one.minute, one.part, one.value)], position)
        same(outcome.standing, world.recount(new, now_s))


@given(st.data(), st.sampled_from(COUNTED), arrivals)
def test_a_following_entitlement_sees_the_usage_before_it(
    data: st.DataObject, aggregation: Counted, arrived: list[Arrival]
) -> None:
    old, new = (data.draw(any_terms(aggregation)) for _ in range(2))
    new = msgspec.structs.replace(new, entitlement="f", revision=2)
    world, table, now_s = World(aggregation), Memory(), START_S + SPAN * MINUTE_S
    for position, one in enumerate(arrived):
        move(table, ACCOUNT, old, now_s, [world.event(one.minute, one.part, one.value)], position)
    outcome = move(table, ACCOUNT, new, now_s)
    same(outcome.standing, world.recount(new, now_s))
    assert outcome.resets == []


HOURLY = Schedule(START_S, Recurrence(Interval(0, HOUR_S), START_S))
MONTHLY = Schedule(START_S, Recurrence(Interval(1, 0), START_S))


def terms_of(schedule: Schedule = MONTHLY, *grants: Grant, **members: Any) -> Terms:
    return Terms("e", 1, members.pop("aggregation", "SUM"), schedule, burn_order(grants), **members)


def grant(amount: int = 100, **members: Any) -> Grant:
    return Grant("g", amount * SCALE, START_S, **members)


def mover(table: Memory, terms: Terms, keep_s: int = balance.KEEP_S) -> Callable[..., Outcome]:
    world, positions = World(terms.aggregation), iter(range(10**9))

    def at(now: int, *events: tuple[int, int]) -> Outcome:
        """now, and of each event the minute and the value."""
        changes = [world.event(minute, b"p", value) for minute, value in events]
        return move(table, ACCOUNT, terms, START_S + now * MINUTE_S, changes, next(positions), keep_s)

    return at


def test_access_goes_on_for_the_grace_period_only() -> None:
    at = mover(Memory(), terms_of(MONTHLY, grant(), grace_s=600))
    assert at(1, (1, 60)).standing.has_access
    exhausted = at(5, (4, 40)).standing
    assert (exhausted.balance, exhausted.has_access) == (0, True)
    assert exhausted.exhausted_at_s == START_S + 4 * MINUTE_S
    assert exhausted.next_at_s == START_S + 14 * MINUTE_S
    assert at(13, (13, 5)).standing.has_access
    after = at(14).standing
    assert (after.has_access, after.overage) == (False, 5 * SCALE)
    assert at(15, (2, -20)).standing.has_access  # a late correction brings balance back
    again = at(16, (16, 20)).standing
    assert (again.has_access, again.exhausted_at_s) == (True, START_S + 16 * MINUTE_S)


def test_a_late_event_moves_the_exhaustion_back() -> None:
    at = mover(Memory(), terms_of(MONTHLY, grant(), grace_s=600))
    assert at(9, (8, 100)).standing.exhausted_at_s == START_S + 8 * MINUTE_S
    assert at(9, (3, 100)).standing.exhausted_at_s == START_S + 3 * MINUTE_S


def test_a_soft_limit_never_ends_access() -> None:
    at = mover(Memory(), terms_of(MONTHLY, grant(), soft=True))
    standing = at(1, (0, 500)).standing
    assert (standing.balance, standing.overage, standing.has_access) == (0, 400 * SCALE, True)


def test_an_entitlement_gives_access_from_its_beginning_to_its_end() -> None:
    at = mover(
        Memory(),
        terms_of(MONTHLY, grant(), starts_at_s=START_S + 5 * MINUTE_S, ends_at_s=START_S + 9 * MINUTE_S),
    )
    first = at(0).standing
    assert (first.has_access, first.next_at_s) == (False, START_S + 5 * MINUTE_S)
    assert at(5).standing.has_access
    assert at(8, (8, 10)).standing.has_access
    last = at(12, (9, 10), (7, 1)).standing
    assert (last.has_access, last.next_at_s, last.usage) == (False, NEVER_S, 11 * SCALE)


def test_usage_of_a_minute_to_come_waits_for_it() -> None:
    at = mover(Memory(), terms_of(MONTHLY, grant()))
    waiting = at(1, (30, 7)).standing
    assert (waiting.usage, waiting.next_at_s) == (0, START_S + 30 * MINUTE_S)
    assert at(29).standing.usage == 0
    assert at(30).standing.usage == 7 * SCALE


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
    assert outcome.standing.since_s == START_S + 150 * MINUTE_S


def test_a_manual_reset_in_the_past_is_told_once() -> None:
    table, world = Memory(), World("SUM")
    terms = terms_of(MONTHLY, grant())
    move(table, ACCOUNT, terms, START_S + 600, [world.event(2, b"p", 40), world.event(8, b"p", 2)], 0)
    reset = Schedule(START_S, MONTHLY.recurrence, (Reset(START_S + 300, START_S, False),))
    changed = msgspec.structs.replace(terms, schedule=reset, revision=2)
    outcome = move(table, ACCOUNT, changed, START_S + 660)
    assert [(done.at_s, done.usage, done.manual) for done in outcome.resets] == [
        (START_S + 300, 40 * SCALE, True)
    ]
    assert outcome.standing.usage == 2 * SCALE
    again = move(table, ACCOUNT, msgspec.structs.replace(changed, revision=3), START_S + 720)
    assert again.resets == []


def test_late_usage_is_said() -> None:
    at = mover(Memory(), terms_of(HOURLY, grant(max_rollover=100 * SCALE)))
    at(10, (10, 30))
    assert at(20, (11, 5)).corrections == []  # of this phase, and not old
    assert at(61).standing.balance == 65 * SCALE
    late = at(70, (50, 10), (62, 1))
    assert [(one.minute_s, one.change, one.counted) for one in late.corrections] == [
        (START_S + 50 * MINUTE_S, 10 * SCALE, True)
    ]
    assert (late.standing.balance, late.standing.late_count) == (54 * SCALE, 0)  # it was of the period before
    old = mover(Memory(), terms_of(MONTHLY, grant()))
    old(1, (1, 1))
    corrected = old(200, (3, 4), (199, 1))
    assert (corrected.standing.late, corrected.standing.late_count) == (4 * SCALE, 1)
    assert [one.change for one in corrected.corrections] == [4 * SCALE]
    assert old(201).standing.late == 4 * SCALE


def test_what_is_too_old_to_be_counted_is_said_too() -> None:
    at = mover(Memory(), terms_of(HOURLY, grant()), keep_s=2 * HOUR_S)
    for hour in range(10):
        at(60 * hour, (60 * hour, 1))
    standing = at(601).standing
    outcome = at(602, (5, 9), (601, 2))
    assert [(one.minute_s, one.counted) for one in outcome.corrections] == [(START_S + 5 * MINUTE_S, False)]
    assert outcome.standing.usage == standing.usage + 2 * SCALE


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
        found = move(table, ACCOUNT, terms, now_s, [world.event(minute, b"p", 5)], position).standing
        same(found, world.recount(terms, now_s))


def test_many_members_are_counted_once_a_period() -> None:
    terms = terms_of(MONTHLY, grant(10_000), aggregation="UNIQUE_COUNT")
    table, members = Memory(), [number.to_bytes(16) for number in range(3 * SEGMENT_ENTRIES + 1)]
    changes = [
        Change(b"p", START_S + minute * MINUTE_S, 0, minute, members=members[place::7])
        for minute, place in enumerate(range(7), 20)
    ]
    found = move(table, ACCOUNT, terms, START_S + HOUR_S, changes, 0)
    assert found.standing.usage == len(members) * SCALE
    again = [Change(b"p", START_S, 0, 9, members=members)]
    earlier = move(table, ACCOUNT, terms, START_S + 65 * MINUTE_S, again, 1)
    assert earlier.standing.usage == len(members) * SCALE
    reset = MONTHLY._replace(resets=(Reset(START_S + 23 * MINUTE_S, START_S, False),))
    changed = msgspec.structs.replace(terms, schedule=reset, revision=2)
    after = move(table, ACCOUNT, changed, START_S + 66 * MINUTE_S).standing
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
    assert found.standing.usage == 13 * SCALE
    assert found.cause == "a"


def test_members_of_a_window() -> None:
    change = change_of(window(members=["00" * 16, "01" * 16], value="2"))
    terms = terms_of(MONTHLY, grant(), aggregation="UNIQUE_COUNT")
    assert move(Memory(), ACCOUNT, terms, START_S, [change, change], 0).standing.usage == 2 * SCALE
