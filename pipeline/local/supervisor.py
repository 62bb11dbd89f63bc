"""Keeps processes running: starts them, restarts those that exit, stops them in order.

Owns: when a process is started and stopped. Does not own: the list of processes (stack.py), how a process is bound to
its parent (process.py). Everything happens in the calling thread, so `tend` must be called often.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.process import Process

Say = Callable[[str], None]

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 5.0
STEADY_S = 10.0  # after running so long, a process restarts with the first backoff again
_PAUSE_S = 0.05


@dataclass
class Service:
    """A process to keep running. A lower `rank` stops first, equal ranks together, by force after `stop_s`."""

    name: str
    spawn: Callable[[], Process]
    log: Path
    is_up: Callable[[], bool]
    rank: int
    stop_s: float
    process: Process | None = field(default=None, init=False)
    _started_at_s: float = field(default=0.0, init=False)
    _log_begins: int = field(default=0, init=False)  # offset in the log at which this process began to write
    _restart_at_s: float = field(default=0.0, init=False)
    _backoff_s: float = field(default=FIRST_BACKOFF_S, init=False)

    def start(self) -> None:
        """Start the process. Raises the errors of `spawn`."""
        self._started_at_s = time.monotonic()
        self._log_begins = process.size(self.log)
        self.process = self.spawn()

    def tend(self, say: Say) -> None:
        """Detect that the process has exited, and restart it after its backoff."""
        now_s = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            process.kill(self.process)  # children that it may have left
            self.process = None
            self._plan(now_s, f"{self.name} exited ({_how(code)}){self._why()}", say)
        elif now_s >= self._restart_at_s:
            try:
                self.start()
            except Unavailable as error:
                self._plan(now_s, str(error), say)

    def _plan(self, now_s: float, what: str, say: Say) -> None:
        if now_s - self._started_at_s >= STEADY_S:
            self._backoff_s = FIRST_BACKOFF_S
        self._restart_at_s = now_s + self._backoff_s
        say(f"{what}; restarting it in {self._backoff_s:g} s; its log is {self.log}")
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)

    def _why(self) -> str:
        """The last error in the output of the process, as the end of a sentence."""
        error = process.last_error(self.log, min(self._log_begins, process.size(self.log)))
        return f": {error}" if error else ""


class Supervisor:
    """The services of one stack, in the order of their start."""

    def __init__(self, say: Say) -> None:
        self.services: list[Service] = []
        self._say = say

    def start(self, services: list[Service]) -> None:
        """Start services and keep them running. Raises the errors of their `spawn`."""
        for service in services:
            self.services.append(service)
            service.start()

    def wait_until_up(self, names: list[str], timeout_s: float, *, may_restart: bool) -> None:
        """Return when these respond. Raises Unavailable after `timeout_s`, or when one exits and may not restart."""
        deadline = time.monotonic() + timeout_s
        waiting = [service for service in self.services if service.name in names]
        while waiting:
            for service in waiting:
                if not may_restart and service.process is not None and service.process.poll() is not None:
                    end = process.last_lines(service.log)
                    raise Unavailable(f"{service.name} exited during its start; {service.log} ends:\n{end}")
            if may_restart:
                self.tend()
            waiting = [service for service in waiting if not service.is_up()]
            if waiting and time.monotonic() > deadline:
                late = ", ".join(f"{service.name} (log: {service.log})" for service in waiting)
                raise Unavailable(f"No response within {timeout_s:g} s from: {late}.")
            if waiting:
                time.sleep(_PAUSE_S)

    def tend(self) -> None:
        """Check every service once."""
        for service in self.services:
            service.tend(self._say)

    def stop(self) -> None:
        """Stop all services, lower ranks first. Returns when all have exited."""
        ordered = sorted(self.services, key=lambda service: service.rank)
        for _, together in groupby(ordered, key=lambda service: service.rank):
            self._stop(list(together))
        self.services = []

    def kill(self) -> None:
        """Kill all services with SIGKILL, at once."""
        for service in self.services:
            if service.process is not None:
                process.kill(service.process)

    def _stop(self, services: list[Service]) -> None:
        running = [service for service in services if service.process is not None]
        for service in running:
            assert service.process is not None
            if service.process.poll() is None:
                service.process.terminate()
        deadline = time.monotonic() + max((service.stop_s for service in running), default=0.0)
        for service in running:
            assert service.process is not None
            process.stop(service.process, max(0.0, deadline - time.monotonic()))


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"
