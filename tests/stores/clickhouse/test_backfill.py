"""Pages of stored events on each store: every event once, in order, whatever their number, size and spread."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.metering.backfill import count, seeds
from pipeline.core.metering.meter import Meter
from pipeline.core.metering.usage_query import usage_query
from pipeline.records import Backfill, Backfilled, Definition, Event, Settled
from pipeline.stores.clickhouse.backfill import PAGE, PageSize, landed, page
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import mark_columns, settled_columns, unique_columns, window_columns
from pipeline.stores.clickhouse.totals import stored
from pipeline.stores.clickhouse.usage import usage
from tests.fixtures.counted_tenant import NS, Dict, Sent, Tenant, at, meter

# Collected here a second time, with the tenant of this module.
from tests.stores.clickhouse.test_usage import (
    AGGREGATIONS,
    EVENTS,
    test_every_answer_is_that_of_a_plain_recount,
)

__all__ = ["test_every_answer_is_that_of_a_plain_recount"]

START_S = 1_704_067_200
BODY: dict[str, object] = {"slug": "m", "eventType": "t", "aggregation": "COUNT"}
METER_ID = 50


def event(
    namespace: str, place: int, second: int = 0, size: int = 0, type: str = "t", subject: str = "a"
) -> Event:
    at_ns = (START_S + second) * 10**9 + place
    data = msgspec.Raw(b'{"p":"' + b"x" * size + b'"}')
    return Event(namespace, "s", str(place), type, subject, at_ns, 1, "events", place % 3, place, data)


def store_of(store: ClickHouse, settled: list[Settled]) -> None:
    store.insert("events", settled_columns(settled, 1))


def work(namespace: str, shard: int = 0, shards: int = 1, **more: Any) -> Backfill:
    members = {**BODY, "meterId": METER_ID, **more}
    definition = Definition(METER_ID, "meter", namespace, "m", "", 1, members)
    return msgspec.structs.replace(seeds(definition, shards)[shard], state="copying")


def walk(store: ClickHouse, step: Backfill, most: PageSize = PAGE) -> tuple[list[Event], list[int], int]:
    """All events in the order of their pages, the pages' sizes, and the total that the first page says."""
    events: list[Event] = []
    sizes = []
    total = 0
    while True:
        found = page(store, step, most)
        assert found == page(store, step, most), "a page is a function of its step"
        events += [one.event for one in found.events]
        sizes.append(len(found.events))
        total = total or found.total
        if found.cursor is None:
            return events, sizes, total
        assert found.total == total
        step = msgspec.structs.replace(step, cursor=found.cursor, span_s=found.span_s, events=total)


def test_nothing_stored_is_one_empty_page(store: ClickHouse, namespace: str) -> None:
    assert walk(store, work(namespace)) == ([], [0], 0)


def test_a_page_has_what_was_decided_before_the_meter(store: ClickHouse, namespace: str) -> None:
    kept = [
        Settled(event(namespace, 1), "unmetered", "", [], 3),
        Settled(event(namespace, 2), "invalid", "x: why", [], 49),
        Settled(event(namespace, 3), "counted", "", ["x"], 48, Backfilled(4, "invalid", [48])),
    ]
    left = [
        Settled(event(namespace, 4), "counted", "", ["m"], 50),
        Settled(event(namespace, 5), "rejected", "window-closed", [], 3),
        Settled(event(namespace, 6), "duplicate", "", [], 0),
        Settled(event(namespace, 7, type="u"), "unmetered", "", [], 3),
        Settled(event(namespace + "-other", 8), "unmetered", "", [], 3),
    ]
    store_of(store, [*kept, *left])
    found = page(store, work(namespace))
    assert [(one.event, one.fate, one.reason, one.meters, one.revision) for one in found.events] == [
        (event(namespace, 3), "counted", "", ["x"], 48),  # its partition is the first
        (event(namespace, 1), "unmetered", "", [], 3),
        (event(namespace, 2), "invalid", "x: why", [], 49),
    ]
    assert [(one.decided, one.before, one.backfilled) for one in found.events] == [
        (4, "invalid", [48]), (3, "", []), (49, "", []),
    ]  # fmt: skip
    assert found.total == 3


def test_what_the_backfill_itself_changed_is_still_of_its_page(store: ClickHouse, namespace: str) -> None:
    before = Settled(event(namespace, 1), "unmetered", "", [], 3)
    store_of(store, [before])
    store_of(store, [Settled(before.event, "counted", "", ["m"], 50, Backfilled(3, "unmetered", [50]))])
    (found,) = page(store, work(namespace)).events
    assert (found.fate, found.revision, found.decided, found.before) == ("counted", 50, 3, "unmetered")


def test_a_meter_has_a_beginning(store: ClickHouse, namespace: str) -> None:
    store_of(store, [Settled(event(namespace, s, s), "unmetered", "", [], 3) for s in range(0, 100, 10)])
    events, _, total = walk(store, work(namespace, eventFrom="2024-01-01T00:00:50Z"))
    assert total == len(events) == 5


