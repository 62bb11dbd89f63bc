"""Sends webhooks over HTTP: one POST, its answer, and no way to anything that only we can reach.

Owns: the connections, which address is connected to, how long and how much is read. Does not own: what may be reached
(core.notifications.safe_address), what is signed or what an answer means (core.notifications.standard_webhooks), when
(agents.webhook_dispatch). A name is resolved once for a connection, all its addresses are checked, and the connection
goes to one of those, with the name in SNI and Host. No redirects, no proxies of the environment, no cookies, nothing is
decompressed.
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

ANSWER_BYTES = (
    64 << 10
)  # read of an answer's body, and thrown away: a connection can be used again only behind it
ANSWER_S = 1.0  # waited for that, at most
CONNECTIONS = 1_024
CONNECT_S = 5.0
KEPT_OPEN_S = 15.0
RESOLVING_THREADS = 32
ERROR_CHARACTERS = 300
USER_AGENT = "Tallymark"

#: What endpoints cannot set by custom headers, beside everything that begins with `webhook-`.
RESERVED = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive",
    "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
})  # fmt: skip

Resolve = Callable[[str, int], Awaitable[list[str]]]  # host, port -> addresses


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one POST. status 0: no answer, and `error` says why. The body is nobody's business."""

    status: int
    duration_ms: int
    error: str = ""
    retry_after: str | None = None


class Sender:
    """A pool of connections for webhooks only. Use inside one event loop; `close` at the end.

    resolve: for tests; by default the system's resolver. trusted: further CA certificates, a PEM file.
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
        """POST `body`. Never raises for what a receiver, its name or its URL does."""
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
                await _throw_away(response)
        except Rejected as refusal:
            error = refusal.detail
        except TimeoutError:
            error = error if status else f"No answer within {self._timeout_s:g} s."
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
        """In threads of its own: a slow name server delays only who waits for it."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Checked(AbstractResolver):
    """What a connection is made to: every address of the name is allowed, or there is no connection."""

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
        """Nothing is held."""


def custom_headers(wanted: Mapping[str, object]) -> dict[str, str]:
    """An endpoint's own headers without those that are not its to set."""
    return {
        name: str(value)
        for name, value in wanted.items()
        if name.lower() not in RESERVED and not name.lower().startswith("webhook-")
    }


async def _throw_away(response: aiohttp.ClientResponse) -> None:
    """Read a short body, so that the connection can be used again; of a long or slow one, end the connection."""
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
    """What an endpoint's owner can do something with."""
    if isinstance(failure, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return "The name of the host cannot be resolved."
    if isinstance(failure, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return "The receiver's certificate is not trusted, or is for another name."
    if isinstance(failure, aiohttp.ClientSSLError | ssl.SSLError):
        return "No TLS connection came about."
    if isinstance(failure, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return "Nobody answers at that address and port."
    return f"The answer was not HTTP, or broke off ({type(failure).__name__})."
