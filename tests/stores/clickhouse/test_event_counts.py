"""Each event of a subject is counted once, from an instant on, on each store."""

from __future__ import annotations

from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.event_counts import events_by_subject
from tests.fixtures.counted_tenant import NS, Sent, Tenant, at, meter

NOON = at("2025-01-31T12:00:00+00:00")


def test_events_of_each_subject_from_an_instant_on(store: ClickHouse, namespace: str) -> None:
    made = Tenant(store, namespace, [meter(namespace, "SUM", 1)])
    made.send([
        *(Sent(NOON + place * NS, {"value": 1}, subject) for place, subject in enumerate(["b", "a", "b"])),
        Sent(NOON, {}, "a", type="unknown"),  # no meter matches it
        Sent(NOON, {"value": None}, "c"),  # it is not valid
        Sent(NOON - NS, {"value": 1}, "a"),
    ])  # fmt: skip
    assert events_by_subject(store, namespace, NOON // NS) == [("a", 2), ("b", 2)]
    assert events_by_subject(store, namespace, NOON // NS - 1) == [("a", 3), ("b", 2)]
    assert events_by_subject(store, "other", 0) == []
