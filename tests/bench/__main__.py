"""Benchmark: the stages one by one and all together, Tallymark and plain Faust, on a broker of this machine.

    python -m tests.bench --events 300000 --vanilla --vanilla-events 60000
    python -m tests.bench --events 1000000 --all
    python -m tests.bench --peers --rounds 3 --plot tests/bench/peers/peers.svg

Every run has a fresh broker, preloaded with the events; figures are of one process a stage. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.local import process
from pipeline.local.kafka import Kafka
from pipeline.settings import Settings
from tests.bench import whole_stack
from tests.bench.load import LOADS
from tests.bench.measure import Rate, run
from tests.bench.peers import compare
from tests.bench.stages import STAGES, Pipeline, Tallymark, Vanilla, make_topics
from tests.flow.sender import send

Make = Callable[[Settings, Path, str], Pipeline]


def bench(make: Make, load: str, events: int, seed: int, partitions: int) -> tuple[str, list[Rate]]:
    """Each stage alone on what the one before it left, then all three at once on a fresh broker."""
    rates: list[Rate] = []
    name = ""
    for parts in ([(stage,) for stage in STAGES], [STAGES]):
        folder = Path(tempfile.mkdtemp(prefix="tallymark-bench-"))
        broker = Kafka(folder, process.free_port())
        try:
            broker.start()
            settings = Settings(kafka=broker.address, partitions=partitions)
            make_topics(settings)
            pipeline = make(settings, folder, load)
            name = pipeline.name
            pipeline.prepare()
            print(f"{name}: sending {events} events", file=sys.stderr, flush=True)
            send(settings.kafka, LOADS[load].records(events, seed, time.time_ns()))
            for stages in parts:
                print(f"{name}: {', '.join(stages)}", file=sys.stderr, flush=True)
                done = run(pipeline, tuple(stages), events, folder)
                rates += done if len(stages) == 1 else [rate._replace(stage=_together(rate)) for rate in done]
        except Exception:
            print(f"the logs are in {folder}", file=sys.stderr)
            raise
        finally:
            broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return name, rates


def _together(rate: Rate) -> str:
    return rate.stage if rate.stage == "end to end" else f"{rate.stage}, with the others"


def table(results: dict[str, list[Rate]]) -> str:
    """All rates as lines of text."""
    lines = [f"{'pipeline':<15}{'stage':<30}{'events/s':>10}{'seconds':>10}{'CPU us/event':>14}"]
    for name, rates in results.items():
        lines += [
            f"{name:<15}{rate.stage:<30}{rate.events_per_s:>10,.0f}{rate.seconds:>10.1f}{rate.cpu_us:>14.1f}"
            for rate in rates
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000, help="for Tallymark")
    parser.add_argument("--all", action="store_true", help="measure every process until all is in ClickHouse")
    parser.add_argument("--vanilla", action="store_true", help="measure plain Faust too")
    parser.add_argument("--vanilla-only", action="store_true", help="measure plain Faust only")
    parser.add_argument("--vanilla-events", type=int, default=60_000, help="for plain Faust, which is slower")
    parser.add_argument("--load", choices=sorted(LOADS), default="plain", help="see tests/bench/load.py")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--peers", action="store_true", help="the same work in Kafka Streams, Quix Streams and Faust"
    )
    parser.add_argument("--rounds", type=int, default=1, help="of --peers")
    parser.add_argument("--plot", type=Path, help="file for the picture of --peers")
    arguments = parser.parse_args()
    if arguments.all:
        print(whole_stack.report(whole_stack.measure(arguments.load, arguments.events, arguments.seed)))
        return
    if arguments.peers:
        sizes = arguments.events, arguments.vanilla_events, arguments.rounds
        compare.main(*sizes, arguments.seed, arguments.partitions, arguments.plot)
        return
    results: dict[str, list[Rate]] = {}
    wanted: list[tuple[Make, int]] = [] if arguments.vanilla_only else [(Tallymark, arguments.events)]
    if arguments.vanilla or arguments.vanilla_only:
        wanted.append((Vanilla, arguments.vanilla_events))
    for make, events in wanted:
        name, rates = bench(make, arguments.load, events, arguments.seed, arguments.partitions)
        results[name] = rates
    print(table(results))
    figures = {name: [rate._asdict() for rate in rates] for name, rates in results.items()}
    print(json.dumps({"cores": os.cpu_count(), "load": arguments.load, "results": figures}))


if __name__ == "__main__":
    main()
