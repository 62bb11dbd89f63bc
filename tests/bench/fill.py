"""The rules of ingest, dedupe and aggregate in one process without a broker: CPU microseconds an event.

    PYTHONPATH=TREE python tests/bench/fill.py INPUT

Owns: a transaction and a table in memory. It imports nothing of the tests, and knows where an older tree has its
modules, so that the same file measures two trees (pairs.py). INPUT: a pickle of (meters, values, now_ms).
"""

from __future__ import annotations

import gc
import json
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

CHUNK = 500  # records
RUNS = 3  # other work of the machine only makes a run longer
PARTITION = 0
DAY_S = 86_400
HORIZON_S = 32 * DAY_S


def first_of(*names: str) -> ModuleType:
    """The first of these modules that the tree has."""
    for name in names[:-1]:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    return import_module(names[-1])


class Record:
    """One record of a chunk."""

    __slots__ = ("headers", "key", "offset", "timestamp", "value")

    def __init__(self, offset: int, value: bytes, now_ms: int) -> None:
        self.offset, self.value, self.timestamp = offset, value, now_ms
        self.key: bytes | None = None
        self.headers: tuple[tuple[str, bytes], ...] = ()


class MemoryTable:
    """The state as a dict. A sweep finds nothing to remove, because nothing is old."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.changes: dict[bytes, bytes | None] = {}

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.rows.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self.rows[key] = self.changes[key] = value

    def delete(self, key: bytes) -> None:
        self.rows.pop(key, None)
        self.changes[key] = None

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return []


class MemoryTransaction:
    """What agents use of a transaction."""

    def __init__(self, chunk: Any, table: MemoryTable) -> None:
        self.chunk, self.table = chunk, table
        self.counted_offset = -1
        self.sent: list[tuple[str, bytes | None]] = []
        self.events = 0

    def send(self, topic: str, value: bytes | None, **_: Any) -> None:
        self.sent.append((topic, value))

    def count(self, namespace: str, name: str, number: int = 1) -> None:
        pass

    def read(self, events: int) -> None:
        self.events += events

    def on_committed(self, callback: Callable[[], None]) -> None:
        pass


def timed(fill: Callable[[Any], None], topic: str, out: str, values: Sequence[bytes], now_ms: int) -> Any:
    """CPU microseconds of one stage over all values, how many events it read, and the values that it sent to `out`."""
    chunk_of, table = import_module("pipeline.engine.chunk").Chunk, MemoryTable()
    sent: list[bytes] = []
    used_ns = events = 0
    for first in range(0, len(values), CHUNK):
        part = values[first : first + CHUNK]
        records = [Record(first + place, value, now_ms) for place, value in enumerate(part)]
        table.changes = {}
        transaction = MemoryTransaction(
            chunk_of(topic, PARTITION, first, first + len(part), records, 1), table
        )
        began_ns = time.process_time_ns()
        fill(transaction)
        used_ns += time.process_time_ns() - began_ns
        events += transaction.events
        sent += [value for name, value in transaction.sent if name == out and value is not None]
    return used_ns / 1000, events, sent


def stages(meters: Sequence[dict[str, object]]) -> list[tuple[str, str, str, Callable[[Any], None]]]:
    """Name, input, output and rules of each stage."""
    agents = {name: import_module(f"pipeline.agents.{name}") for name in ("ingest", "dedupe", "aggregate")}
    limits = first_of("pipeline.core.metering.event", "pipeline.core.event").Limits()
    define = first_of("pipeline.core.metering.meter", "pipeline.core.meter").define
    index = first_of("pipeline.core.metering.extract", "pipeline.core.reading").MeterIndex(
        [define(meter, place) for place, meter in enumerate(meters, 1)]
    )
    sweep = agents["dedupe"].Sweep(2 * HORIZON_S * 1000)
    closing = agents["aggregate"].Closing(HORIZON_S)
    revision = len(meters)
    return [
        ("ingest", "events", "events-accepted", lambda to: agents["ingest"].fill(to, "default", 1, limits)),
        ("dedupe", "events-accepted", "events-unique",
         lambda to: agents["dedupe"].fill(to, 1, HORIZON_S * 1000, sweep)),
        ("aggregate", "events-unique", "usage",
         lambda to: agents["aggregate"].fill(to, lambda: (index, revision), closing)),
    ]  # fmt: skip


def run(meters: Sequence[dict[str, object]], values: Sequence[bytes], now_ms: int) -> dict[str, float]:
    """CPU microseconds an event of each stage; each reads what the one before it sent."""
    read, found = len(values), {}
    for name, topic, out, fill in stages(meters):
        used_us, events, values = timed(fill, topic, out, values, now_ms)
        if not events or not values:
            raise RuntimeError(f"{name} read {events} events and sent {len(values)} records")
        found[name] = used_us / read
    return found


def main() -> None:
    """Prints the least CPU microseconds an event of each stage in several runs, and of all of them, as JSON."""
    meters, values, now_ms = pickle.loads(Path(sys.argv[1]).read_bytes())
    stages(meters)
    gc.collect()
    gc.freeze()  # what the imports left is no part of the figures
    runs = [run(meters, values, now_ms) for _ in range(RUNS)]
    least = {name: min(found[name] for found in runs) for name in runs[0]}
    print(json.dumps({**least, "all": sum(least.values())}))


if __name__ == "__main__":
    main()
