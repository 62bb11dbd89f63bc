"""HTTP under the official client of Stripe, with a check at the last moment before a call is written.

Owns: connections, their time limit, the check. Does not own: which calls are made, what an answer means (stripe_api),
retries (nothing here makes one).

A worker may be frozen at any point (SIGSTOP, a suspended machine) and wake up a day later within a call: it waits for a
connection, or its bytes are not written yet. So a caller may give a check (`within`). It is asked before the headers
and again before the body, without which Stripe executes nothing. Some microseconds remain between the check of the body
and the system call that writes it: a process that is frozen exactly there writes it afterwards.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import httpx
import stripe
from stripe import APIConnectionError, HTTPClient

MayWrite = Callable[[], bool]
CONNECTIONS = 100  # each is kept for the next call: opening one costs more than the call
BEFORE_BYTES = frozenset({"http11.send_request_headers.started", "http11.send_request_body.started"})

_may_write: ContextVar[MayWrite | None] = ContextVar("may_write", default=None)


class NotWritten(APIConnectionError):
    """The check forbade the call: Stripe has not got all of its bytes and executes nothing."""


@contextmanager
def within(may_write: MayWrite) -> Iterator[None]:
    """The calls of this task that begin here are made only if `may_write` allows it when their bytes are written."""
    token = _may_write.set(may_write)
    try:
        yield
    finally:
        _may_write.reset(token)


class StripeHttp(HTTPClient):
    """Connections to one address. timeout_s: of one call."""

    name = "httpx"

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        context = ssl.create_default_context(cafile=stripe.ca_bundle_path)
        kept = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._connections = httpx.AsyncClient(verify=context, timeout=timeout_s, limits=kept)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One call, as the official client makes it.

        Raises:
            NotWritten: see `within`.
            APIConnectionError: no answer came, or not in time.
        """
        may_write = _may_write.get()
        extensions = {} if may_write is None else {"trace": _check(may_write)}
        try:
            answer = await self._connections.request(
                method, url, headers=headers, content=post_data or None, extensions=extensions
            )
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            message = f"Stripe cannot be reached, or does not answer: {reason}"
            raise APIConnectionError(message) from error  # type: ignore[no-untyped-call]
        return answer.content, answer.status_code, answer.headers

    async def sleep_async(self, secs: float) -> None:
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        await self._connections.aclose()


def _check(may_write: MayWrite) -> Callable[[str, object], object]:
    async def trace(event: str, _: object) -> None:
        if event in BEFORE_BYTES and not may_write():
            raise NotWritten("The call may not be made any more.")  # type: ignore[no-untyped-call]

    return trace
