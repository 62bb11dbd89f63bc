"""Bulkheads: requests that wait for one store use up that store's turns, never the threads of other routes.

Owns: how many blocking calls to a store are in progress in one process, how long a request waits for its turn, which
store a route waits for. Does not own: how long a call may take (each store), answers (the routes).

A route that blocks runs in a thread. Without a declared store it may only read what this process holds in memory, so
it never waits long; the threads that all such routes share serve it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from pipeline.errors import NotAnswering, Unavailable
from pipeline.settings import Settings

T = TypeVar("T")
StoreName = Literal["clickhouse", "kafka", "commands", "billing", "reconcile", "stripe"]
KAFKA_AT_ONCE = 32  # calls that read topics
COMMANDS_AT_ONCE = 64  # threads that wait for the control stage, and as many that wait for billing
CHANGES_AT_ONCE = 1024  # changes that wait for the control stage without a thread
KAFKA_SILENT_S = 2.5  # then a topic that was not read to its end is given up
LOADED_S = 10.0  # for the control log to be read to its end, as long as it makes progress
_LOOK_S = 0.02
STRIPE_AT_ONCE = 8  # each makes up to five calls, of the 25 a second that a test account may make
RECONCILES_AT_ONCE = 4  # each may wait for minutes until all is quiet


class Bulkhead:
    """The turns of one store. For one event loop.

    name: of the store, for sentences. at_once: calls in progress at once. turn_s: how long one waits for its turn.
    """

    def __init__(self, name: str, at_once: int, turn_s: float) -> None:
        self._name = name
        self._at_once = at_once
        self._turn_s = turn_s
        self._free = at_once
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._threads: anyio.CapacityLimiter | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """The result of `call`, which runs in a thread of this store.

        Raises what `call` raises, and Unavailable if no turn came in time. Where a call in progress finds that the
        store does not answer (NotAnswering), all that wait for a turn get the same error at once.
        """
        self._threads = self._threads or anyio.CapacityLimiter(self._at_once)
        return await self.wait(partial(anyio.to_thread.run_sync, call, limiter=self._threads))

    async def wait(self, call: Callable[[], Awaitable[T]]) -> T:
        """As `run`, for a `call` that needs no thread."""
        await self._turn()
        try:
            return await call()
        except NotAnswering as error:
            self._refuse_waiting(str(error))
            raise
        finally:
            self._give_turn()

    async def _turn(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            with anyio.fail_after(self._turn_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_turn()  # it came together with the end of the wait
            if isinstance(error, TimeoutError):
                raise Unavailable(
                    f"{self._name} is busy: {self._at_once} requests are with it, and none of them ended within "
                    f"{self._turn_s:g} s."
                ) from None
            raise

    def _give_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _refuse_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_exception(NotAnswering(why))


class Bulkheads(NamedTuple):
    """Those of one process."""

    clickhouse: Bulkhead
    kafka: Bulkhead
    commands: Bulkhead
    changes: Bulkhead
    billing: Bulkhead
    reconcile: Bulkhead
    stripe: Bulkhead

    @classmethod
    def of(cls, settings: Settings) -> Bulkheads:
        """As large as the settings say."""
        turn_s = settings.api_turn_s
        return cls(
            Bulkhead("ClickHouse", settings.clickhouse_at_once, turn_s),
            Bulkhead("Kafka", KAFKA_AT_ONCE, turn_s),
            Bulkhead("The control stage", COMMANDS_AT_ONCE, turn_s),
            Bulkhead("The control stage", CHANGES_AT_ONCE, turn_s),
            Bulkhead("The billing stage", COMMANDS_AT_ONCE, turn_s),
            Bulkhead("The reconcile report", RECONCILES_AT_ONCE, turn_s),
            Bulkhead("Stripe", STRIPE_AT_ONCE, turn_s),
        )


def behind(store: StoreName | None, endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The endpoint of a route, called once the control log was read, with its thread and turn from `store`.

    store: None for an endpoint that reads only what this process holds in memory.
    A coroutine stays as it is: it takes its turns itself, call by call. Any other endpoint takes `request`.
    """
    if iscoroutinefunction(endpoint):
        return endpoint

    @wraps(endpoint)
    async def in_turn(*, request: Request, **parameters: Any) -> Any:
        services = request.app.state.services
        await loaded(services.definitions)
        call = partial(endpoint, request=request, **parameters)
        if store is None:
            return await anyio.to_thread.run_sync(call)
        bulkhead: Bulkhead = getattr(services.bulkheads, store)
        return await bulkhead.run(call)

    return in_turn


class View(Protocol):
    """What is needed of a topic in memory: see stores.kafka.view."""

    def is_decided(self) -> bool: ...
    def silent_s(self) -> float: ...
    def wait_loaded(self, timeout_s: float) -> None: ...
    def not_loaded(self, after_s: float) -> NotAnswering: ...


async def loaded(view: View) -> None:
    """Returns when a topic was read to its end once; no thread waits.

    Raises NotAnswering after LOADED_S, or once Kafka was silent for KAFKA_SILENT_S of it, and what the view refuses.
    """
    began_s = time.monotonic()
    while not view.is_decided():
        waited_s = time.monotonic() - began_s
        if waited_s >= LOADED_S or min(waited_s, view.silent_s()) >= KAFKA_SILENT_S:
            raise view.not_loaded(waited_s)
        await anyio.sleep(_LOOK_S)
    view.wait_loaded(0.0)
