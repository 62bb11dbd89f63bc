"""Runs one engine over the load on a broker of its own, and measures it.

Owns: the broker, sending, the clock, CPU and memory of the application and of the broker. Does not own: the engines.

The clock runs from the first output that is seen to the last. What was accepted before the first look counts as done by
all stages then, which favours engines with small transactions by a little. The start of processes is in no figure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AdminClient

from pipeline.local import process
from pipeline.local.kafka import Kafka
from pipeline.settings import Settings
from tests.bench.measure import START_LIMIT_S, cpu_s
from tests.bench.peers.engine import Engine, ends
from tests.bench.peers.sums import Expected
from tests.bench.stages import make_topics
from tests.flow.sender import send
from tests.flow.stream import Sent

QUIET_S = 6.0
LOOK_S = 0.1
MEMORY_EVERY = 10  # looks


class Load(NamedTuple):
    """The events of all engines, in sending order."""

    values: Sequence[bytes]
    meters: list[dict[str, object]]
    partitions: int


class Figures(NamedTuple):
    """Of one run. CPU in microseconds an event. differences: from the recount; empty when all sums are equal.

    load: of the machine in the minute before the application started, the sending of the events included.
    """

    events: int
    events_per_s: float
    app_us: float
    broker_us: float
    memory_mb: float
    load: float
    differences: list[str]


class Look(NamedTuple):
    """One look at an engine that has moved."""

    at_s: float
    accepted: int
    app_s: float
    broker_s: float


def measure(make: type[Engine], load: Load, expected: Expected) -> Figures:
    """Raises RuntimeError when a process of the engine ends or nothing happens; the logs are kept then."""
    folder = Path(tempfile.mkdtemp(prefix="tallymark-peers-"))
    broker = Kafka(folder, process.free_port())
    workers: list[subprocess.Popen[bytes]] = []
    try:
        broker.start()
        settings = Settings(kafka=broker.address, partitions=load.partitions)
        make_topics(settings)
        engine = make(settings, folder, load.meters)
        engine.prepare()
        send(settings.kafka, (Sent(None, value) for value in load.values))
        load_before = os.getloadavg()[0]
        workers = engine.start()
        looks, memory_mb = _watch(engine, settings, workers, broker)
        for worker in workers:
            process.stop(worker, 15)
        differences = expected.differences(engine.sums())
    except Exception:
        print(f"the logs are in {folder}", file=sys.stderr)
        raise
    finally:
        for worker in workers:
            process.kill(worker)
        broker.stop()
    shutil.rmtree(folder, ignore_errors=True)
    return figures(looks, len(load.values), memory_mb, load_before, differences)


def figures(
    looks: Sequence[Look], events: int, memory_mb: float, load: float, differences: list[str]
) -> Figures:
    """Rates and costs between the first look and the last."""
    first, last = looks[0], looks[-1]
    done, seconds = events * (1 - first.accepted / last.accepted), last.at_s - first.at_s
    if not done or not seconds:
        raise RuntimeError("it was done at once: use more events")
    app_us, broker_us = (
        (after - before) / done * 1e6 for before, after in zip(first[2:], last[2:], strict=True)
    )
    return Figures(events, done / seconds, app_us, broker_us, memory_mb, load, differences)


def _watch(
    engine: Engine, settings: Settings, workers: Sequence[subprocess.Popen[bytes]], broker: Kafka
) -> tuple[list[Look], float]:
    """The looks at which something had moved, until nothing does; the most memory of the application."""
    admin = AdminClient({"bootstrap.servers": settings.kafka})
    looks: list[Look] = []
    memory_mb = 0.0
    before = ends(admin, engine.outputs, settings.partitions)
    started = time.monotonic()
    empty = before
    for number in range(sys.maxsize):
        now = time.monotonic()
        found = ends(admin, engine.outputs, settings.partitions)
        if found != before:
            used = sum(cpu_s(worker.pid) for worker in workers), cpu_s(broker.pid or 0)
            looks.append(Look(now, found[engine.outputs[0]], *used))
            before = found
        if number % MEMORY_EVERY == 0:
            memory_mb = max(memory_mb, sum(_memory_mb(worker.pid) for worker in workers))
        if any(worker.poll() is not None for worker in workers):
            raise RuntimeError(f"a process of {engine.name} has ended")
        has_output = all(found[topic] > empty[topic] for topic in engine.outputs)
        if has_output and now - looks[-1].at_s > QUIET_S:
            break
        if not has_output and now - started > START_LIMIT_S:
            raise RuntimeError(f"{engine.name} has written nothing to some of {engine.outputs}: {found}")
        time.sleep(LOOK_S)
    return looks, memory_mb


def _memory_mb(pid: int) -> float:
    """Its own memory and its share of what it shares (PSS)."""
    lines: Mapping[str, str] = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    return int(lines["Pss"].split()[0]) / 1024
