"""Checks whether the services that a process needs are available, within a time limit.

Owns: checking several at once, in threads, so that a check that hangs delays no other. Does not own: the check of a
service (its store), the response to the caller (agents.health, api.operation.status).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
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
        self._lock = threading.Lock()
        self._asked_s = self._answered_s = 0.0
        self._answer: Future[ServiceAnswer] | None = None

    def begin(self, fresh_s: float) -> None:
        """Start a check, unless one is in progress or the last result is younger than `fresh_s`."""
        with self._lock:
            now_s = time.monotonic()
            if self._answer is not None and not (self._answer.done() and now_s - self._answered_s >= fresh_s):
                return
            self._asked_s, self._answer = now_s, Future()
            self._answer.set_running_or_notify_cancel()  # so a caller that stops waiting does not cancel the check
            asked = (self._answer,)
        threading.Thread(target=self._run, args=asked, name=f"probe-{self.name}", daemon=True).start()

    @property
    def answer(self) -> Future[ServiceAnswer]:
        """The result of the last check, when it is there."""
        assert self._answer is not None, "no check was started"
        return self._answer

    def so_far(self, answer: Future[ServiceAnswer]) -> ServiceAnswer:
        """The result, or a failure while there is none."""
        if answer.done():
            return answer.result()
        return ServiceAnswer(False, f"no answer for {time.monotonic() - self._asked_s:.0f} s")

    def _run(self, coming: Future[ServiceAnswer]) -> None:
        answer = ServiceAnswer(False, "the check failed unexpectedly, see the log")
        try:
            answer = ServiceAnswer(True, value=self._ask())
        except (Unavailable, Broken) as error:
            answer = ServiceAnswer(False, str(error))
        finally:
            self._answered_s = time.monotonic()
            coming.set_result(answer)


def ask(
    probes: Mapping[str, Probe], limit_s: float = LIMIT_S, fresh_s: float = FRESH_S
) -> dict[str, ServiceAnswer]:
    """All results by name, after at most `limit_s`; none is older than `fresh_s`. Blocks."""
    coming = _begun(probes, fresh_s)
    wait(coming.values(), limit_s)
    return {name: probe.so_far(coming[name]) for name, probe in probes.items()}


async def ask_async(
    probes: Mapping[str, Probe], limit_s: float = LIMIT_S, fresh_s: float = FRESH_S
) -> dict[str, ServiceAnswer]:
    """Like `ask`, for an event loop: no thread waits."""
    coming = _begun(probes, fresh_s)
    _, late = await asyncio.wait([asyncio.wrap_future(one) for one in coming.values()], timeout=limit_s)
    for one in late:
        one.cancel()  # cancels only this wait
    return {name: probe.so_far(coming[name]) for name, probe in probes.items()}


def _begun(probes: Mapping[str, Probe], fresh_s: float) -> dict[str, Future[ServiceAnswer]]:
    for probe in probes.values():
        probe.begin(fresh_s)
    return {name: probe.answer for name, probe in probes.items()}


def probes(asks: Mapping[str, Ask]) -> dict[str, Probe]:
    """A probe for each check, by name."""
    return {name: Probe(name, one) for name, one in asks.items()}
