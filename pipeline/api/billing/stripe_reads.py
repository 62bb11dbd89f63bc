"""Reads of Stripe that a request of the API makes: with the app's own key, and at a bounded rate.

Owns: opening an app's key, which keys may go where. Does not own: the calls (stores.stripe_api), the rate of this
process (http.pace), the budget of the stage that sends (core.billing.stripe_budget).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from pipeline.api.http.services import Services
from pipeline.core.billing.app import StripeApp, place
from pipeline.core.values.sealed import Seal
from pipeline.errors import Rejected
from pipeline.stores.stripe_api import StripeApi

LIVE = ("sk_live_", "rk_live_")


@asynccontextmanager
async def opened(services: Services, namespace: str, app: StripeApp) -> AsyncIterator[StripeApi]:
    """The client of an app's account.

    Raises:
        Rejected: `stripe-key-refused`: Stripe refused the key before, it cannot be opened, or it is a live key while
            the setting `stripe_address` names a counterpart.
    """
    key = secret_of(services, namespace, app.sealed_api_key)
    address = services.settings.stripe_address
    if address and key.startswith(LIVE):
        raise Rejected(
            "stripe-key-refused",
            "A live key is not used while stripe_address is set: it would be sent to a sandbox.",
        )
    api = StripeApi(key, address, services.settings.stripe_timeout_s)
    try:
        yield api
    finally:
        await api.close()


class StripeClients:
    """The clients that one request uses: one for each app, made when it is first asked for."""

    def __init__(self, services: Services, namespace: str) -> None:
        self._services, self._namespace = services, namespace
        self._open = AsyncExitStack()
        self._clients: dict[str, StripeApi] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def of(self, app: StripeApp) -> StripeApi:
        """The client of an app. Raises as `opened`."""
        if app.id not in self._clients:
            made = await self._open.enter_async_context(opened(self._services, self._namespace, app))
            self._clients[app.id] = made
        return self._clients[app.id]


def secret_of(services: Services, namespace: str, sealed: str) -> str:
    """What a namespace's app has sealed. Raises Rejected `stripe-key-refused` where `secrets_key` does not open it."""
    seal = Seal.of(services.settings.secrets_key.get_secret_value())
    try:
        return seal.open(sealed, place(namespace))
    except Rejected as error:
        raise Rejected(
            "stripe-key-refused", f"The key of the app cannot be opened. {error.detail}"
        ) from error
