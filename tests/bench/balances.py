"""What ALERT costs for each balance that moves: `python -m tests.bench.balances`.

    python -m tests.bench.balances --profile
    python -m tests.bench.balances --against main --rounds 5

One process without a broker: definitions by real commands, records of `customer-usage` as attribute publishes them, the
agent's `fill` on a table in memory, or on RocksDB with `--rocksdb`. A balance moves with each record that has usage of
its account, so a chunk of four records moves it four times. Figures are CPU microseconds. Does not own: the cost of the
transaction, which the engine has for every stage.
With `--against` an earlier commit is measured by this same file, in processes that alternate.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from pipeline.agents import alert
from pipeline.agents.alert import Known, Timers
from pipeline.agents.clock import KEY, Agenda
from pipeline.core.definitions.changes import Changes
from pipeline.engine.chunk import Chunk
from pipeline.engine.table import Overlay, Restored, Table
from pipeline.records import CustomerWindow, Window
from pipeline.worker.process import COLLECT_AFTER
from tests.bench.pairs import tree_of
from tests.fixtures.alert_desk import AT_S, ENDPOINT, METER, watch
from tests.fixtures.control_log import Log
from tests.fixtures.fake_transaction import FakeRecord

MINUTE_S = 60
SHAPES = (1, 4)  # records a chunk
EVENTS = 3  # of a window and record


class Figures(NamedTuple):
    """CPU microseconds, by what they are divided by."""

    moved: float
    published: float
    window: float


class Wanted(NamedTuple):
    """What is measured."""

    customers: int
    features: int
    records: int  # of each shape
    rocksdb: bool


class MemoryTable:
    """The state as a dict that scans find sorted."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return list(map(self.rows.get, keys))

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return []

    def write(self, items: Any, _: Restored) -> None:
        for key, value in items:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


class Working:
    """What the agent uses of a transaction."""

    def __init__(self, chunk: Chunk, table: Any) -> None:
        self.chunk, self.table = chunk, Overlay(table)
        self.counted_offset = -1
        self.sent: dict[str, int] = {}

    def send(self, topic: str, value: bytes | None, **_: Any) -> None:
        self.sent[topic] = self.sent.get(topic, 0) + 1

    def count(self, namespace: str, name: str, number: int = 1) -> None:
        pass

    def read(self, events: int) -> None:
        pass


def definitions(wanted: Wanted) -> tuple[Known, dict[str, str]]:
    """A meter, features of it, customers who have all of them, two rules; the customers' ids by name."""
    log, rng = Log(), Random(1)
    log.do("meter.apply", METER)
    endpoint = log.do("endpoint.create", ENDPOINT)["id"]
    log.do("rule.create", watch(endpoint, 25, 50, 100, kind="usage_percentage"))
    log.do("rule.create", watch(endpoint, 0, kind="balance_value"))
    names = [f"feature{number}" for number in range(wanted.features)]
    for name in names:
        log.do("feature.create", {"key": name, "name": name, "meterSlug": METER["slug"]})
    ids = {}
    for number in range(wanted.customers):
        key = f"customer{number}"
        subjects = {"subjectKeys": [f"{key}/a", f"{key}/b"]}
        made = log.do("customer.create", {"key": key, "name": key, "usageAttribution": subjects})
        ids[key] = str(made["id"])
        for name in names:
            entitlement = {
                "customerId": key, "featureKey": name, "type": "metered", "usagePeriod": {"interval": "MONTH"},
                "issueAfterReset": rng.randint(4, 120) * wanted.records,  # one record in a hundred fires
            }  # fmt: skip
            log.do("entitlement.create", entitlement)
    known = Known(Agenda(), 1)
    known.agenda.own([0])
    known.update(Changes(dict(log.state)))
    return known, ids


def usage(ids: dict[str, str]) -> Iterator[tuple[int, bytes]]:
    """Records (time in ms, value), each with a window of every customer. A second passes with each."""
    totals: dict[tuple[str, int], int] = {}
    number = 0
    while True:
        at_s, found = AT_S + number, []
        start_s = at_s // MINUTE_S * MINUTE_S
        for key, id in ids.items():
            subject = f"{key}/{'ab'[number % 2]}"
            total = totals[subject, start_s] = totals.get((subject, start_s), 0) + EVENTS
            events = [("/bench", f"{subject}-{number}-{place}", "1") for place in range(EVENTS)]
            window = Window(
                "default", METER["slug"], 1, subject, {"model": "large-2"}, start_s, str(total), total,
                str(EVENTS), "", [], number, at_s * 1000, 0, events,
            )  # fmt: skip
            found.append(CustomerWindow(id, window))
        yield at_s * 1000, msgspec.json.encode(found)
        number += 1


def kept(known: Known, table: Any) -> tuple[Any, ...]:
    """What the agent has in memory beside its timers; nothing in earlier commits."""
    if len(signature(alert.fill).parameters) == len(("transaction", "known", "timers")):
        return ()
    return (alert.StepState(table, known.accounts, known.rules),)


