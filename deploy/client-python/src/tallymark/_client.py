"""The sync client: a thin shell with sockets and sleep around the core.

Owns: I/O. Does not own: any decision (_retry, _ingest, _api).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import cast

import httpx

from tallymark import _api, _fork, _wire
from tallymark._api import At, OneOrMore
from tallymark._batch import Batch
from tallymark._buffer import Buffer
from tallymark._errors import NotAccepted
from tallymark._event import AnyEvent, one_or_more, prepare
from tallymark._ingest import Delivered, Ingested, deliver, ingest
from tallymark._models import Usage, Window
from tallymark._pending import Bounds
from tallymark._request import Answer, Asking, Lost, T, Try
from tallymark._resources import resources
from tallymark._retry import Patience, patiently


class Client:
    """Sends events and queries usage. Safe for threads; after a fork the child gets its own connections.

    Args:
        url: Of the API, without /api/v1.
        key: `um_...`, which also selects the namespace; None if the server requires no key.
        deadline_s: Limit in seconds for one request with all its attempts.
        timeout_s: Longest silence in seconds within one attempt. The response to a new meter can take 30 s, since the
            server waits until all workers have loaded it.
        http: Your httpx client, for proxies or certificates, which you close.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        deadline_s: float = 60.0,
        timeout_s: float = 40.0,
        http: httpx.Client | None = None,
    ) -> None:
        self._wire = _wire.Wire(url, key)
        self._patience = Patience(deadline_s, timeout_s)
        self._own = http is None
        self._http = http or httpx.Client(limits=_wire.LIMITS, verify=self._wire.encrypts)
        _fork.register(self)
        every = resources(self._do)
        self.meters, self.events, self.customers, self.features, self.subjects, self.portal_tokens = every

    def ingest(self, events: AnyEvent | Iterable[AnyEvent]) -> Ingested:
        """Send one event or several, and return when the broker has stored all of them.

        A missing id or time is set once, before the first attempt, so that retries count once. Batches have at most
        1,000 events and 1 MiB; they are sent one after the other, and each is accepted as a whole or not at all.

        Raises:
            BadEvent: An event is invalid; nothing was sent.
            Refused, Unavailable, Broken: With `accepted` and `unaccepted`.
        """
        return self._do(ingest([prepare(event) for event in one_or_more(events)]))

    def buffered(
        self,
        max_events: int = 1_000,
        max_wait_s: float = 1.0,
        *,
        capacity: int = 10_000,
        capacity_bytes: int = 16_777_216,
        on_failure: Callable[[NotAccepted], object] | None = None,
    ) -> Buffer:
        """A buffer that sends from its own thread, for use in a `with` block.

        Args:
            max_events: A batch is sent when so many events wait,
            max_wait_s: or when the first has waited for so many seconds.
            capacity: `send` waits while the buffer holds so many events,
            capacity_bytes: or so many bytes.
            on_failure: Called from the thread with events that were not accepted. Without it, `flush` and the end of
                the block raise them.
        """
        return Buffer(self._deliver, Bounds(max_events, max_wait_s, capacity, capacity_bytes), on_failure)

    def query(
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
        """Usage of a meter with time in [from_, to): a row for each window and group that has events.

        Args:
            meter: Slug or id.
            from_: A datetime with zone, a date (its midnight in `tz`) or RFC 3339.
            to: Likewise.
            window: None: one total per group.
            tz: IANA zone of the windows; None: UTC.
            subject: Only usage of these; the rows are then by subject.
            customers: Only usage of these; the rows are then by customer.
            group_by: Dimensions of the meter.
            filters: For each dimension, the values to include.

        Raises:
            NotFound: There is no such meter.
            Refused: A parameter is invalid.
        """
        return self._do(
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

    def close(self) -> None:
        """Close the connections. Close buffers first."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def after_fork(self) -> None:
        """In a child: open own connections; those of the parent are not closed."""
        if self._own:
            self._parents, self._http = (
                self._http,
                httpx.Client(limits=_wire.LIMITS, verify=self._wire.encrypts),
            )

    def _deliver(self, batch: Batch) -> Delivered:
        return self._do(deliver(batch))

    def _do(self, asking: Asking[T], /) -> T:
        steps = patiently(asking, self._patience)
        outcome: Answer | Lost | None = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = None
                if isinstance(step, Try):
                    outcome = self._try(step)
                else:
                    time.sleep(step.seconds)
        except StopIteration as done:
            return cast(T, done.value)

    def _try(self, step: Try) -> Answer | Lost:
        try:
            return _wire.answer(self._http.request(**self._wire.arguments(step)))
        except httpx.RequestError as error:
            return _wire.lost(error)
