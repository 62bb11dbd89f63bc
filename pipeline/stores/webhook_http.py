"""Sends webhooks over HTTP: one POST and its response, never to an address that only this network can reach.

Owns: connections, the address of a connection, the limits of time and size. Does not own: which addresses are allowed
(core.notifications.safe_address), the signature and the meaning of a response (core.notifications.standard_webhooks),
when to send (agents.webhook_dispatch). A host name is resolved once per connection, all its addresses are checked, and
the connection uses one of them, with the name in SNI and Host. Redirects, proxies of the environment, cookies and
decompression are off.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.core.notifications.safe_address import STRICT, AddressPolicy, check_addresses, target
from pipeline.errors import Rejected

# The response body is read and discarded, up to these limits: a connection can only be reused after its end.
ANSWER_BYTES = 64 << 10
ANSWER_S = 1.0
CONNECTIONS = 1_024
CONNECT_S = 5.0
KEPT_OPEN_S = 15.0
RESOLVING_THREADS = 32
ERROR_CHARACTERS = 300
USER_AGENT = "Tallymark"

#: Headers that an endpoint cannot override, besides those that begin with `webhook-`.
RESERVED = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive",
    "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
})  # fmt: skip

Resolve = Callable[[str, int], Awaitable[list[str]]]  # host, port -> addresses


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one POST. status 0: no response, and `error` has the reason. The response body is discarded."""

    status: int
    duration_ms: int
    error: str = ""
    retry_after: str | None = None


class Sender:
    """A pool of connections for webhooks only. Use it inside one event loop, and `close` it at the end.

    Args:
        timeout_s: Limit of one POST, including name resolution.
        policy: Which addresses are allowed.
        resolve: For tests; the default is the system's resolver.
        trusted: PEM file of additional CA certificates; empty: none.
    """

    def __init__(
        self,
        timeout_s: float,
        policy: AddressPolicy = STRICT,
        *,
        resolve: Resolve | None = None,
        trusted: str = "",
    ) -> None:
        self._policy = policy
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(RESOLVING_THREADS, thread_name_prefix="resolve")
        self._resolve = resolve or self._by_system
        self._tls = _tls(trusted)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST `body`. Failures of the receiver, its name or its URL are returned, never raised."""
        began_s = time.monotonic()
        status, error, retry_after = 0, "", None
        try:
            goal = target(url, self._policy)
            async with (
                asyncio.timeout(self._timeout_s),
                self._open_session().post(
                    goal.url, data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                status, retry_after = response.status, response.headers.get("Retry-After")
                await _discard_body(response)
        except Rejected as refusal:
            error = refusal.detail
        except TimeoutError:
            error = error if status else f"No response within {self._timeout_s:g} s."
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = "" if status else _sentence(failure)
        duration_ms = int((time.monotonic() - began_s) * 1_000)
        return Answer(status, duration_ms, error[:ERROR_CHARACTERS], retry_after)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        self._threads.shutdown(wait=False)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS,
                ssl=self._tls,
                resolver=_Checked(self._resolve, self._policy),
                use_dns_cache=False,
                keepalive_timeout=KEPT_OPEN_S,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                headers={"User-Agent": USER_AGENT},
            )
        return self._session

    async def _by_system(self, host: str, port: int) -> list[str]:
        """Resolve in separate threads, so that a slow name server delays only its own callers."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Checked(AbstractResolver):
    """A resolver that checks addresses: if one address of a name is not allowed, there is no connection."""

    def __init__(self, resolve: Resolve, policy: AddressPolicy) -> None:
        self._resolve = resolve
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._resolve(host, port)
        check_addresses(host, port, addresses, self._policy)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Do nothing: there are no resources."""


def custom_headers(wanted: Mapping[str, object]) -> dict[str, str]:
    """The custom headers of an endpoint, without reserved ones."""
    return {
        name: str(value)
        for name, value in wanted.items()
        if name.lower() not in RESERVED and not name.lower().startswith("webhook-")
    }


async def _discard_body(response: aiohttp.ClientResponse) -> None:
    """Read a short body, so that the connection can be reused; close the connection of a long or slow one."""
    left = ANSWER_BYTES
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(ANSWER_S):
            while left > 0 and (part := await response.content.read(left)):
                left -= len(part)
    if not response.content.at_eof():
        response.close()


def _tls(trusted: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if trusted:
        context.load_verify_locations(trusted)
    return context


def _sentence(failure: Exception) -> str:
    """A sentence that helps the owner of the endpoint."""
    if isinstance(failure, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return "The name of the host cannot be resolved."
    if isinstance(failure, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return "The certificate of the receiver is not trusted, or it is for another name."
    if isinstance(failure, aiohttp.ClientSSLError | ssl.SSLError):
        return "The TLS handshake failed."
    if isinstance(failure, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return "The connection was refused, or the host cannot be reached."
    return f"The response was not valid HTTP, or the connection was closed early ({type(failure).__name__})."
