"""A tenant with meters and events: counted by the core, written as the sink does, and recounted plainly.

The recount uses Python's Fraction and datetime only: nothing of what it is compared with.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Raw

from pipeline.core.metering.aggregate import aggregate
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import Meter, define
from pipeline.records import Event
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import settled_columns, unique_columns, window_columns

NS = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Dict:
    """A table in memory."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.values.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        self.values.pop(key, None)


def meter(namespace: str, aggregation: str, meter_id: int = 7, slug: str = "", **others: Any) -> Meter:
    body: dict[str, Any] = {
        "slug": slug or aggregation.lower(),
        "eventType": "t",
        "aggregation": aggregation,
        "groupBy": {"kind": "$.kind", "region": "$.region"},
    }
    if aggregation != "COUNT":
        body["valueProperty"] = "$.value"
    return define(body | others, meter_id, namespace)


@dataclass
class Sent:
    """One event. time_ns: since 1970."""

    time_ns: int
    data: dict[str, Any] | None
    subject: str = "s"
    type: str = "t"


def at(text: str) -> int:
    """ns since 1970 of an ISO time."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1) * 1000


class Tenant:
    """Counts what it is given, in records of a few events, and writes each record's rows as the sink does."""

    def __init__(
        self, store: ClickHouse, namespace: str, meters: Sequence[Meter], revision: int = 100
    ) -> None:
        self.store, self.namespace, self.meters, self.revision = store, namespace, list(meters), revision
        self.table = Dict()
        self.offset = 0

    def send(self, events: Sequence[Sent], each: int = 40) -> None:
        index = MeterIndex(self.meters)
        for first in range(0, len(events), each):
            made = [self._event(sent) for sent in events[first : first + each]]
            outcome = aggregate(made, self.offset, index, self.table, 0, self.revision)
            for _ in range(1 + (first == 0)):  # the first record twice, as after a replay
                self.store.insert("events", settled_columns(outcome.settled, 1))
                self.store.insert("uniques", unique_columns(outcome.windows))
                self.store.insert("windows", window_columns(outcome.windows, 1))

    def _event(self, sent: Sent) -> Event:
        self.offset += 1
        data = Raw(json.dumps(sent.data).encode())
        return Event(
            self.namespace,
            "src",
            f"id{self.offset}",
            sent.type,
            sent.subject,
            sent.time_ns,
            1_800_000_000_000 + self.offset,
            "events",
            0,
            self.offset,
            data,
        )


def recount(
    aggregation: str,
    events: Sequence[Sent],
    *,
    from_ns: int | None,
    to_ns: int | None,
    window: str | None,
    tz: str,
    keep: Callable[[Sent], bool],
    group: Callable[[Sent], tuple[str, ...]],
) -> dict[tuple[Any, ...], tuple[Fraction, int]]:
    """(start or None, *group) -> (value, events)."""
    groups: dict[tuple[Any, ...], list[tuple[int, int, Any]]] = defaultdict(list)
    for place, sent in enumerate(events):
        if (
            (from_ns is None or sent.time_ns >= from_ns)
            and (to_ns is None or sent.time_ns < to_ns)
            and keep(sent)
        ):
            value = (sent.data or {}).get("value")
            groups[(_start(sent.time_ns, window, tz), *group(sent))].append((sent.time_ns, place, value))
    return {key: (_value(aggregation, found), len(found)) for key, found in groups.items()}


def _start(time_ns: int, window: str | None, tz: str) -> datetime | None:
    if window is None:
        return None
    local = (EPOCH + timedelta(seconds=time_ns // NS)).astimezone(ZoneInfo(tz)).replace(second=0)
    if window == "MINUTE":
        return local.astimezone(UTC)
    if window == "HOUR":  # the label of the local hour, on the same side of a change of the clock
        return local.replace(minute=0).astimezone(UTC)
    local = local.replace(hour=0, minute=0, fold=0)
    return (local.replace(day=1) if window == "MONTH" else local).astimezone(UTC)


def _value(aggregation: str, found: list[tuple[int, int, Any]]) -> Fraction:
    if aggregation == "COUNT":
        return Fraction(len(found))
    if aggregation == "UNIQUE_COUNT":
        return Fraction(len({str(value) for _, _, value in found}))
    numbers = [Fraction(str(value)) for _, _, value in found]
    if aggregation == "LATEST":
        return Fraction(str(max(found, key=lambda one: one[:2])[2]))
    return {"SUM": sum, "AVG": lambda n: sum(n) / len(n), "MIN": min, "MAX": max}[aggregation](numbers)
