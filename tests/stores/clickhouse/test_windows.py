"""Windows read back from each store are those that were written, whatever the size of a page."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.metering.aggregate import aggregate
from pipeline.core.metering.extract import MeterIndex
from pipeline.records import Window
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.windows import PAGE_ROWS, stored_windows
from tests.fixtures.counted_tenant import Tenant, meter
from tests.stores.clickhouse.test_usage import EVENTS, FROM, NS, TO

AGGREGATIONS = ["SUM", "COUNT", "UNIQUE_COUNT", "LATEST", "MIN"]


@pytest.fixture(scope="module")
def tenant(store: ClickHouse) -> Tenant:
    found = [meter("kept", aggregation, place) for place, aggregation in enumerate(AGGREGATIONS, 7)]
    tenant = Tenant(store, "kept", found)
    tenant.send(EVENTS)
    return tenant


def read(
    tenant: Tenant, meter_id: int, subjects: list[str], from_s: int, to_s: int, page_rows: int = PAGE_ROWS
) -> list[Window]:
    pages = stored_windows(tenant.store, "kept", meter_id, subjects, from_s, to_s, page_rows)
    return [window for page in pages for window in page]


@pytest.mark.parametrize("rows", [1, 7, 100_000])
def test_pages_of_any_size_hold_every_window_once(tenant: Tenant, rows: int) -> None:
    subjects, from_s, to_s = ["acme", "it's"], FROM // NS + 86_400, TO // NS - 86_400
    if rows == 1:
        to_s = from_s + 86_400
    whole = read(tenant, 7, subjects, from_s, to_s)
    assert read(tenant, 7, subjects, from_s, to_s, rows) == whole
    assert {window.subject for window in whole} == set(subjects)
    assert all(from_s <= window.start_s < to_s for window in whole)
    sent = [e for e in EVENTS if e.subject in subjects and from_s <= e.time_ns // NS // 60 * 60 < to_s]
    assert sum(window.count for window in whole) == len(sent) > 0


@pytest.mark.parametrize("place", range(len(AGGREGATIONS)), ids=AGGREGATIONS)
def test_a_window_is_as_it_was_counted(tenant: Tenant, place: int) -> None:
    found = read(tenant, 7 + place, ["b/c"], FROM // NS - 86_400, TO // NS + 86_400)
    events = [event for event in EVENTS if event.subject == "b/c"]
    fresh = Tenant(tenant.store, "unread", [meter("unread", AGGREGATIONS[place], 7 + place)])
    made: dict[tuple[int, str], Window] = {}
    members: dict[tuple[int, str], set[str]] = {}
    for number, event in enumerate(events):
        outcome = aggregate([fresh.event(event)], number, MeterIndex(fresh.meters), fresh.table, 0, 1)
        for window in outcome.windows:
            key = (window.start_s, msgspec.json.encode(window.dimensions).decode())
            made[key] = window
            members.setdefault(key, set()).update(window.members)
    assert len(found) == len(made)
    for window in found:
        key = (window.start_s, msgspec.json.encode(window.dimensions).decode())
        assert (window.value, window.count, window.change) == (made[key].value, made[key].count, window.value)
        assert set(window.members) == members[key]
        assert bool(window.order) == (AGGREGATIONS[place] == "LATEST")
