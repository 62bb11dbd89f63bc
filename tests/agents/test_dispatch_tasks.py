"""The tasks of a dispatcher: calls end before it stops, an error ends the stage, a change wakes the loop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from pipeline.agents.dispatch_tasks import DispatchTasks


def made(errors: list[BaseException]) -> DispatchTasks:
    return DispatchTasks(cast(Any, SimpleNamespace(fail=errors.append)))


def test_calls_end_before_it_stops_and_its_loop_is_cancelled() -> None:
    async def run() -> tuple[list[str], list[BaseException]]:
        errors: list[BaseException] = []
        ended: list[str] = []
        tasks = made(errors)
        release = asyncio.Event()

        async def call() -> None:
            await release.wait()
            ended.append("call")

        tasks.start(tasks.loop(lambda: None))
        tasks.start_call(call())
        release.set()
        await tasks.stop_calls(5)
        tasks.cancel()
        await tasks.ended()
        return ended, errors

    assert asyncio.run(run()) == (["call"], [])


def test_a_call_that_takes_too_long_is_not_waited_for() -> None:
    async def run() -> bool:
        tasks = made([])
        began = asyncio.Event()

        async def call() -> None:
            began.set()
            await asyncio.Event().wait()

        tasks.start_call(call())
        await began.wait()
        await tasks.stop_calls(0.01)
        tasks.cancel()
        await tasks.ended()
        return True

    assert asyncio.run(run())


def test_an_error_of_a_task_ends_the_stage() -> None:
    async def run() -> list[BaseException]:
        errors: list[BaseException] = []
        tasks = made(errors)

        async def call() -> None:
            raise ValueError("broken")

        tasks.start_call(call())
        await tasks.stop_calls(5)
        await asyncio.sleep(0)
        return errors

    (error,) = asyncio.run(run())
    assert isinstance(error, ValueError)


def test_the_loop_begins_again_when_something_changes_and_when_time_has_passed() -> None:
    async def run() -> int:
        tasks = made([])
        waits: list[float | None] = [None, 0.001, None]
        third = asyncio.Event()
        begun = 0

        def begin_due() -> float | None:
            nonlocal begun
            begun += 1
            if begun == 3:
                third.set()
            return waits[begun - 1]

        tasks.start(tasks.loop(begin_due))
        await asyncio.sleep(0)
        tasks.wake()
        await asyncio.wait_for(third.wait(), 5)
        tasks.cancel()
        await tasks.ended()
        return begun

    assert asyncio.run(run()) == 3
