"""Checks during a run: that a count never falls, and the memory of each worker.

Owns: asking the API again and again, reading /proc. Does not own: what is a failure (report).
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.http import authorization
from tests.torture.rig import Rig

METER = "api_requests"  # a COUNT
EVERY_S = 0.5
WARM_S = 10.0


@dataclass
class Memory:
    """Resident set of one worker, in MiB: after it had run for WARM_S, at its last sight, and at most."""

    stage: str
    began_s: float
    warm: float = 0.0
    last: float = 0.0
    most: float = 0.0
    seen_s: float = 0.0

    @property
    def lived_s(self) -> float:
        return self.seen_s - self.began_s


class Watch:
    """Looks every half second, in a thread. Use as a context manager."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.falls: list[str] = []
        self.answers = self.refusals = self.newest = 0
        self.memory: dict[int, Memory] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            self._look_at_memory()
            try:
                count = self._count()
            except (OSError, ValueError):  # ClickHouse or the API is down: no answer is no wrong answer
                self.refusals += 1
                continue
            self.answers += 1
            if count < self.newest:
                self.falls.append(f"{METER} fell from {self.newest} to {count}")
            self.newest = max(self.newest, count)

    def _count(self) -> int:
        url = f"{self._rig.settings.api_url}/api/v1/meters/{METER}/query"
        request = urllib.request.Request(url, headers=authorization(self._rig.settings))
        with urllib.request.urlopen(request, timeout=10) as response:
            rows = json.load(response)["data"]
        return int(rows[0]["value"]) if rows else 0

    def _look_at_memory(self) -> None:
        now_s = time.monotonic()
        for pid, words in self._rig.children():
            if words[-2:-1] != ["worker"]:
                continue
            mib = _rss_mib(pid)
            one = self.memory.setdefault(pid, Memory(words[-1], now_s))
            one.last, one.seen_s, one.most = mib or one.last, now_s, max(one.most, mib)
            if one.lived_s < WARM_S:
                one.warm = mib

    def memory_lines(self) -> list[str]:
        """A sentence a stage: the most that any worker had, and the growth of those that lived long."""
        lines = []
        for stage in sorted({one.stage for one in self.memory.values()}):
            every = [one for one in self.memory.values() if one.stage == stage]
            longest = max(every, key=lambda one: one.lived_s)
            lines.append(
                f"{stage}: at most {max(one.most for one in every):.0f} MiB; the worker that lived longest "
                f"({longest.lived_s:.0f} s) had {longest.warm:.0f} MiB warm and {longest.last:.0f} MiB at its end"
            )
        return lines


def _rss_mib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0.0
