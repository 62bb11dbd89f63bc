"""The async client: a thin shell with sockets and sleep around the core, for asyncio.

Owns: I/O. Does not own: any decision (_retry, _ingest, _api).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import cast

import httpx

from tallymark import _api, _wire
from tallymark._api import At, OneOrMore
from tallymark._async_buffer import AsyncBuffer
from tallymark._async_resources import resources
from tallymark._batch import Batch
from tallymark._errors import NotAccepted
from tallymark._event import AnyEvent, one_or_more, prepare
from tallymark._ingest import Delivered, Ingested, deliver, ingest
from tallymark._models import Usage, Window
from tallymark._pending import Bounds
from tallymark._request import Answer, Asking, Lost, T, Try
from tallymark._retry import Patience, patiently


class AsyncClient:
    """`Client` for asyncio: the same calls, awaited. For one loop; after a fork make another."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        deadline_s: float = 60.0,
        timeout_s: float = 40.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._wire = _wire.Wire(url, key)
        self._patience = Patience(deadline_s, timeout_s)
        self._own = http is None
        self._http = http or httpx.AsyncClient(limits=_wire.LIMITS, verify=self._wire.encrypts)
        every = resources(self._do)
        self.meters, self.events, self.customers, self.features, self.subjects, self.portal_tokens = every

    async def ingest(self, events: AnyEvent | Iterable[AnyEvent]) -> Ingested:
        """Send one event or several, and return when the broker has stored all of them. See `Client.ingest`."""
        return await self._do(ingest([prepare(event) for event in one_or_more(events)]))

    def buffered(
        self,
        max_events: int = 1_000,
        max_wait_s: float = 1.0,
        *,
        capacity: int = 10_000,
        capacity_bytes: int = 16_777_216,
        on_failure: Callable[[NotAccepted], object] | None = None,
    ) -> AsyncBuffer:
        """A buffer that sends from its own task, for use in an `async with` block. See `Client.buffered`."""
        return AsyncBuffer(
            self._deliver, Bounds(max_events, max_wait_s, capacity, capacity_bytes), on_failure
        )

    async def query(
        self,
        meter: str,
        *,
        from_: At | None = None,
        to: At | None = None,
        window: Window | None = None,
        tz: str | None = None,
        subject: OneOrMore = (),
        customers: OneOrMore = (),
        group_by: OneOrMore = (),
        filters: Mapping[str, OneOrMore] | None = None,
    ) -> list[Usage]:
        """Usage of a meter with time in [from_, to): a row for each window and group. See `Client.query`."""
        return await self._do(
            _api.query(
                meter,
                from_=from_,
                to=to,
                window=window,
                tz=tz,
                subject=subject,
                customers=customers,
                group_by=group_by,
                filters=filters or {},
            )
        )

    async def close(self) -> None:
        """Close the connections. Close buffers first."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _deliver(self, batch: Batch) -> Delivered:
        return await self._do(deliver(batch))

    async def _do(self, asking: Asking[T], /) -> T:
        steps = patiently(asking, self._patience)
        outcome: Answer | Lost | None = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = None
                if isinstance(step, Try):
                    outcome = await self._try(step)
                else:
                    await asyncio.sleep(step.seconds)
        except StopIteration as done:
            return cast(T, done.value)

    async def _try(self, step: Try) -> Answer | Lost:
        try:
            return _wire.answer(await self._http.request(**self._wire.arguments(step)))
        except httpx.RequestError as error:
            return _wire.lost(error)
