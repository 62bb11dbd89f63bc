"""Whether the services that a process needs answer, asked with a time limit.

Owns: asking several at once, in threads, so that one that hangs delays nobody. Does not own: what is asked of a service
(its store), who is shown the answer (agents.health, api.operation.status).
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
FRESH_S = 1.0  # how long an answer holds, so that a check that is asked often costs nothing

Ask = Callable[[], object]  # raises Unavailable, with the service's own message


@dataclass(frozen=True)
class ServiceAnswer:
    """What became of one question. detail: why not, for a person. value: what `Ask` gave."""

    ok: bool
    detail: str = ""
    value: object = None


class Probe:
    """One service. While a question has no answer yet, no second one is asked."""

    def __init__(self, name: str, ask: Ask) -> None:
        self.name = name
        self._ask = ask
        self._lock = threading.Lock()
        self._asked_s = self._answered_s = 0.0
        self._answer: Future[ServiceAnswer] | None = None

    def begin(self, fresh_s: float) -> None:
        """Asks, unless a question is under way or the last answer is younger than `fresh_s`."""
        with self._lock:
            now_s = time.monotonic()
            if self._answer is not None and not (self._answer.done() and now_s - self._answered_s >= fresh_s):
                return
            self._asked_s, self._answer = now_s, Future()
            self._answer.set_running_or_notify_cancel()  # from here on nobody who waits can cancel it
            asked = (self._answer,)
        threading.Thread(target=self._run, args=asked, name=f"probe-{self.name}", daemon=True).start()

    @property
    def answer(self) -> Future[ServiceAnswer]:
        """Of the question that began last."""
        assert self._answer is not None, "no question was asked"
        return self._answer

    def so_far(self, answer: Future[ServiceAnswer]) -> ServiceAnswer:
        """The answer, or that there is none yet."""
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
    """All answers by name, after at most `limit_s`; none is older than `fresh_s`. Blocks."""
    coming = _begun(probes, fresh_s)
    wait(coming.values(), limit_s)
    return {name: probe.so_far(coming[name]) for name, probe in probes.items()}


async def ask_async(
    probes: Mapping[str, Probe], limit_s: float = LIMIT_S, fresh_s: float = FRESH_S
) -> dict[str, ServiceAnswer]:
    """As `ask`, for an event loop: no thread waits."""
    coming = _begun(probes, fresh_s)
    _, late = await asyncio.wait([asyncio.wrap_future(one) for one in coming.values()], timeout=limit_s)
    for one in late:
        one.cancel()  # only this wait for it
    return {name: probe.so_far(coming[name]) for name, probe in probes.items()}


def _begun(probes: Mapping[str, Probe], fresh_s: float) -> dict[str, Future[ServiceAnswer]]:
    for probe in probes.values():
        probe.begin(fresh_s)
    return {name: probe.answer for name, probe in probes.items()}


def probes(asks: Mapping[str, Ask]) -> dict[str, Probe]:
    """A probe for each question, by name."""
    return {name: Probe(name, one) for name, one in asks.items()}
