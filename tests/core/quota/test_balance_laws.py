"""The state machine of a balance: it is a full recount, whatever came when, how often and in which order."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.quota import balance, balance_machine
from pipeline.core.quota.balance import HeldBalances, forget, move
from pipeline.core.quota.terms import COUNTED, Counted, Terms
from pipeline.core.values.calendar import HOUR_S, MINUTE_S
from tests.fixtures.balance_world import (
    ACCOUNT,
    SPAN,
    START_S,
    Arrival,
    World,
    any_terms,
    arrivals,
    minutes,
    record,
    same,
)
from tests.fixtures.examples import examples
from tests.fixtures.metered_events import Memory


@given(any_terms(), arrivals, st.integers(1, 4), st.booleans())
@settings(max_examples=examples(400))
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
        same(outcome.status, world.recount(terms, now_s))
        assert balance.read(table, ACCOUNT, terms) == outcome.status
    end_s = START_S + 2 * SPAN * MINUTE_S
    same(move(table, ACCOUNT, terms, end_s).status, world.recount(terms, end_s))
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
        found.append(move(table, ACCOUNT, terms, end_s).status._replace(late=0, late_count=0))
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
        found.append((outcome.status, resets))
    assert found[0] == found[1] == found[2]


@given(any_terms(), arrivals)
def test_only_the_instants_that_it_names_change_it(terms: Terms, arrived: list[Arrival]) -> None:
    world, table = World(terms.aggregation), Memory()
    at = move(
        table, ACCOUNT, terms, START_S, [world.event(a.minute, a.part, a.value) for a in arrived], 0
    ).status
    for minute in range(1, SPAN + 20, 3):
        now_s = START_S + minute * MINUTE_S
        quiet = now_s < at.next_at_s
        following = move(table, ACCOUNT, terms, now_s).status
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
            assert repeated.status == outcome.status
            assert (repeated.resets, repeated.corrections) == ([], [])
        assert table == kept


@given(any_terms(), arrivals)
def test_the_same_windows_at_new_positions_change_nothing(terms: Terms, arrived: list[Arrival]) -> None:
    world, table = World(terms.aggregation), Memory()
    changes = [world.event(one.minute, one.part, one.value) for one in arrived]
    first = move(table, ACCOUNT, terms, START_S + SPAN * MINUTE_S, changes, 0)
    again = move(table, ACCOUNT, terms, START_S + SPAN * MINUTE_S, changes[::-1], 1)
    assert again.status._replace(position=first.status.position) == first.status
    assert again.corrections == []


@given(st.data(), st.sampled_from(COUNTED), arrivals, st.integers(0, SPAN))
@settings(max_examples=examples(200))
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
    same(move(table, ACCOUNT, new, now_s).status, world.recount(new, now_s))
    for position, one in enumerate(arrived[half:], half):
        outcome = move(table, ACCOUNT, new, now_s, [world.event(one.minute, one.part, one.value)], position)
        same(outcome.status, world.recount(new, now_s))


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
    same(outcome.status, world.recount(new, now_s))
    assert outcome.resets == []


@given(st.data(), st.sampled_from(COUNTED), arrivals, st.sampled_from([HOUR_S, balance_machine.KEEP_S]))
@settings(max_examples=examples(150))
def test_where_a_chunk_ends_makes_no_difference(
    data: st.DataObject, aggregation: Counted, arrived: list[Arrival], keep_s: int
) -> None:
    """Each outcome and every byte of the state, also while terms change and usage is removed."""
    first, other, following = (data.draw(any_terms(aggregation)) for _ in range(3))
    used = [
        first,
        msgspec.structs.replace(
            other, schedule=other.schedule._replace(start_s=first.schedule.start_s), revision=2
        ),
        msgspec.structs.replace(following, entitlement="f", revision=3),
    ]
    ends = data.draw(st.sets(st.integers(0, len(arrived))))
    world, single, whole, now_s, stage = World(aggregation), Memory(), Memory(), START_S, 0
    chunk = HeldBalances(whole, keep_s)
    for position, one in enumerate(arrived):
        now_s = max(now_s, START_S + one.now * MINUTE_S)
        stage = min(2, stage + (one.value % 5 == 0))
        changes = [world.event(one.minute, one.part, one.value)] if one.value % 7 else []
        alone = move(single, ACCOUNT, used[stage], now_s, changes, position, keep_s)
        together = chunk.move(ACCOUNT, used[stage], now_s, changes, position)
        before, expected = together.before, alone.before
        assert together._replace(before=None) == alone._replace(before=None)
        assert (before and before.burnt().balance) == (expected and expected.burnt().balance)
        if position in ends:
            chunk.flush()
            chunk = HeldBalances(whole, keep_s)
            assert whole == single
    chunk.flush()
    assert whole == single
