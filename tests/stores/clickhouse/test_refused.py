"""Which events a meter counted and which it refused, on each store: by meter, by reason, of rows old and new."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.records import Refused, Settled
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.events import EventFilter, events
from pipeline.stores.clickhouse.refused import MeterName, RefusedFilter
from pipeline.stores.clickhouse.rows import settled_columns
from pipeline.stores.clickhouse.totals import stored
from tests.fixtures.counted_tenant import NS, Sent, Tenant, at, meter

NOON = at("2025-01-01T12:00:00+00:00")
BILL, CALLS = MeterName("bill", 3), MeterName("calls", 4)
AGAIN = MeterName("bill", 200)  # the slug, deleted and made again


@pytest.fixture
def tenant(store: ClickHouse, namespace: str) -> Tenant:
    """Offset 1: counted by both. 2, 3: refused by bill. 4: refused by both. 5: no meter matches it. 6, 7: old rows."""
    bill = meter(namespace, "SUM", 3, slug="bill")
    users = meter(namespace, "UNIQUE_COUNT", 4, slug="calls", valueProperty="$.user")
    made = Tenant(store, namespace, [bill, users], revision=100)
    data: list[Any] = [
        {"value": 1, "user": "a"},
        {"value": "1,200", "user": "a"},
        {"user": "a"},
        {"value": None, "user": None},
    ]
    made.send([Sent(NOON + place * NS, one) for place, one in enumerate(data)])
    made.send([Sent(NOON, {"value": 1}, type="unknown")])
    old = [made.event(Sent(NOON, {"value": "x"})) for _ in range(2)]
    rows = [
        Settled(old[0], "counted", "bill: value cannot be parsed as a number: x", ["calls"], 100),
        Settled(old[1], "invalid", "calls: why; bill: value cannot be null", [], 100),
    ]
    store.insert("events", settled_columns(rows, 1))
    return made


@pytest.mark.parametrize(
    ("asked", "offsets"),
    [
        ({"counted_by": [BILL]}, [1]),
        ({"counted_by": [CALLS]}, [1, 2, 3, 6]),
        ({"counted_by": [BILL, CALLS]}, [1, 2, 3, 6]),
        ({"counted_by": [AGAIN]}, []),
        ({"counted_by": [MeterName("bil", 3)]}, []),
        ({"refused": RefusedFilter()}, [2, 3, 4, 6, 7]),
        ({"refused": RefusedFilter(False)}, [1, 5]),
        ({"refused": RefusedFilter(True, [BILL])}, [2, 3, 4, 6, 7]),
        ({"refused": RefusedFilter(True, [CALLS])}, [4, 7]),
        ({"refused": RefusedFilter(False, [CALLS])}, [1, 2, 3, 5, 6]),
        ({"refused": RefusedFilter(True, [CALLS, BILL])}, [2, 3, 4, 6, 7]),
        ({"refused": RefusedFilter(True, [AGAIN])}, []),
        ({"refused": RefusedFilter(True, [MeterName("ill", 2)])}, []),
        ({"refused": RefusedFilter(True, [MeterName("value cannot be", 2)])}, []),
        ({"refused": RefusedFilter(True, None, ["value-null"])}, [4]),
        ({"refused": RefusedFilter(True, None, ["value-null", "value-missing"])}, [3, 4]),
        ({"refused": RefusedFilter(True, [BILL], ["value-missing"])}, [3]),
        ({"refused": RefusedFilter(True, [CALLS], ["value-missing"])}, []),
        ({"counted_by": [CALLS], "refused": RefusedFilter(True, [BILL])}, [2, 3, 6]),
    ],
)  # fmt: skip
def test_events_by_meter(
    store: ClickHouse, tenant: Tenant, asked: dict[str, Any], offsets: list[int]
) -> None:
    found = events(store, EventFilter(tenant.namespace, **asked))
    assert sorted(one.offset for one in found) == offsets


def test_the_stored_refusals_are_the_meters(store: ClickHouse, tenant: Tenant) -> None:
    rows = {one.offset: one for one in events(store, EventFilter(tenant.namespace))}
    assert rows[2].refused == [
        Refused(3, "bill", "value-not-a-number", "value cannot be parsed as a number: 1,200")
    ]
    assert [(one.meter, one.reason) for one in rows[4].refused] == [
        ("bill", "value-null"),
        ("calls", "value-null"),
    ]
    assert [(one.slug, one.meter_id) for one in rows[1].counted_by] == [("bill", None), ("calls", None)]
    held = {one.meter: one.refused for one in stored(store, tenant.namespace).meters}
    assert held == {
        "bill": {"value-not-a-number": 1, "value-missing": 1, "value-null": 1},
        "calls": {"value-null": 1},
    }


def test_a_slug_made_again_has_neither_the_events_nor_the_reasons_of_the_old_meter(
    store: ClickHouse, tenant: Tenant
) -> None:
    tenant.meters, tenant.revision = [meter(tenant.namespace, "SUM", 200, slug="bill")], 201
    tenant.send([Sent(NOON, {"value": 5}), Sent(NOON, {"value": True})])
    for asked, offsets in (
        ({"counted_by": [AGAIN]}, [8]),
        ({"counted_by": [BILL]}, [1, 8]),  # a deleted meter cannot be queried
        ({"refused": RefusedFilter(True, [AGAIN])}, [9]),
    ):
        found = events(store, EventFilter(tenant.namespace, **asked))  # type: ignore[arg-type]
        assert sorted(one.offset for one in found) == offsets
    found = {(one.meter, one.meter_id): one for one in stored(store, tenant.namespace).meters}
    assert {name: (one.events, one.windows, sum(one.refused.values())) for name, one in found.items()} == {
        ("bill", 3): (1, 1, 3),
        ("bill", 200): (1, 1, 1),
        ("calls", 4): (4, 3, 1),  # one of them is a row without a window
    }
