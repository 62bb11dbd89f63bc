"""The tasks of a dispatcher, which makes calls outside transactions: its loop, and one task for each call.

Owns: starting and ending them, and that an error of one ends the stage. Does not own: what is due (the dispatcher).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pipeline.engine.stage import Stage

_LOOP, _CALL = "loop", "call"


class DispatchTasks:
    """Runs in the stage's event loop."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Awaitable[None]) -> None:
        """Start a task that `stop_calls` does not wait for."""
        self._start(coroutine, _LOOP)

    def start_call(self, coroutine: Awaitable[None]) -> None:
        """Start a call."""
        self._start(coroutine, _CALL)

    def wake(self) -> None:
        """What is due has changed."""
        self._changed.set()

    async def loop(self, begin_due: Callable[[], float | None]) -> None:
        """Start what is due, for ever. begin_due: returns the seconds until the next may be due; None: nothing is."""
        while True:
            self._changed.clear()
            wait_s = begin_due()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def stop_calls(self, timeout_s: float) -> None:
        """Return when no call is in progress, or after `timeout_s`."""
        if calls := [task for task in self._tasks if task.get_name() == _CALL]:
            await asyncio.wait(calls, timeout=timeout_s)

    def cancel(self) -> None:
        """Cancel every task."""
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        """Return when every task has ended; to be called after `cancel`."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, coroutine: Awaitable[None], name: str) -> None:
        task = asyncio.ensure_future(coroutine)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stage.fail(error)
