"""Aggregation against a plain recount, in any order, any split into records, and with replays."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.metering import window_state
from pipeline.core.metering.aggregate import FULL, Aggregated
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import AGGREGATIONS
from pipeline.core.metering.refusal import REASONS
from pipeline.core.values import number
from pipeline.records import Event, Settled, Window
from tests.fixtures.examples import examples
from tests.fixtures.metered_events import EVERY, MINUTE_NS, START_NS, SUMMED, Memory, event, meter, run

# Laws, on small worlds where windows, members and refusals meet often.

ROWS = st.tuples(
    st.sampled_from(["a", "a", "b"]),
    st.sampled_from(["x", "x", None]),
    st.one_of(st.integers(-3, 3), st.sampled_from(["0.1", "1e-18", "NaN", None, "z", True, 10**17])),
    st.sampled_from([1, 1, 1, 2, 0]),  # minute
    st.integers(0, 3),  # nanosecond
    st.sampled_from(["t", "t", "t", "other"]),
    st.integers(0, 3),  # millisecond of arrival
)
EVENTS = st.one_of(st.lists(ROWS, max_size=8), st.lists(ROWS, min_size=15, max_size=40)).map(
    lambda rows: [
        event(
            {"v": v, "d": d},
            place,
            START_NS + minute * MINUTE_NS + ns,
            subject=s,
            type=kind,
            received_at_ms=1_704_067_200_000 + at,
        )
        for place, (s, d, v, minute, ns, kind, at) in enumerate(rows)
    ]
)
CLOSED_S = 1_704_067_260
Key = tuple[str, str, str, int]


def recount(events: list[Event]) -> dict[Key, tuple[Fraction, int]]:
    """Value and count of each window, by plain fractions over all events at once."""
    taken: dict[Key, list[tuple[Any, Any]]] = {}
    for each in events:
        data = json.loads(bytes(each.data))
        start_s = each.time_ns // MINUTE_NS * 60
        if each.type != "t" or start_s < CLOSED_S:
            continue
        for aggregation in AGGREGATIONS:
            value = data["v"]
            if value is None and aggregation != "COUNT":
                continue
            if aggregation not in ("COUNT", "UNIQUE_COUNT"):
                if value in ("NaN", "z") or value is True:
                    continue
                value = Fraction(value)
            key = (aggregation, each.subject, data["d"] or "", start_s)
            arrival = (each.time_ns, each.received_at_ms, each.partition, each.offset)
            taken.setdefault(key, []).append((arrival, value))
    return {key: (fold(key[0], rows), len(rows)) for key, rows in taken.items()}


def fold(aggregation: str, rows: list[tuple[Any, Any]]) -> Fraction:
    values = [value for _, value in rows]
    if aggregation in ("SUM", "AVG"):
        return sum(values, Fraction(0))
    if aggregation == "COUNT":
        return Fraction(len(values))
    if aggregation == "UNIQUE_COUNT":
        return Fraction(len({value if isinstance(value, str) else json.dumps(value) for value in values}))
    if aggregation == "LATEST":
        return Fraction(max(rows)[1])
    return min(values) if aggregation == "MIN" else max(values)


def final(windows: list[Window]) -> dict[Key, tuple[Fraction, int]]:
    return {
        (window.meter.upper(), window.subject, window.dimensions["d"], window.start_s): (
            Fraction(window.value),
            window.count,
        )
        for window in windows
    }


def split(events: list[Event], cuts: list[int]) -> list[list[Event]]:
    edges = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    return [events[start:end] for start, end in itertools.pairwise(edges)]


def feed(records: list[list[Event]], table: Memory, index: MeterIndex = EVERY) -> list[Aggregated]:
    return [run(record, index, table, position, CLOSED_S) for position, record in enumerate(records)]


@given(EVENTS, st.lists(st.integers(0, 30), max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=examples(200), deadline=None)
def test_any_order_and_any_split_equal_the_recount(events: list[Event], cuts: list[int], random: Any) -> None:
    expected = recount(events)
    shuffled = list(events)
    random.shuffle(shuffled)
    table = Memory()
    outcomes = feed(split(shuffled, cuts), table)
    windows = [window for outcome in outcomes for window in outcome.windows]
    assert final(windows) == expected
    whole = Memory()
    feed([events], whole)
    assert contents(table) == contents(whole)
    newest = {(w.meter, w.subject, w.start_s, *w.dimensions.values()): w.received_at_ms for w in windows}
    again = {
        (w.meter, w.subject, w.start_s, *w.dimensions.values()): w.received_at_ms
        for w in run(events, EVERY, closed=CLOSED_S).windows
    }
    assert newest == again


def contents(table: Memory) -> dict[bytes, object]:
    """State without what depends on the split: the position and the last change."""
    found: dict[bytes, object] = {}
    for key, value in table.items():
        if key[4:5] == b"m":
            found[key] = None
        else:
            state = window_state.decode_state(value)
            found[key] = (state.received_at_ms, state.count, state.value, state.order)
    return found


@given(EVENTS, st.lists(st.integers(0, 30), max_size=4))
@settings(deadline=None)
def test_changes_add_up_and_members_are_a_union(events: list[Event], cuts: list[int]) -> None:
    windows = [window for outcome in feed(split(events, cuts), Memory()) for window in outcome.windows]
    totals: Counter[Key] = Counter()
    members: dict[Key, list[str]] = {}
    for window in windows:
        key = (window.meter.upper(), window.subject, window.dimensions["d"], window.start_s)
        totals[key] += number.exact(window.change)
        members.setdefault(key, []).extend(window.members)
    for key, (value, _) in final(windows).items():
        assert Fraction(totals[key], number.SCALE) == value
        if key[0] == "UNIQUE_COUNT":
            assert len(members[key]) == len(set(members[key])) == value


@given(EVENTS, st.lists(st.integers(0, 30), max_size=4), st.sampled_from([EVERY, MeterIndex([meter("SUM")])]))
@settings(deadline=None)
def test_every_event_has_exactly_one_fate(events: list[Event], cuts: list[int], index: MeterIndex) -> None:
    for record, outcome in zip(split(events, cuts), feed(split(events, cuts), Memory(), index), strict=True):
        assert [settled.event for settled in outcome.settled] == record
        fates = Counter(outcome_name(settled) for settled in outcome.settled)
        totals = Counter(name for settled in outcome.settled for name in total_names(settled, index))
        assert outcome.counts == ({"default": {"read": len(record), **fates, **totals}} if record else {})


def total_names(settled: Settled, index: MeterIndex) -> Iterator[str]:
    """The names in Counts of what meters made of an event."""
    plan = index.get("default", "t")
    assert plan is not None
    ids = {reader.slug: reader.meter.meter_id for reader in plan.readers}
    for slug in settled.meters:
        yield f"/meter/{slug}/{ids[slug]}/counted"
    for one in settled.refused:
        assert one.meter not in settled.meters and ids[one.meter] == one.meter_id
        assert one.reason in REASONS
        yield f"/meter/{one.meter}/{one.meter_id}/refused/{one.reason}"


def outcome_name(settled: Settled) -> str:
    return f"rejected:{settled.reason}" if settled.fate == "rejected" else settled.fate


@given(EVENTS, st.lists(st.integers(0, 30), max_size=4), st.integers(0, 4))
@settings(deadline=None)
def test_a_replay_changes_nothing_and_emits_the_same(
    events: list[Event], cuts: list[int], again: int
) -> None:
    table = Memory()
    records = split(events, cuts)
    outcomes = feed(records, table)
    before = dict(table)
    last = len(records) - 1
    assert run(records[last], EVERY, table, last, CLOSED_S) == outcomes[last]
    assert table == before
    earlier = again % len(records)
    replayed = run(records[earlier], EVERY, table, earlier, CLOSED_S)
    assert replayed.settled == outcomes[earlier].settled
    assert table == before
    newest = {key: value for outcome in outcomes for key, value in final(outcome.windows).items()}
    assert final(replayed.windows).items() <= newest.items()


@given(EVENTS, st.lists(st.integers(0, 30), max_size=3), st.data())
@settings(deadline=None)
def test_a_torn_write_is_healed_by_the_replay(
    events: list[Event], cuts: list[int], data: st.DataObject
) -> None:
    records = split(events, cuts)
    table = Memory()
    outcomes = feed(records[:-1], table)
    before = Memory(table)
    outcomes += feed_one(records, table)
    written = [key for key, value in table.items() if before.get(key) != value]
    torn = Memory(table)
    for key in data.draw(st.sets(st.sampled_from(sorted(written)))) if written else ():
        if key in before:
            torn[key] = before[key]
        else:
            del torn[key]
    assert feed_one(records, torn) == outcomes[-1:]
    assert torn == table


def feed_one(records: list[list[Event]], table: Memory) -> list[Aggregated]:
    return [run(records[-1], EVERY, table, len(records) - 1, CLOSED_S)]


# Laws where totals meet their limit: windows that are nearly full, and values that fill them or make room.

NEARLY_FULL = Memory()
for sign, of_subject in (("", "a"), ("-", "b")):
    run([event({"v": f"{sign}{'9' * 18}"}, subject=of_subject)] * 99, SUMMED, NEARLY_FULL, len(NEARLY_FULL))
AT_THE_LIMIT = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "a", "b"]),
            st.sampled_from(
                [10**18 - 1, 10**18 - 1, 1 - 10**18, 5 * 10**17, 100, 99, "0.000000000000000001"]
            ),
        ),
        max_size=6,
    ),
    min_size=1,
    max_size=5,
).map(
    lambda records: [
        [event({"v": v}, place, subject=subject) for place, (subject, v) in enumerate(record)]
        for record in records
    ]
)
FIRST = 100  # position of the first record after those of NEARLY_FULL


def fill(records: list[list[Event]], table: Memory) -> list[Aggregated]:
    return [run(record, SUMMED, table, position) for position, record in enumerate(records, FIRST)]


def taken(records: list[list[Event]]) -> tuple[list[list[bool]], dict[str, tuple[int, int]]]:
    """Whether a sum takes each event, and total and count of each subject, by plain numbers."""
    held = {"a": (99 * (10**18 - 1) * 10**18, 99), "b": (-99 * (10**18 - 1) * 10**18, 99)}
    verdicts = []
    for record in records:
        values = [int(Fraction(json.loads(bytes(each.data))["v"]) * 10**18) for each in record]
        whole = {
            subject: held[subject][0]
            + sum(value for each, value in zip(record, values, strict=True) if each.subject == subject)
            for subject in held
        }
        row = []
        for each, value in zip(record, values, strict=True):
            total, count = held[each.subject]
            row.append(abs(whole[each.subject]) < 10**38 or abs(total + value) < 10**38)
            if row[-1]:
                held[each.subject] = total + value, count + 1
        verdicts.append(row)
    return verdicts, held


@given(AT_THE_LIMIT)
@settings(max_examples=examples(200), deadline=None)
def test_what_is_counted_is_what_the_windows_hold(records: list[list[Event]]) -> None:
    table = Memory(NEARLY_FULL)
    outcomes = fill(records, table)
    verdicts, held = taken(records)
    for record, row, outcome in zip(records, verdicts, outcomes, strict=True):
        assert [settled.event for settled in outcome.settled] == record
        assert [settled.meters for settled in outcome.settled] == [
            ["avg", "count", "sum"] if fits else ["count"] for fits in row
        ]
        assert [settled.reason for settled in outcome.settled] == [
            "" if fits else f"avg: {FULL.detail}; sum: {FULL.detail}" for fits in row
        ]
    for subject, (total, count) in held.items():
        (last,) = run(
            [event({"v": 0}, subject=subject)], MeterIndex([meter("SUM", "sum", 2)]), table, 999
        ).windows
        assert (number.exact(last.value), last.count) == (total, count + 1)
    windows = [window for outcome in outcomes for window in outcome.windows if window.meter == "sum"]
    changes = sum(number.exact(window.change) for window in windows)
    assert changes == held["a"][0] + held["b"][0]
    assert all(number.fits(number.exact(window.value)) for window in windows)


@given(AT_THE_LIMIT, st.integers(0, 4))
@settings(max_examples=examples(200), deadline=None)
def test_a_replay_refuses_the_same_at_the_limit(records: list[list[Event]], again: int) -> None:
    table = Memory(NEARLY_FULL)
    outcomes = fill(records, table)
    before = dict(table)
    place = again % len(records)
    replayed = run(records[place], SUMMED, table, FIRST + place)
    assert replayed.settled == outcomes[place].settled
    assert replayed.counts == outcomes[place].counts
    assert [(w.meter, w.subject) for w in replayed.windows] == [
        (w.meter, w.subject) for w in outcomes[place].windows
    ]
    assert run(records[-1], SUMMED, table, FIRST + len(records) - 1) == outcomes[-1]
    assert table == before
