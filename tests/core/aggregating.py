"""What tests of aggregation share: meters, events, a table in memory.

Owns: these. Does not own: any expectation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.core.metering.aggregate import Outcome, aggregate
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.meter import AGGREGATIONS, Meter, define
from pipeline.records import Event, Window

MINUTE_NS = 60_000_000_000
START_NS = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z


class Memory(dict[bytes, bytes]):
    """A table that counts how often it is asked."""

    reads = 0

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        self.reads += 1
        assert len(set(keys)) == len(keys)
        return [self.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self[key] = value

    def delete(self, key: bytes) -> None:
        del self[key]


def meter(aggregation: str, slug: str = "m", meter_id: int = 1, **members: Any) -> Meter:
    value = {} if aggregation == "COUNT" else {"valueProperty": "$.v"}
    return define({"slug": slug, "eventType": "t", "aggregation": aggregation, **value, **members}, meter_id)


EVERY = MeterIndex(
    meter(aggregation, aggregation.lower(), place, groupBy={"d": "$.d"})
    for place, aggregation in enumerate(AGGREGATIONS)
)


SUMMED = MeterIndex(
    meter(aggregation, aggregation.lower(), place)
    for place, aggregation in enumerate(("AVG", "COUNT", "SUM"))
)


def event(data: object, offset: int = 0, time_ns: int = START_NS, **members: Any) -> Event:
    raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
    given = {
        "namespace": "default", "source": "s", "id": str(offset), "type": "t", "subject": "a",
        "time_ns": time_ns, "received_at_ms": 1_704_067_200_500,
        "input_topic": "events", "partition": 0, "offset": offset,
    }  # fmt: skip
    return Event(**{**given, **members}, data=msgspec.Raw(raw))


def run(
    events: Sequence[Event],
    index: MeterIndex,
    table: Memory | None = None,
    position: int = 0,
    closed: int = 0,
) -> Outcome:
    return aggregate(events, position, index, Memory() if table is None else table, closed, 5)


def one(events: Sequence[Event], of: Meter) -> Window:
    (window,) = run(events, MeterIndex([of])).windows
    return window
