"""Checks whether the services that a process needs are available, within a time limit.

Owns: checking several at once, in threads, so that a check that hangs delays no other. Does not own: the check of a
service (its store), the response to the caller (agents.health, api.operation.status).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.errors import Broken, Unavailable

LIMIT_S = 3.0
FRESH_S = 1.0  # for how long a result is reused, so that frequent checks cost nothing

Ask = Callable[[], object]  # raises Unavailable, with the service's own message


@dataclass(frozen=True)
class ServiceAnswer:
    """The result of one check. detail: the reason of a failure, for a person. value: the return value of `Ask`."""

    ok: bool
    detail: str = ""
    value: object = None


class Probe:
    """One service. At most one check of it runs at a time."""

    def __init__(self, name: str, ask: Ask) -> None:
        self.name = name
        self._ask = ask
        self._changed = threading.Condition()
        self._asked_s: float | None = None  # start of the check in progress
        self._answer: ServiceAnswer | None = None
        self._answered_s = 0.0

    def begin(self, fresh_s: float) -> None:
        """Start a check, unless one is in progress or the last result is younger than `fresh_s`."""
        with self._changed:
            now_s = time.monotonic()
            if self._asked_s is not None or (self._answer is not None and now_s - self._answered_s < fresh_s):
                return
            self._asked_s, self._answer = now_s, None
        threading.Thread(target=self._run, name=f"probe-{self.name}", daemon=True).start()

    def wait(self, deadline_s: float) -> ServiceAnswer:
        """The result, at the latest when `time.monotonic()` is `deadline_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None, max(0.0, deadline_s - time.monotonic()))
            if self._answer is not None:
                return self._answer
            since_s = time.monotonic() - (self._asked_s or time.monotonic())
            return ServiceAnswer(False, f"no answer for {since_s:.0f} s")

    def _run(self) -> None:
        answer = ServiceAnswer(False, "the check failed unexpectedly, see the log")
        try:
            answer = ServiceAnswer(True, value=self._ask())
        except (Unavailable, Broken) as error:
            answer = ServiceAnswer(False, str(error))
        finally:
            with self._changed:
                self._answer, self._answered_s, self._asked_s = answer, time.monotonic(), None
                self._changed.notify_all()


def ask(
    probes: Mapping[str, Probe], limit_s: float = LIMIT_S, fresh_s: float = FRESH_S
) -> dict[str, ServiceAnswer]:
    """All results by name, after at most `limit_s`; none is older than `fresh_s`."""
    for probe in probes.values():
        probe.begin(fresh_s)
    deadline_s = time.monotonic() + limit_s
    return {name: probe.wait(deadline_s) for name, probe in probes.items()}


def probes(asks: Mapping[str, Ask]) -> dict[str, Probe]:
    """A probe for each check, by name."""
    return {name: Probe(name, one) for name, one in asks.items()}
