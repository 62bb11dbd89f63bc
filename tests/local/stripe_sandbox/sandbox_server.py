"""A sandbox that serves in a thread, and the official client for it."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from aiohttp import web
from stripe import RequestsClient, StripeClient

from pipeline.local.stripe_sandbox.account import SandboxAccount
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.errors import unauthorized
from pipeline.local.stripe_sandbox.limits import SandboxLimits
from pipeline.local.stripe_sandbox.server import SandboxServer

KEY, RESTRICTED = "sk_test_sandbox", "rk_test_sandbox"


def account(rights: frozenset[str] = frozenset()) -> SandboxAccount:
    """An account with a secret key, and a restricted one with these rights."""
    return SandboxAccount("acct_sandbox", {KEY: frozenset({"*"}), RESTRICTED: rights})


class ManyAccounts(SandboxAccount):
    """Accounts that share customers and meters: each key that begins with `sk_test_` opens one of its own."""

    def __init__(self) -> None:
        super().__init__("acct_sandbox", {})
        self._key = ""

    def authorize(self, key: str, right: str) -> None:
        if not key.startswith("sk_test_"):
            raise unauthorized(key)
        self._key = key

    def json(self) -> dict[str, object]:
        return {**super().json(), "id": self._key.replace("sk_test_", "acct_")}


class ServedSandbox:
    """A context manager: the sandbox answers while it is open."""

    def __init__(self, sandbox: StripeSandbox | None = None, lost_s: float = 5.0) -> None:
        self.sandbox = sandbox or StripeSandbox(account(), SandboxClock(), SandboxLimits())
        self._lost_s = lost_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner, self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def client(self, key: str = KEY, timeout_s: float = 2.0) -> StripeClient:
        """The official client, without retries of its own."""
        return StripeClient(
            key,
            base_addresses={"api": self.url, "meter_events": self.url},
            max_network_retries=0,
            http_client=RequestsClient(timeout=timeout_s),
        )

    async def _start(self) -> tuple[web.AppRunner, str]:
        app = SandboxServer(self.sandbox, self._lost_s).app()
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"
