"""Turns at a store: how many calls at once, how long one waits, and that one failure answers all who wait."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable
from inspect import iscoroutinefunction
from typing import Any

import anyio
import pytest
from fastapi.routing import APIRoute

from pipeline.api.app import create_app
from pipeline.api.http.bulkheads import Bulkhead, loaded
from pipeline.errors import NotAnswering, Unavailable
from pipeline.settings import Settings

LONG_S = 60.0


class Held:
    """A call that blocks its thread until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.go = threading.Event()
        self.running = threading.Semaphore(0)

    def __call__(self) -> str:
        self.running.release()
        assert self.go.wait(LONG_S)
        if self.error is not None:
            raise self.error
        return "done"


def outcomes(
    bulkhead: Bulkhead, calls: list[Callable[[], Any]], then: Callable[[], Awaitable[None]]
) -> list[Any]:
    """The results of the calls, which begin in order, then `then` runs."""
    found: list[Any] = [None] * len(calls)

    async def one(place: int) -> None:
        try:
            found[place] = await bulkhead.run(calls[place])
        except Unavailable as error:
            found[place] = error

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for place in range(len(calls)):
                group.start_soon(one, place)
            await anyio.wait_all_tasks_blocked()
            await then()

    anyio.run(main)
    return found


async def begun(held: Held) -> None:
    assert await anyio.to_thread.run_sync(lambda: held.running.acquire(timeout=LONG_S))


def test_calls_beyond_its_size_wait_for_a_turn() -> None:
    held = Held()

    async def let_go() -> None:
        await begun(held)
        await begun(held)
        assert not held.running.acquire(blocking=False), "a third call runs"
        held.go.set()

    assert outcomes(Bulkhead("X", 2, LONG_S), [held] * 5, let_go) == ["done"] * 5


def test_who_gets_no_turn_in_time_is_refused_with_the_reason() -> None:
    held = Held()
    bulkhead = Bulkhead("ClickHouse", 1, 0.05)

    async def let_go() -> None:
        await begun(held)
        await anyio.sleep(0.2)
        held.go.set()

    first, second = outcomes(bulkhead, [held, held], let_go)
    assert first == "done" and type(second) is Unavailable
    assert str(second) == "ClickHouse is busy: 1 requests are with it, and none of them ended within 0.05 s."
    assert outcomes(bulkhead, [lambda: 1, lambda: 2], anyio.wait_all_tasks_blocked) == [1, 2], (
        "turns come back"
    )


@pytest.mark.parametrize(
    "error, waiting", [(NotAnswering("silent"), "silent"), (Unavailable("too much"), "done")]
)
def test_only_a_store_that_does_not_answer_refuses_those_who_wait(error: Exception, waiting: str) -> None:
    first, second = Held(error), Held()
    second.go.set()

    async def let_go() -> None:
        await begun(first)
        first.go.set()

    found = outcomes(Bulkhead("X", 1, LONG_S), [first, second, second], let_go)
    assert [str(one) for one in found] == [str(error), waiting, waiting]


class SilentView:
    """A topic of which nothing comes."""

    def is_decided(self) -> bool:
        return False

    def silent_s(self) -> float:
        return LONG_S

    def wait_loaded(self, timeout_s: float) -> None:
        raise AssertionError("it is not loaded")

    def not_loaded(self, after_s: float) -> NotAnswering:
        return NotAnswering(f"{after_s:.0f}")


@pytest.mark.services  # it measures the time, 2.5 s
def test_a_topic_that_does_not_come_is_given_up() -> None:
    with pytest.raises(NotAnswering, match=r"^[23]$"):
        anyio.run(loaded, SilentView())


def test_no_route_blocks_a_thread_without_a_bulkhead() -> None:
    """FastAPI runs a plain function in a thread that all routes share."""
    found = endpoints(create_app(Settings.model_construct(auth="off")).routes)
    assert len(found) > 80
    assert [endpoint.__qualname__ for endpoint in found if not iscoroutinefunction(endpoint)] == []


def endpoints(routes: Iterable[Any]) -> list[Callable[..., Any]]:
    """Of all routes that answer in the API's own form, those of included routers too."""
    found: list[Callable[..., Any]] = []
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            found += endpoints(inner.routes)
        elif isinstance(route, APIRoute):
            found.append(route.endpoint)
    return found
