"""Retries of calls to a service that is unavailable.

Owns: the pauses between attempts (doubling, with jitter), the log line of a failed attempt, when to give up. Does not
own: what is attempted, or the restart of a whole process (local.supervisor). The library tenacity does the counting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
    wait_fixed,
    wait_random,
)

from pipeline.errors import Unavailable

FIRST_S, MOST_S = 0.2, 5.0
LOOK_S = 0.1  # how soon a pause ends after `stop` has come true

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """Repeats an attempt that raises Unavailable until it succeeds, or until `stop`.

    The pause is `first_s`, then twice as long each time up to `most_s`; up to `first_s` of jitter is added, so that
    workers do not return to a service all at once. Any other error is raised at once.

    Args:
        log: Where each failed attempt is logged: the action, the pause and the service's own message.
        action: What is attempted, as the end of "cannot ...": `write to ClickHouse`.
        stop: Whether to give up, for instance because the partition is being revoked. Asked after a failed attempt
            and every LOOK_S of a pause; one attempt follows a pause that ended early.
    """

    log: logging.Logger
    action: str
    stop: Callable[[], bool] = lambda: False
    first_s: float = FIRST_S
    most_s: float = MOST_S

    async def in_thread(self, attempt: Callable[..., T], *arguments: Any) -> T:
        """Runs a blocking attempt in a thread. Raises Unavailable, the last one, after `stop`."""

        async def run() -> T:
            return await asyncio.to_thread(attempt, *arguments)

        return await AsyncRetrying(sleep=self._sleep, **self._rules())(run)

    def blocking(self, attempt: Callable[..., T], *arguments: Any) -> T:
        """Runs the attempt in this thread. Raises Unavailable, the last one, after `stop`."""
        return Retrying(sleep=self._sleep_blocking, **self._rules())(attempt, *arguments)

    def _rules(self) -> dict[str, Any]:
        return {
            "retry": retry_if_exception_type(Unavailable),
            "wait": wait_exponential(self.first_s, self.most_s) + wait_random(0, self.first_s),
            "stop": lambda _: self.stop(),
            "before_sleep": self._note,
            "reraise": True,
        }

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self.log.warning("cannot %s, retrying in %.1f s: %s", self.action, state.upcoming_sleep, error)

    async def _sleep(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while not self.stop() and (left_s := until_s - time.monotonic()) > 0:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(min(left_s, LOOK_S))

    def _sleep_blocking(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while not self.stop() and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, LOOK_S))


def within(
    timeout_s: float, ask: Callable[[], T], passes: Callable[[BaseException], bool], pause_s: float = 0.1
) -> T:
    """The result of `ask`, which is repeated every `pause_s` while it raises errors that pass.

    Raises:
        The error of `ask` if it does not pass, or still occurs after `timeout_s`.
    """
    retrying = Retrying(
        retry=retry_if_exception(passes),
        stop=stop_after_delay(timeout_s),
        wait=wait_fixed(pause_s),
        reraise=True,
    )
    return retrying(ask)
