"""Carries the steps of a schedule out on a running stack, and says which of them really happened.

Owns: one method a fault, waiting until it has happened. Does not own: which faults (schedule), what is right (views).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from pipeline.stores.kafka.consumer_groups import input_topics
from tests.fixtures.patience import PATIENCE_S
from tests.torture.proxy import Proxy
from tests.torture.quotas import Quotas
from tests.torture.rig import SESSION_TIMEOUT_S, Rig
from tests.torture.schedule import Schedule, Step
from tests.torture.storm import Storm, abort_transactions

FREEZE_S = (
    SESSION_TIMEOUT_S + 4.0
)  # past the session timeout, so that a worker wakes up without its partitions
GROWN_UP_S = 2.5  # a worker that lives so long has read something
PROVOKED_AGAIN_S = 8.0
BURST = 200  # lines sent while something is waited for
Say = Callable[[str], None]


class NotDoneError(RuntimeError):
    """A fault of the schedule could not be made to happen."""


class StepRunner:
    """Does step after step. `done` counts what has happened, by fault. quotas: of a run with alerts."""

    def __init__(
        self, rig: Rig, storm: Storm, proxy: Proxy, schedule: Schedule, say: Say, quotas: Quotas | None = None
    ) -> None:
        self._rig, self._storm, self._proxy, self._schedule, self._say = rig, storm, proxy, schedule, say
        self._quotas = quotas
        self._rng = Random(schedule.seed)
        self._away_until_s = 0.0
        self.done: Counter[str] = Counter()
        self.fenced = 0
        #: Tables that were damaged on disk.
        self.spoilt: set[Path] = set()
        self.last_fault_s = time.monotonic()

    def run(self) -> None:
        """All steps. Raises NotDoneError for one that cannot be done."""
        for number, step in enumerate(self._schedule.steps, 1):
            self._storm.check()
            self._storm.allow(step.lines)
            time.sleep(step.delay_s)
            began_s = time.monotonic()
            result = getattr(self, f"_{step.fault}")(step.how)
            self.last_fault_s = time.monotonic()
            self.done[step.fault] += 1
            took = f"{self.last_fault_s - began_s:5.1f} s"
            self._say(f"{number:3}/{len(self._schedule.steps)} {_named(step)} {took} {result or ''}")
        self._wait(lambda: time.monotonic() >= self._away_until_s, "ClickHouse is back")
        self.last_fault_s = time.monotonic()

    def missing(self) -> list[str]:
        """Sentences on what did not happen."""
        wanted = Counter(step.fault for step in self._schedule.steps)
        return [
            f"{fault}: {number} wanted, {self.done[fault]} happened"
            for fault, number in wanted.items()
            if self.done[fault] != number
        ]

    def _wait(self, condition: Callable[[], Any], what: str, feed: bool = False) -> Any:
        """Waits until the condition gives something; with `feed` lines go on coming. Raises NotDoneError."""
        deadline = time.monotonic() + PATIENCE_S
        fed_s = time.monotonic()
        while not (found := condition()):
            self._storm.check()
            if time.monotonic() > deadline:
                raise NotDoneError(f"{what}: not in {PATIENCE_S:.0f} s")
            if feed and time.monotonic() - fed_s > 0.5:
                self._storm.allow(BURST)
                if self._quotas is not None:
                    self._quotas.stir()
                fed_s = time.monotonic()
            time.sleep(0.02)
        return found

    def _worker(self, stage: str, place: int, hasty: bool = False) -> int:
        """The pid of a worker that works, or with `hasty` of one that may only just have started."""

        def ready() -> list[int]:
            pids = self._rig.workers(stage)
            if hasty:
                return pids
            return [pid for pid in pids if _age_s(pid) > GROWN_UP_S and self._rig.state_folder(pid)]

        pids = self._wait(ready, f"a worker of {stage}")
        return int(pids[place % len(pids)])

    def _pair(self, stage: str) -> list[int]:
        """All workers of a stage, once there are two that work, so that one can take over from the other."""

        def ready() -> list[int]:
            pids = [pid for pid in self._rig.workers(stage) if _age_s(pid) > GROWN_UP_S]
            return pids if len(pids) >= 2 else []

        found: list[int] = self._wait(ready, f"two workers of {stage}")
        return found

    def _kill_pid(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # an armed point was quicker
            os.kill(pid, signal.SIGKILL)
        self._wait(lambda: not _alive(pid), f"the end of {pid}")

    def _kill(self, how: dict[str, Any]) -> None:
        self._kill_pid(self._worker(how["stage"], how["place"], how["hasty"]))

    def _crash(self, how: dict[str, Any]) -> str:
        stage, point = how["stage"], how["point"]
        before = self._hits(stage, point)
        self._rig.arm(stage, point)
        feed = not point.startswith("markers.")  # those are skipped when a partition is idle
        deadline = time.monotonic() + PATIENCE_S
        tries = 0
        while self._hits(stage, point) == before:
            if time.monotonic() > deadline:
                raise NotDoneError(f"{stage} at {point}: not in {PATIENCE_S:.0f} s")
            self._provoke(stage, point)
            tries += 1
            self._hit_or_over(stage, point, before, feed, time.monotonic() + PROVOKED_AGAIN_S)
        return f"provoked {tries} times" if tries > 1 else ""

    def _hit_or_over(self, stage: str, point: str, before: int, feed: bool, over_s: float) -> None:
        self._wait(
            lambda: self._hits(stage, point) > before or time.monotonic() > over_s,
            f"{stage} at {point}",
            feed,
        )

    def _provoke(self, stage: str, point: str) -> None:
        """Makes a take-over happen where the point lies in one."""
        if point == "restore.half":
            self._lose_state(self._pair(stage)[0])
        elif point.startswith(("assign.", "restore.")):
            self._kill_pid(self._worker(stage, 0))
        elif point == "revoke":
            self._kill_pid(self._pair(stage)[0])
        elif point.startswith("markers."):
            abort_transactions(self._rig.settings, input_topics(self._rig.settings, stage)[0])

    def _hits(self, stage: str, point: str) -> int:
        return sum(hit[:2] == (stage, point) for hit in self._rig.hits())

    def _zombie(self, how: dict[str, Any]) -> str:
        """A worker stops inside its transaction, another one takes over, and it wakes up."""
        stage, point = how["stage"], how["point"]
        self._pair(stage)
        before = self._hits(stage, point)
        self._rig.arm(stage, point, "stop")
        self._wait(lambda: self._hits(stage, point) > before, f"{stage} stopped at {point}", feed=True)
        pid = [hit[3] for hit in self._rig.hits() if hit[:2] == (stage, point)][-1]
        deadline = time.monotonic() + FREEZE_S
        self._wait(lambda: time.monotonic() > deadline, "the session's end", feed=True)
        os.kill(pid, signal.SIGCONT)
        self._wait(lambda: not _alive(pid), f"the end of the zombie {pid} of {stage}")
        self.fenced += 1
        return f"{pid} woke up and ended"

    def _freeze(self, how: dict[str, Any]) -> str:
        pids = self._pair(how["stage"])
        pid = pids[how["place"] % len(pids)]
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + FREEZE_S
        self._wait(lambda: time.monotonic() > deadline, "the session's end", feed=True)
        os.kill(pid, signal.SIGCONT)
        return f"{pid}"

    def _scale(self, how: dict[str, Any]) -> str:
        began_s = time.monotonic()
        self._rig.order("scale", stage=how["stage"], workers=how["to"][0])
        time.sleep(max(0.0, how["within_s"] - (time.monotonic() - began_s)))
        for workers in how["to"][1:]:
            self._rig.order("scale", stage=how["stage"], workers=workers)
        # A second pair of changes, this time with workers that already own something.
        self._storm.allow(BURST)
        self._rig.order("scale", stage=how["stage"], workers=3)
        self._wait(lambda: len(self._grown(how["stage"])) == 3, f"three workers of {how['stage']}", feed=True)
        self._rig.order("scale", stage=how["stage"], workers=1)
        self._rig.order("scale", stage=how["stage"], workers=self._schedule.workers[how["stage"]])
        return ""

    def _grown(self, stage: str) -> list[int]:
        return [pid for pid in self._rig.workers(stage) if _age_s(pid) > GROWN_UP_S]

    def _broker(self, how: dict[str, Any]) -> None:
        self._rig.order("kill", service="kafka", for_s=0.5)
        self._wait(lambda: self._running("kafka.Kafka"), "the broker's return")

    def _away(self, how: dict[str, Any]) -> None:
        self._wait(lambda: time.monotonic() >= self._away_until_s, "ClickHouse is back")
        self._rig.order("kill", service="clickhouse", for_s=how["for_s"])
        self._away_until_s = time.monotonic() + how["for_s"] + 3

    def _running(self, word: str) -> bool:
        return any(word in words for _, words in self._rig.children())

    def _cut(self, how: dict[str, Any]) -> None:
        self._wait(lambda: time.monotonic() >= self._away_until_s, "ClickHouse is back")
        before = self._proxy.cut[how["what"]]
        getattr(self._proxy, how["what"])(how["inserts"])
        self._wait(
            lambda: self._proxy.cut[how["what"]] >= before + how["inserts"],
            f"{how['inserts']} cut ({how['what']})", feed=True,
        )  # fmt: skip

    def _lose(self, how: dict[str, Any]) -> str:
        return self._lose_state(self._worker(how["stage"], how["place"]))

    def _lose_state(self, pid: int) -> str:
        folder = self._rig.state_folder(pid)
        self._kill_pid(pid)
        tables = _tables(folder)
        for table in tables:
            shutil.rmtree(table)
        return f"{len(tables)} tables of {folder.name if folder else '-'} removed"

    def _spoil(self, how: dict[str, Any]) -> str:
        """Ends a worker and truncates a file of one of its tables, or turns a few of its bits."""

        def spoilt() -> str:
            pid = self._worker(how["stage"], how["place"])
            folder = self._rig.state_folder(pid)
            self._kill_pid(pid)
            files = [
                path
                for table in _tables(folder)
                for path in table.iterdir()
                if path.suffix in (".sst", ".log")
            ]
            files = [path for path in files if path.stat().st_size > 200]
            if not files:
                return ""
            path = self._rng.choice(sorted(files))
            _damage(path, how["how"], self._rng)
            self.spoilt.add(path.parent)
            return f"{how['how']} {path.relative_to(self._rig.folder)}"

        return str(self._wait(spoilt, "a file to spoil", feed=True))

    def _poison(self, how: dict[str, Any]) -> None:
        self._storm.poison(how["kind"])

    def _redis(self, how: dict[str, Any]) -> None:
        """The copy of the balances is emptied, or away for a while."""
        if how["how"] == "kill":
            self._rig.order("kill", service="redis", for_s=3.0)
            return
        assert self._quotas is not None
        self._quotas.flush_redis()

    def _bring(self, how: dict[str, Any]) -> str:
        assert self._quotas is not None
        return self._quotas.bring(how["what"])


def _named(step: Step) -> str:
    return f"{step.fault:7} " + " ".join(str(value) for value in step.how.values())


def _tables(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "faust")


def _damage(path: Path, how: str, rng: Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        if how == "truncate":
            file.truncate(rng.randrange(1, size))
            return
        for _ in range(5):
            place = rng.randrange(size)
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ (1 << rng.randrange(8))]))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _age_s(pid: int) -> float:
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
