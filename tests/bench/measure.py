"""Runs stages to the end of their input and measures rate and CPU time of each process.

The rate is taken between the first and the last progress seen, so neither the start of Python nor the wait
for the first fetch is in it. CPU time is that of the worker process since the first progress (Linux: /proc).
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from pipeline.local import process
from tests.bench.stages import Pipeline, spawn

TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
START_LIMIT_S = 120.0


class Seen(NamedTuple):
    """One look at a stage: the time, its progress, and CPU seconds used by its process."""

    at_s: float
    progress: int
    cpu_s: float


class Rate(NamedTuple):
    """events_per_s: of input events. cpu_us: CPU microseconds an input event."""

    stage: str
    seconds: float
    events_per_s: float
    cpu_us: float


def cpu_s(pid: int) -> float:
    """User and system time that the process has used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICKS_S


def run(
    pipeline: Pipeline, stages: tuple[str, ...], events: int, folder: Path, quiet_s: float = 6.0
) -> list[Rate]:
    """Runs one worker a stage until nothing has moved for `quiet_s`. The last of several rates is end to end.

    Raises RuntimeError when a worker dies, fails on an event, or never starts to work.
    """
    workers = {stage: spawn(pipeline, stage, folder / f"{stage}.log") for stage in stages}
    try:
        seen = _watch(pipeline, workers, quiet_s)
    finally:
        for worker in workers.values():
            process.stop(worker, 15)
    for stage in stages:
        if b"Traceback" in (folder / f"{stage}.log").read_bytes():
            raise RuntimeError(f"the worker of {stage} has failed on the way")
    rates = [_rate(stage, seen[stage], events) for stage in stages]
    if len(stages) > 1:
        first, last = seen[stages[0]][0], seen[stages[-1]][-1]
        seconds = last.at_s - first.at_s
        rates.append(Rate("end to end", seconds, events / seconds, sum(rate.cpu_us for rate in rates)))
    return rates


def _watch(
    pipeline: Pipeline, workers: dict[str, subprocess.Popen[bytes]], quiet_s: float
) -> dict[str, list[Seen]]:
    before = pipeline.progress()
    seen: dict[str, list[Seen]] = {stage: [] for stage in workers}
    started = moved = time.monotonic()
    while True:
        now = time.monotonic()
        for stage, progress in pipeline.progress().items():
            if stage in workers and progress > before.get(stage, 0):
                before[stage] = progress
                seen[stage].append(Seen(now, progress, cpu_s(workers[stage].pid)))
                moved = now
        for stage, worker in workers.items():
            if worker.poll() is not None:
                raise RuntimeError(f"the worker of {stage} ended with {worker.returncode}")
        if all(seen.values()) and now - moved > quiet_s:
            return seen
        if now - started > START_LIMIT_S and not all(seen.values()):
            raise RuntimeError(f"nothing happened at {[stage for stage in seen if not seen[stage]]}")
        time.sleep(0.05)


def _rate(stage: str, seen: list[Seen], events: int) -> Rate:
    first, last = seen[0], seen[-1]
    done = events * (last.progress - first.progress) / last.progress
    seconds = last.at_s - first.at_s
    if not done or not seconds:
        raise RuntimeError(f"{stage} was done at once: use more events")
    return Rate(stage, seconds, done / seconds, (last.cpu_s - first.cpu_s) / done * 1e6)
