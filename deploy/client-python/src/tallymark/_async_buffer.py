"""The buffer of the async client: one task that sends the events of its callers.

Owns: the task. Does not own: bounds (_pending), delivery (_ingest, the client).
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

from tallymark._batch import Batch
from tallymark._errors import Failure, NotAccepted, TallymarkError
from tallymark._event import AnyEvent, prepare
from tallymark._ingest import Delivered, IngestWarning
from tallymark._pending import Bounds, Pending


class AsyncBuffer:
    """Collects events and sends them in batches from its own task. Created by `AsyncClient.buffered`.

    For the tasks of one asyncio loop. Nothing is lost silently: what was not accepted is raised by `flush`, by the
    end of the `async with` block, or goes to `on_failure`.
    """

    def __init__(
        self,
        deliver: Callable[[Batch], Awaitable[Delivered]],
        bounds: Bounds,
        on_failure: Callable[[NotAccepted], object] | None = None,
    ) -> None:
        self._deliver = deliver
        self._on_failure = on_failure
        self._pending = Pending(bounds.check())
        self._work = asyncio.Event()
        self._settled = (
            asyncio.Event()
        )  # of the batch under way: each has its own, so that no waiter misses it
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def send(self, event: AnyEvent) -> None:
        """Takes the event in, with id and time made now. Waits while the buffer is full: that is the back-pressure.

        Raises BadEvent; RuntimeError once closed; and NotAccepted, with this event among the others, once as many
        have failed as the buffer may hold.
        """
        prepared = prepare(event)
        self._refuse_closed()
        self._ensure_task()
        while not self._pending.has_room(prepared) and not self._pending.brims():
            await self._wait_settled()
        self._refuse_closed()
        if self._pending.brims():
            why = TallymarkError("too many events before it have failed")
            error = self._pending.not_accepted(Failure(prepared, why))
            assert error is not None
            raise error
        if self._pending.put(prepared, time.monotonic()):
            self._work.set()

    async def flush(self) -> None:
        """Returns when all events sent before have been accepted. Raises NotAccepted with those that were not."""
        until = self._pending.flush()
        self._work.set()
        while self._pending.settled < until:
            self._ensure_task()
            await self._wait_settled()
        error = self._pending.not_accepted()
        if error is not None:
            raise error

    async def close(self) -> None:
        """Flush, and end the task. Raises NotAccepted. A second call has no effect."""
        self._closed = True
        try:
            await self.flush()
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])

    @property
    def warnings(self) -> tuple[IngestWarning, ...]:
        """The newest 1,000 warnings of the server; `first` is the place in its batch."""
        return tuple(self._pending.warnings)

    async def __aenter__(self) -> AsyncBuffer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this buffer is closed")

    def _ensure_task(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="tallymark-buffer")

    async def _wait_settled(self) -> None:
        await self._settled.wait()

    async def _run(self) -> None:
        try:
            while True:
                await self._send_next()
        except asyncio.CancelledError:
            lost = self._pending.unsettled()
            if lost:
                text = (
                    f"a buffer ended with {lost} events not accepted: use `async with`, or await its close()"
                )
                warnings.warn(text, RuntimeWarning, stacklevel=1)
            raise

    async def _send_next(self) -> None:
        batch = await self._next()
        delivered = Delivered(
            tuple(Failure(event, TallymarkError("cancelled while under way")) for event in batch)
        )
        try:
            delivered = await self._try(batch)
        finally:
            self._pending.settle(batch, delivered)
            self._settled.set()
            self._settled = asyncio.Event()

    async def _next(self) -> Batch:
        """Wait for the next batch that is due."""
        while (due_in_s := self._pending.due_in_s(time.monotonic())) != 0:
            self._work.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._work.wait(), due_in_s)
        return self._pending.take()

    async def _try(self, batch: Batch) -> Delivered:
        try:
            delivered = await self._deliver(batch)
        except Exception as error:
            delivered = Delivered(tuple(Failure(event, error) for event in batch))
        if not delivered.failures or self._on_failure is None:
            return delivered
        try:
            self._on_failure(NotAccepted(delivered.failures))
        except Exception:  # the failures are kept, and raised later
            return delivered
        return Delivered((), delivered.warnings)
