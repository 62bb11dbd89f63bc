"""Backfill: counted as it came and counted later is together what counting all from the start gives."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.definitions.barrier import barrier_revision, end_barrier, start_barrier
from pipeline.core.metering.aggregate import aggregate
from pipeline.core.metering.backfill import BackfillInput, BackfillPage, progress, seeds, steps_of, take
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import Meter
from pipeline.core.values import number
from pipeline.records import Backfill, Definition, Event, Window
from tests.fixtures.backfill_world import SHARDS, World, event_of, stored_of
from tests.fixtures.examples import examples
from tests.fixtures.fake_transaction import DictTable

START_S = 1_704_067_200
KINDS = ("COUNT", "SUM", "AVG", "MIN", "MAX", "LATEST", "UNIQUE_COUNT")
FROM = "2024-01-01T00:01:00Z"


def body(slug: str, kind: str, **more: object) -> dict[str, object]:
    value = {} if kind == "COUNT" else {"valueProperty": "$.v"}
    return {"slug": slug, "eventType": "t", "aggregation": kind, "groupBy": {"d": "$.d"}, **value, **more}


BODIES = st.builds(
    lambda kind, type, late: body("", kind, eventType=type, **({"eventFrom": FROM} if late else {})),
    st.sampled_from(KINDS),
    st.sampled_from("tu"),
    st.booleans(),
)
EVENTS = st.tuples(
    st.sampled_from("tuw"),
    st.sampled_from("abc"),
    st.integers(0, 200),  # seconds
    st.sampled_from([1, 2, -3, "0.5", "x", None]),
    st.sampled_from("de"),
)
ACTIONS = st.one_of(
    st.tuples(st.just("create"), BODIES),
    st.tuples(st.just("receive"), st.lists(EVENTS, min_size=1, max_size=5)),
    st.tuples(st.just("learn"), st.none()),
    st.tuples(st.just("sink"), st.tuples(st.integers(0, SHARDS), st.integers(1, 9))),
    st.tuples(st.just("step"), st.tuples(st.integers(0, SHARDS - 1), st.booleans(), st.integers(0, 9))),
)


def event(place: int, type: str, subject: str, second: int, value: object, dimension: str = "d") -> Event:
    data = {"d": dimension} if value is None else {"v": value, "d": dimension}
    raw = msgspec.Raw(msgspec.json.encode(data))
    at_ns = (START_S + second) * 10**9
    return Event("default", "s", str(place), type, subject, at_ns, place, "events", 0, place, raw)


def act(world: World, what: str, how: Any) -> None:
    if what == "create":
        world.create({**how, "slug": f"m{len(world.meters)}"})
    elif what == "receive":
        first = len(world.events)
        world.receive([event(first + place, *one) for place, one in enumerate(how)])
    elif what == "learn":
        world.known = world.revision
    elif what == "sink":
        world.sink(*how)
    else:
        shard, torn, items = how
        world.step(shard, torn, lambda: world.sink(shard, items))


def whole(kind: str, parts: list[Window], members: set[str]) -> tuple[object, int]:
    """A window from its parts, in the way that queries merge them."""
    events = sum(part.count for part in parts)
    values = [number.exact(part.value) for part in parts]
    if kind == "UNIQUE_COUNT":
        return len(members), events
    if kind == "LATEST":
        return max((part.order, value) for part, value in zip(parts, values, strict=True)), events
    fold = {"MIN": min, "MAX": max}.get(kind, sum)
    return fold(values), events


def windows(world: World) -> dict[object, tuple[object, int]]:
    kinds = {meter.meter_id: meter.aggregation for meter in world.meters}
    parts: dict[Any, list[Window]] = {}
    for (key, _), window in world.windows.items():
        parts.setdefault(key, []).append(window)
    return {key: whole(kinds[key[0]], found, world.members[key]) for key, found in parts.items()}


def recounted(world: World, meters: list[Meter]) -> World:
    """All events with all meters from the start."""
    plain = World(meters=meters, revision=10**6, known=10**6)
    plain.receive(world.events)
    plain.sink(SHARDS, 10**9)
    return plain


def fates(world: World) -> dict[int, tuple[str, list[str], list[str]]]:
    return {
        event_of(row).offset: (row.fate, sorted(row.meters), sorted(filter(None, row.reason.split("; "))))
        for row in world.rows.values()
    }


def counted_fates(counts: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, number_ in counts.items():
        before, moved, after = name.partition(">")
        if moved:
            found[before] -= number_
            found[after] += number_
        elif name not in ("read", "left") and not name.startswith("/"):
            found[name] += number_
    return +found


def totals(world: World) -> dict[str, int]:
    """What each meter counted and refused, as it is kept in Counts."""
    return {name: events for name, events in world.counts.items() if name.startswith("/")}


def stored_totals(world: World) -> Counter[str]:
    """The same from what is stored of each event."""
    found: Counter[str] = Counter()
    ids = {meter.slug: meter.meter_id for meter in world.meters}
    for row in world.rows.values():
        back = [] if row.backfill is None else row.backfill.meters
        live = row.meters[: len(row.meters) - len(back)]
        counted = [*(ids[slug] for slug in live), *back]
        for slug, meter_id in zip(row.meters, counted, strict=True):
            found[f"/meter/{slug}/{meter_id}/counted"] += 1
        for one in row.refused:
            found[f"/meter/{one.meter}/{one.meter_id}/refused/{one.reason}"] += 1
        assert row.backfill is None or len(row.backfill.rules) == len(row.backfill.meters)
    return found


@given(st.lists(ACTIONS, max_size=40))
@settings(max_examples=examples(400), deadline=None)
def test_counted_as_it_came_and_later_is_all(actions: list[tuple[str, Any]]) -> None:
    """For any split of the events, any delay of definitions and of the sink, any order of steps, torn or not."""
    world = World()
    for what, how in actions:
        act(world, what, how)
    world.finish()
    plain = recounted(world, world.meters)
    assert windows(world) == windows(plain)
    assert fates(world) == fates(plain)
    assert counted_fates(world.counts) == Counter(row.fate for row in world.rows.values())
    assert totals(world) == stored_totals(world) == totals(plain)
    newest: dict[tuple[int, int], Backfill] = {
        (one.meter_id, one.shard): one for work in world.work for one in work
    }
    assert {one.state for one in newest.values()} <= {"done"}
    assert all(one.read == one.events for one in newest.values())
    for table in world.tables:
        assert all(key[:1] == b"L" for key in table.rows), "only the locks stay"


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("sink"), st.tuples(st.integers(0, SHARDS), st.integers(1, 4))),
        st.tuples(st.just("step"), st.tuples(st.integers(0, SHARDS - 1), st.booleans(), st.integers(0, 4))),
    ),
    min_size=20,
    max_size=80,
)


@given(
    st.lists(st.sampled_from(KINDS), min_size=2, max_size=3),
    st.lists(EVENTS, min_size=12, max_size=20),
    MOVES,
)
@settings(max_examples=examples(300), deadline=None)
def test_meters_of_the_same_events_add_up_whatever_the_sink_lags(
    kinds: list[str], events: list[tuple[str, str, int, object, str]], moves: list[tuple[str, Any]]
) -> None:
    world = World()
    events = [("t", *one[1:]) for one in events]
    act(world, "receive", events[:6])
    world.sink(SHARDS, 4)
    for place, kind in enumerate(kinds):
        world.create(body(f"m{place}", kind))
        act(world, "receive", events[6 + 2 * place : 8 + 2 * place])
    act(world, "receive", events[6 + 2 * len(kinds) :] or events[:1])
    for what, how in moves:
        act(world, what, how)
    world.finish()
    plain = recounted(world, world.meters)
    assert windows(world) == windows(plain)
    assert fates(world) == fates(plain)
    assert counted_fates(world.counts) == Counter(row.fate for row in world.rows.values())
    assert totals(world) == stored_totals(world) == totals(plain)


def some(number_: int) -> list[tuple[str, str, int, object, str]]:
    return [("t", "abcdefgh"[place % 8], place * 20, place, "d") for place in range(number_)]


def settled_world(first: int) -> World:
    world = World()
    act(world, "receive", some(first))
    return world


@pytest.mark.parametrize("kind", KINDS)
def test_each_aggregation_over_the_cut(kind: str) -> None:
    world = settled_world(9)
    world.create(body("m", kind))
    act(world, "receive", some(9))  # no stage knows the meter yet
    world.known = world.revision
    act(world, "receive", some(9))
    world.finish()
    assert windows(world) == windows(recounted(world, world.meters))
    assert {key[1] for key in world.windows} == {0, 1}
    assert world.counts["unmetered>counted"] == 18


def test_a_meter_begins_when_what_the_one_before_changed_is_stored() -> None:
    world = settled_world(8)
    for slug in "mn":
        world.create(body(slug, "COUNT"))
    for _ in range(30):
        world.sink(SHARDS, 99)
        for shard in range(SHARDS):
            world.step(shard, False, lambda: None)
    newest = {(one.meter, one.shard): one.state for work in world.work for one in work}
    assert {state for (slug, _), state in newest.items() if slug == "m"} == {"landing"}
    assert {state for (slug, _), state in newest.items() if slug == "n"} == {"new"}
    world.finish()
    assert fates(world) == fates(recounted(world, world.meters))


def test_a_slug_that_is_recreated_counts_everything_again_and_stands_twice() -> None:
    world = World()
    first = world.create(body("m", "COUNT"))
    world.known = 1
    act(world, "receive", some(3))
    world.delete(first)
    second = world.create(body("m", "COUNT"))
    world.finish()
    assert {meters for _, meters, _ in ((f, tuple(m), r) for f, m, r in fates(world).values())} == {
        ("m", "m")
    }
    held = Counter({1: 0, 3: 0})
    for window in world.windows.values():
        held[window.meter_id] += window.count
    assert held == {first.meter_id: 3, second.meter_id: 3}


def test_a_deleted_meter_stops_and_lets_the_next_begin() -> None:
    world = settled_world(40)
    first = world.create(body("m", "COUNT"))
    second = world.create(body("n", "SUM"))
    for _ in range(4):
        world.sink(SHARDS, 99)
        for shard in range(SHARDS):
            world.step(shard, False, lambda: None)
    world.delete(first)
    world.finish()
    steps = {(one.meter, one.shard): one for work in world.work for one in work}
    assert {one.state for (slug, _), one in steps.items() if slug == "m"} == {"stopped"}
    assert sum(one.counted for (slug, _), one in steps.items() if slug == "n") == 40
    counted_by_first = sum(one.counted for (slug, _), one in steps.items() if slug == "m")
    assert 0 < counted_by_first < 40
    named = Counter(slug for _, meters, _ in fates(world).values() for slug in meters)
    assert named == {"m": counted_by_first, "n": 40}
    held = Counter[int]()
    for window in world.windows.values():
        held[window.meter_id] += window.count
    assert held == {first.meter_id: counted_by_first, second.meter_id: 40}


def seed(shard: int = 0, meter_id: int = 5) -> Backfill:
    members: dict[str, object] = {**body("m", "COUNT"), "meterId": meter_id}
    definition = Definition(meter_id, "meter", "default", "m", "", 1, members)
    return seeds(definition, 2)[shard]


@pytest.mark.parametrize(
    ("kind", "members", "revision"),
    [("meter", None, 5), ("meter", {**body("m", "COUNT"), "meterId": 4}, 5), ("key", {"a": 1}, 5)],
)
def test_only_a_new_meter_has_a_backfill(kind: str, members: dict[str, object] | None, revision: int) -> None:
    assert seeds(Definition(revision, kind, "default", "m", "", 1, members), 4) == []


def test_a_meter_that_is_not_known_here_yet_waits_without_a_mark() -> None:
    step = take(seed(), 0, DictTable(), BackfillInput(), 9)
    assert step is not None
    assert (step.marks, [one.state for one in step.following]) == ([], ["new"])


def test_a_second_record_of_a_torn_step_is_dropped() -> None:
    table = DictTable()
    first, again = (take(seed(), 7, table, BackfillInput(known=True), 9) for _ in range(2))
    assert first == again
    assert first is not None
    assert first.marks == [("events-unique", 0, b"meter/5/start")]
    assert take(seed(), 8, table, BackfillInput(known=True), 9) is None


def test_marks_name_the_revision_that_must_be_known() -> None:
    assert barrier_revision(start_barrier(17)) == barrier_revision(end_barrier(17, 3)) == 17


def test_a_page_takes_the_windows_of_the_page_before_with_it() -> None:
    """State holds the minutes at hand only, however long the backfill is."""
    table = DictTable()
    work = msgspec.structs.replace(seed(), state="copying")
    sizes = []
    for place in range(50):
        world = World()
        world.receive([event(place, "t", "a", place * 60, 1)])
        world.sink(SHARDS, 9)
        (row,) = world.rows.values()
        page = BackfillPage([stored_of(row)], (START_S + place * 60 + 60, "", 0, 0), 60, 50)
        step = take(work, place, table, BackfillInput(known=True, page=page), 0)
        table.commit()
        assert step is not None
        work = step.following[0]
        sizes.append(len(table.rows))
    assert max(sizes) <= 3
    assert (work.read, work.counted, work.events) == (50, 50, 50)


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([], "none"),
        (["new", "new"], "waiting"),
        (["waiting", "new"], "waiting"),
        (["copying", "waiting"], "copying"),
        (["landing", "waiting"], "copying"),
        (["landing", "done"], "landing"),
        (["done", "waiting"], "copying"),
        (["done", "done"], "done"),
        (["done", "stopped"], "stopped"),
    ],
)
def test_progress(states: list[Any], shown: str) -> None:
    steps = {
        f"5/{shard}": msgspec.structs.replace(seed(), shard=shard, state=state, events=3, read=2, counted=1)
        for shard, state in enumerate(states)
    }
    others = {"6/0": seed(meter_id=6)}
    found = progress(steps_of(steps | others, 5))
    number_ = len(states)
    assert found == (shown, 3 * number_, 2 * number_, number_)


def test_the_plain_recount_is_one_pass() -> None:
    """What the law compares with has no second part."""
    world = settled_world(5)
    meter = world.create(body("m", "SUM"))
    plain = recounted(world, [meter])
    outcome = aggregate(world.events, 0, MeterIndex([meter]), DictTable(), 0, 1)
    assert sum(window.count for window in plain.windows.values()) == sum(w.count for w in outcome.windows)
    assert {part for _, part in plain.windows} == {0}
