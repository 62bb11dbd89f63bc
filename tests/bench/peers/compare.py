"""The same load through Tallymark and other engines, one after the other, on the same cores with a broker each.

    python -m tests.bench --peers --events 300000 --rounds 3 --plot tests/bench/peers/peers.svg

Owns: the list of engines, the rounds. Does not own: a run (run), the table (report), the picture (plot).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import KafkaException

from pipeline.errors import Unavailable
from tests.bench.load import LOADS
from tests.bench.peers.engine import Engine
from tests.bench.peers.plot import picture
from tests.bench.peers.quix import Quix
from tests.bench.peers.report import Row, row, table
from tests.bench.peers.run import Figures, Load, measure
from tests.bench.peers.streams import KafkaStreams, KafkaStreamsAtLeastOnce, KafkaStreamsEachSecond
from tests.bench.peers.sums import Expected
from tests.bench.peers.tallymark import Faust, Tallymark

ENGINES: list[type[Engine]] = [
    Tallymark,
    KafkaStreams,
    KafkaStreamsEachSecond,
    KafkaStreamsAtLeastOnce,
    Quix,
    Faust,
]
LOAD = "plain"


def installed(engines: Sequence[type[Engine]]) -> list[type[Engine]]:
    """Those that can be had here; of the others a sentence is printed."""
    found = []
    for engine in engines:
        try:
            engine.install()
        except Unavailable as error:
            print(f"{engine.name} is left out: {error}", file=sys.stderr, flush=True)
        else:
            found.append(engine)
    return found


def compare(events: int, slow_events: int, rounds: int, seed: int, partitions: int) -> list[Row]:
    """A row an engine, Tallymark first. slow_events: how many of them a slow engine gets."""
    meters, now_ns = LOADS[LOAD].meters, time.time_ns()
    values = [sent.line for sent in LOADS[LOAD].records(events, seed, now_ns)]
    slow = values[:slow_events]
    expected = {len(part): Expected(part, meters, now_ns // 1_000_000) for part in (values, slow)}
    engines = installed(ENGINES)
    found: dict[type[Engine], list[Figures]] = {engine: [] for engine in engines}
    for number in range(1, rounds + 1):
        for engine in engines:
            part = slow if engine.slow else values
            try:
                figures = measure(engine, Load(part, meters, partitions), expected[len(part)])
            except (RuntimeError, TimeoutError, KafkaException) as error:
                if engine is Tallymark:  # nothing to compare the others with
                    raise
                print(f"round {number}, {engine.name} failed: {error}", file=sys.stderr, flush=True)
            else:
                found[engine].append(figures)
                print(f"round {number}, {engine.name}: {figures}", file=sys.stderr, flush=True)
    return [row(engine.name, engine.exactly_once, figures) for engine, figures in found.items() if figures]


def main(events: int, slow_events: int, rounds: int, seed: int, partitions: int, plot: Path | None) -> None:
    """Prints the table and all figures as JSON, and writes the picture."""
    rows = compare(events, slow_events, rounds, seed, partitions)
    loads = [figures.load for one in rows for figures in one.rounds]
    middle = f", median of {rounds} rounds" if rounds > 1 else ""
    heading = (
        f"{events:,} events{middle}, {os.cpu_count()} cores shared with the broker, load before each run "
        f"{min(loads):.1f} to {max(loads):.1f}, {datetime.now(UTC):%Y-%m-%d}"
    )
    print("\n".join([heading, *table(rows)]))
    print(json.dumps({one.name: [figures._asdict() for figures in one.rounds] for one in rows}))
    if plot is not None:
        plot.write_text(picture(rows, heading))
