"""How fast access is answered, asked at a steady rate over keep-alive connections.

Owns: the asking, and quantiles. Does not own: the stack and who is entitled (alerts).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from random import Random
from urllib.parse import urlsplit

from pipeline.cli.http import authorization
from tests.bench.measure import cpu_s
from tests.flow.stack_process import StackProcess

FEATURE = "tokens"
CONNECTIONS = 64  # at most


def quantiles(taken: Sequence[float], scale: float = 1.0) -> str:
    if not taken:
        return "none"
    inorder = sorted(taken)
    p50, p99 = (inorder[min(len(inorder) - 1, int(len(inorder) * part))] * scale for part in (0.5, 0.99))
    return f"p50 {p50:8.2f}  p99 {p99:8.2f}  most {inorder[-1] * scale:8.2f}  of {len(inorder)}"


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in progress."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(RuntimeError("the connection was closed before the answer"))

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, split, body = self._got.partition(b"\r\n\r\n")
        if not split:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) >= length and self._answered is not None and not self._answered.done():
            self._got = b""
            self._answered.set_result((head, body))

    async def ask(self, message: bytes) -> tuple[bytes, bytes]:
        """Writes the bytes of a request; the head and the body of its answer."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._answered

    def close(self) -> None:
        """Ends the connection."""
        assert self._transport is not None
        self._transport.close()


async def checks(
    stack: StackProcess, names: Sequence[str], per_request: int, checks_s: int, seconds: float
) -> None:
    """Asks at a steady rate, whether or not answers come; prints the latency from the instant each was due."""
    settings = stack.settings
    (api,) = [pid for pid, words in stack.processes() if words[-1:] == ["api"]]
    address = urlsplit(settings.api_url)
    head = f"POST /api/v1/entitlements/check HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in authorization(settings).items())
    rng = Random(7)

    def request() -> bytes:
        wanted = [{"customer": rng.choice(names), "feature": FEATURE} for _ in range(per_request)]
        body = json.dumps({"checks": wanted}).encode()
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    prepared = [request() for _ in range(500)]
    loop, rate = asyncio.get_running_loop(), checks_s / per_request
    free: list[Connection] = []
    taken: list[float] = []
    at_once = asyncio.Semaphore(CONNECTIONS)

    async def ask(message: bytes, due_s: float) -> None:
        async with at_once:
            if not free:
                _, made = await loop.create_connection(Connection, settings.api_host, settings.api_port)
                free.append(made)
            one = free.pop()
            answer, body = await one.ask(message)
            if not answer.startswith(b"HTTP/1.1 200") or b'"hasAccess"' not in body:
                raise RuntimeError((answer + body).decode()[:400])
            taken.append(time.perf_counter() - due_s)
            free.append(one)

    for message in prepared[:200]:  # warm
        await ask(message, time.perf_counter())
    taken.clear()
    began_s, used_s, tasks = time.perf_counter(), cpu_s(api), set()
    for number in range(int(rate * seconds)):
        due_s = began_s + number / rate
        if (pause_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(pause_s)
        task = asyncio.ensure_future(ask(prepared[number % len(prepared)], due_s))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    took_s = time.perf_counter() - began_s
    print(
        f"check: {per_request} a request, {checks_s:,} checks/s asked, "
        f"{len(taken) * per_request / took_s:,.0f} answered; ms {quantiles(taken, 1e3)}, "
        f"{len(free)} connections; the API used {(cpu_s(api) - used_s) / len(taken) * 1e6:,.0f} CPU us a request",
        flush=True,
    )
