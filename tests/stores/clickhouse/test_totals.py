"""Counts for reconcile on each store: they add up, and a planted theft is named."""

from __future__ import annotations

from pipeline.core.metering.reconcile import MeterStored, PlaceStored, UniqueDifference, WindowDifference
from pipeline.core.metering.usage_query import instant_text
from pipeline.records import Settled
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import settled_columns
from pipeline.stores.clickhouse.totals import namespaces, stored
from tests.fixtures.counted_tenant import NS, Sent, Tenant, at, meter

NOON = at("2025-01-31T23:59:50+00:00")


def tenant(store: ClickHouse, namespace: str) -> Tenant:
    made = Tenant(store, namespace, [meter(namespace, "SUM", 1), meter(namespace, "UNIQUE_COUNT", 2)])
    good = [Sent(NOON + place * NS, {"value": place, "kind": str(place % 3)}, "acme") for place in range(20)]
    made.send([*good, Sent(NOON, {"value": None}, "acme"), Sent(NOON, {}, "acme", type="unknown")])
    return made


def test_what_is_whole_has_no_difference(store: ClickHouse, namespace: str) -> None:
    tenant(store, namespace)
    found = stored(store, namespace)
    assert found.fates == {"counted": 20, "invalid": 1, "unmetered": 1}
    refused = {"value-null": 1}
    assert found.meters == (
        MeterStored("sum", 1, 20, 20, 20, refused),
        MeterStored("unique_count", 2, 20, 20, 20, refused),
    )
    assert (found.windows, found.uniques) == ((), ())
    assert found.places == (PlaceStored("events", 0, 22),)
    assert namespace in namespaces(store)


def test_members_are_compared_with_their_windows(store: ClickHouse, namespace: str) -> None:
    tenant(store, namespace)
    unique = {2: "unique_count", 99: "without_rows"}
    assert stored(store, namespace, unique=unique).uniques == ()
    asked = {"namespace": namespace}
    subject, start, dimensions, value = store.query(WINDOW, asked)[0]
    row = {
        "subject": subject,
        "start": start,
        "dimensions": dimensions,
        "member": "00" * 16,
        "meter_id": 2,
        **asked,
    }
    store.insert("uniques", {name: [value] for name, value in row.items()})
    (difference,) = stored(store, namespace, unique=unique).uniques
    minute = instant_text(start * NS)
    assert difference == UniqueDifference("unique_count", subject, minute, value, value, value + 1)


def test_windows_without_their_members_are_named(store: ClickHouse, namespace: str) -> None:
    made = Tenant(store, namespace, [meter(namespace, "UNIQUE_COUNT", 2)])
    made.send([Sent(NOON, {"value": 1}, "acme")], members=False)
    (difference,) = stored(store, namespace, unique={2: "unique_count"}).uniques
    assert difference.members == 0


WINDOW = (
    "SELECT subject, toUInt32(start), dimensions, toUInt32(value) FROM windows FINAL"
    " WHERE namespace = {namespace:String} AND meter_id = 2 ORDER BY start, dimensions LIMIT 1"
)


def test_a_stolen_event_is_named(store: ClickHouse, namespace: str) -> None:
    made = tenant(store, namespace)
    stolen = made.event(Sent(NOON + NS, {"value": 1}, "acme"))
    store.insert("events", settled_columns([Settled(stolen, "counted", "", ["sum"], 100)], 1))
    found = stored(store, namespace)
    assert found.meters[0] == MeterStored("sum", 1, 21, 20, 20, {"value-null": 1})
    assert found.windows == (WindowDifference("sum", 1, "acme", "2025-01-31T23:59:00Z", 11, 10),)


def test_two_wrongs_do_not_make_a_right(store: ClickHouse, namespace: str) -> None:
    made = tenant(store, namespace)
    lost = made.event(Sent(NOON + 5 * NS, {"value": 5}, "acme"))
    lost.offset = 6  # it takes the place of a counted event
    moved = made.event(Sent(NOON + 15 * NS, {"value": 1}, "acme"))
    planted = [
        Settled(lost, "counted", "", ["sum"], 101),
        Settled(moved, "counted", "", ["unique_count"], 100),
    ]
    store.insert("events", settled_columns(planted, 1))
    found = stored(store, namespace)
    assert [(one.meter, one.events, one.windows) for one in found.meters] == [
        ("sum", 20, 20),
        ("unique_count", 20, 20),
    ]
    assert found.windows == (
        WindowDifference("unique_count", 2, "acme", "2025-01-31T23:59:00Z", 9, 10),
        WindowDifference("unique_count", 2, "acme", "2025-02-01T00:00:00Z", 11, 10),
    )


def test_a_namespace_without_rows(store: ClickHouse, namespace: str) -> None:
    found = stored(store, namespace)
    assert (dict(found.fates), found.meters, found.windows) == ({}, (), ())
