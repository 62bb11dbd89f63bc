"""Where the CPU time of each counting stage goes, as text: `python -m tests.bench.top_functions`.

    python -m tests.bench.top_functions --events 50000 --top 10

The rules of ingest, dedupe, aggregate and sink in one process (see fill), without Kafka and without ClickHouse, under
Python's profiler. Own time of a function is that without the functions it calls. The profiler slows calls of Python
functions and not what runs inside a library, so shares are a guide, and no figure of CPU time an event.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.agents.sink_rows import RowBatch
from pipeline.stores.clickhouse.rows import settled_columns, unique_columns, window_columns
from tests.bench.fill import CHUNK, PARTITION, Record, stages, timed
from tests.bench.load import LOADS

ROOT = Path(__file__).parents[2]


def profiled(call: Callable[[], Any], top: int) -> tuple[Any, list[str]]:
    """What the call returns, and a line for each of the functions with the most own time."""
    profile = cProfile.Profile()
    result = profile.runcall(call)
    stats: Any = pstats.Stats(profile)
    own = sorted(stats.stats.items(), key=lambda item: -item[1][2])
    total = sum(figures[2] for _, figures in own)
    lines = [
        f"  {figures[2] / total:>6.1%} {figures[1]:>10,} calls  {_name(*function)}"
        for function, figures in own[:top]
    ]
    return result, lines


def _name(file: str, line: int, function: str) -> str:
    path = Path(file)
    place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    return function if file == "~" else f"{function} ({place}:{line})"


def sink(settled: Sequence[bytes], windows: Sequence[bytes], now_ms: int) -> int:
    """The rows of both topics as an insert's body; returns its bytes."""
    size = 0
    for first in range(0, max(len(settled), len(windows)), CHUNK):
        rows = RowBatch()
        for topic, values in (("events-settled", settled), ("usage", windows)):
            part = values[first : first + CHUNK]
            rows.take(
                topic, PARTITION, [Record(first + place, one, now_ms) for place, one in enumerate(part)]
            )
        for columns in (
            settled_columns(rows.settled, now_ms),
            window_columns(rows.windows, now_ms),
            unique_columns(rows.windows),
        ):
            size += len(msgspec.json.encode(list(columns.values())))
    return size


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.top_functions", description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--load", choices=sorted(LOADS), default="plain")
    parser.add_argument("--top", type=int, default=10)
    wanted = parser.parse_args()
    now_ns, load = time.time_ns(), LOADS[wanted.load]
    now_ms = now_ns // 1_000_000
    values = [sent.line for sent in load.records(wanted.events, 1, now_ns)]
    given = values
    for name, topic, out, fill in stages(load.meters):
        given = values
        (_, _, values), lines = profiled(lambda: timed(fill, topic, out, given, now_ms), wanted.top)  # noqa: B023
        print("\n".join([name, *lines]))
    *_, (_, topic, _, fill) = stages(load.meters)
    _, _, settled = timed(fill, topic, "events-settled", given, now_ms)
    _, lines = profiled(lambda: sink(settled, values, now_ms), wanted.top)
    print("\n".join(["sink", *lines]))


if __name__ == "__main__":
    main()