class Desk:
    """One partition of the stage, chunk after chunk."""

    def __init__(self, known: Known, table: Any) -> None:
        self.known, self.table, self.timers = known, table, Timers()
        self.offset = 0
        self.state = kept(known, table)
        self.sent: dict[str, int] = {}

    def take(self, records: list[tuple[int, bytes | None, bytes]]) -> int:
        """Process records (time in ms, key, value) as one chunk; nanoseconds of CPU."""
        start = self.offset
        made = [FakeRecord(start + place, value, at, key) for place, (at, key, value) in enumerate(records)]
        self.offset += len(made)
        working = Working(Chunk(alert.INPUT, 0, start, self.offset, made, 1), self.table)
        began_ns = time.process_time_ns()
        alert.fill(working, self.known, self.timers, *self.state)  # type: ignore[arg-type]
        used_ns = time.process_time_ns() - began_ns
        self.table.write(working.table.changes.items(), Restored("", self.offset))
        for topic, number in working.sent.items():
            self.sent[topic] = self.sent.get(topic, 0) + number
        return used_ns


def measure(wanted: Wanted, profile: cProfile.Profile | None = None) -> dict[str, Figures]:
    """The figures of each shape."""
    known, ids = definitions(wanted)
    source = usage(ids)
    with tempfile.TemporaryDirectory(prefix="bench-balances-") as folder:
        desk = Desk(known, Table(Path(folder) / "table") if wanted.rocksdb else MemoryTable())
        items = known.agenda.take(0).get(0, [])
        desk.take([(AT_S * 1000, KEY, alert.clock_value(0, items))])
        for _ in range(3):  # what is made once
            desk.take([(at, None, value) for at, value in [next(source)]])
        gc.collect()
        gc.freeze()  # as a worker does
        gc.set_threshold(COLLECT_AFTER, 10, 100)
        found = {}
        if profile:
            profile.enable()
        for size in SHAPES:
            desk.sent = {}
            used_ns = sum(
                desk.take([(at, None, value) for at, value in (next(source) for _ in range(size))])
                for _ in range(wanted.records // size)
            )
            windows = wanted.customers * (wanted.records // size * size)
            published = desk.sent["balances"]
            parts = (windows * wanted.features, published, windows)
            found[f"{size} records a chunk"] = Figures(*(used_ns / 1000 / part for part in parts))
        if profile:
            profile.disable()
    return found


def compared(wanted: Wanted, commit: str, rounds: int) -> dict[str, list[dict[str, Figures]]]:
    """The figures of both trees, round by round."""
    found: dict[str, list[dict[str, Figures]]] = {commit: [], "now": []}
    with tempfile.TemporaryDirectory(prefix="bench-balances-") as folder:
        old = tree_of(commit, Path(folder))
        (old / "tests" / "bench" / "balances.py").write_bytes(Path(__file__).read_bytes())
        trees = {commit: old, "now": Path(__file__).parents[2]}
        for number in range(rounds):
            for name in sorted(trees, reverse=bool(number % 2)):
                command = [sys.executable, "-m", "tests.bench.balances", "--given", json.dumps(wanted)]
                environment = os.environ | {"PYTHONPATH": str(trees[name]), "PYTHONHASHSEED": "0"}
                done = subprocess.run(
                    command, cwd=trees[name], env=environment, check=True, stdout=subprocess.PIPE
                )
                found[name].append(msgspec.json.decode(done.stdout, type=dict[str, Figures]))
    return found


def report(found: dict[str, list[dict[str, Figures]]]) -> list[str]:
    """A line for each tree and shape, the lowest of its rounds: other work on the machine only adds to it."""
    lines = [f"{'':<40}{'us a moved balance':>20}{'a published one':>18}{'a window':>12}"]
    for tree, rounds in found.items():
        for shape in rounds[0]:
            lowest = [min([one[shape][place] for one in rounds]) for place in range(3)]
            lines.append(f"{tree + ', ' + shape:<40}{lowest[0]:>20.1f}{lowest[1]:>18.1f}{lowest[2]:>12.1f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.balances", description=__doc__)
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--features", type=int, default=5, help="of each customer, all of one meter")
    parser.add_argument("--records", type=int, default=24, help="of each shape of chunks")
    parser.add_argument("--rocksdb", action="store_true", help="the state in RocksDB, not in memory")
    parser.add_argument("--profile", action="store_true", help="show the ten functions that take the longest")
    parser.add_argument("--against", help="an earlier commit")
    parser.add_argument("--rounds", type=int, default=5, help="of --against")
    parser.add_argument("--given", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.given:
        print(msgspec.json.encode(measure(msgspec.json.decode(given.given, type=Wanted))).decode())
        return
    wanted = Wanted(given.customers, given.features, given.records, given.rocksdb)
    if given.against:
        print("\n".join(report(compared(wanted, given.against, given.rounds))))
        return
    profile = cProfile.Profile() if given.profile else None
    print("\n".join(report({"now": [measure(wanted, profile)]})))
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(10 if given.profile else 0)


if __name__ == "__main__":
    main()