def test_every_subject_is_in_one_shard(store: ClickHouse, namespace: str) -> None:
    made = [event(namespace, place, subject=f"s{place % 29}") for place in range(300)]
    store_of(store, [Settled(one, "unmetered", "", [], 3) for one in made])
    shards = [walk(store, work(namespace, shard, 4))[0] for shard in range(4)]
    assert sorted(one.offset for events in shards for one in events) == list(range(300))
    subjects = [{one.subject for one in events} for events in shards]
    assert sum(map(len, subjects)) == 29
    assert all(subjects)


SPREADS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 59, 3_600, 90_000, 5_000_000, 40_000_000]),
        st.sampled_from([0, 0, 10, 90, 300]),
    ),
    max_size=40,
)
_names = iter(range(10**9))


@given(SPREADS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_event_is_on_one_page(store: ClickHouse, spread: list[tuple[int, int]]) -> None:
    """Seconds between adjacent events, and sizes: crowded seconds, long silences, data larger than a page."""
    namespace, second, made = f"spread-{next(_names)}", 0, []
    for place, (gap, size) in enumerate(spread):
        second += gap
        made.append(event(namespace, place, second, size))
    store_of(store, [Settled(one, "unmetered", "", [], 3) for one in made])
    events, sizes, total = walk(store, work(namespace), PageSize(events=5, bytes=200))
    assert events == sorted(made, key=lambda one: (one.time_ns // 10**9, one.partition, one.offset))
    assert total == len(made)
    assert max(sizes) <= 5
    assert len(sizes) <= 2 * len(made) + 2


def test_marks_are_counted_by_partition(store: ClickHouse, namespace: str) -> None:
    mark = f"meter/{namespace}/start"
    rows = [
        (mark, "usage", 0),
        (mark, "usage", 1),
        (mark, "usage", 1),
        (mark, "events-settled", 1),
        ("other", "usage", 2),
    ]
    store.insert("marks", mark_columns(rows))
    assert landed(store, mark.encode()) == 3
    assert landed(store, b"meter/none/start") == 0


def backfilled(store: ClickHouse, made: Meter, shards: int = 1, most: PageSize = PAGE) -> None:
    """What the stage does, without topics: page after page, written as the sink does."""
    definition = Definition(
        made.meter_id, "meter", made.namespace, made.slug, "", 1, {**made.body(), "meterId": made.meter_id}
    )
    for shard in range(shards):
        step, table, position = seeds(definition, shards)[shard], Dict(), 0
        while True:
            found = page(store, step, most)
            step = msgspec.structs.replace(step, cursor=found.cursor, span_s=found.span_s, events=found.total)
            position += 1
            outcome = count(found.events, position, made, table)
            store.insert("events", settled_columns(outcome.settled, 1))
            store.insert("uniques", unique_columns(outcome.windows))
            store.insert("windows", window_columns(outcome.windows, 1))
            if found.cursor is None:
                break


@pytest.fixture(scope="module")
def tenant(store: ClickHouse) -> Tenant:
    """Half of the events were there before the meters."""
    tenant = Tenant(store, "usage-later", [], revision=5)
    tenant.send(EVENTS[::2])
    meters = [meter("usage-later", aggregation, place) for place, aggregation in enumerate(AGGREGATIONS, 7)]
    for made in meters:
        backfilled(store, made, shards=2, most=PageSize(events=50))
    tenant.meters, tenant.revision = meters, 100
    tenant.send(EVENTS[1::2])
    return tenant


def test_what_is_stored_adds_up(store: ClickHouse, tenant: Tenant) -> None:
    found = stored(store, tenant.namespace)
    assert found.windows == ()
    assert {(one.events, one.windows) for one in found.meters} == {(len(EVENTS), len(EVENTS))}
    assert found.fates == {"counted": len(EVENTS)}


def test_a_recreated_slug_counts_what_the_old_meter_counted_too(store: ClickHouse, namespace: str) -> None:
    noon = at("2025-01-01T12:00:10+00:00")
    old, new = (meter(namespace, "SUM", meter_id, slug="m") for meter_id in (5, 9))
    other = meter(namespace, "COUNT", 12, slug="n")
    tenant = Tenant(store, namespace, [old], revision=8)
    tenant.send([Sent(noon, {"value": 1}), Sent(noon, {"value": 2})])
    for made in (new, other):
        backfilled(store, made)
    tenant.meters, tenant.revision = [new, other], 12
    tenant.send([Sent(noon, {"value": 10})])
    for asked, total in ((new, "13"), (other, "3")):
        for from_ns in (None, noon - 9 * NS):  # from windows, and from events
            rows = usage(store, usage_query(asked, from_ns=from_ns, to_ns=noon + NS))
            assert [row["value"] for row in rows] == [total]
    assert [row["value"] for row in usage(store, usage_query(old))] == ["3"]
    found = stored(store, namespace)
    assert (found.windows, found.fates) == ((), {"counted": 3})
    assert {(one.meter, one.meter_id): (one.events, one.windows) for one in found.meters} == {
        ("m", 5): (2, 2),
        ("m", 9): (3, 3),
        ("n", 12): (3, 3),
    }
    assert [one.totalled for one in found.meters] == [2, 3, 3]
