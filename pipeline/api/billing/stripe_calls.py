"""Questions of the API to Stripe: with which key, behind which bulkhead, for how long.

Owns: the form of a key, opening an app's sealed key, that a live key goes to Stripe alone. Does not own: the calls
(stores.stripe_api, stores.stripe_key), what follows from an answer (the routes).

A question runs in a thread of Stripe's bulkhead with an event loop of its own: each key has its own client, and a slow
Stripe uses up its own turns only.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from fastapi import Request

from pipeline.api.http.auth import namespace_of
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import definitions
from pipeline.core.billing.app import App, StripeApp, masked, stripe_accounts
from pipeline.core.billing.app import place as place_of
from pipeline.core.values.sealed import NONCE_BYTES, Seal
from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stores.stripe_api import MeterAtStripe, StripeApi
from pipeline.stores.stripe_key import check_key

T = TypeVar("T")
_KEY = re.compile(r"[sr]k_(test|live)_[A-Za-z0-9_]{1,400}", re.ASCII).fullmatch
_WEBHOOK_SECRET = re.compile(
    r"whsec_[A-Za-z0-9_+/=]{1,200}( whsec_[A-Za-z0-9_+/=]{1,200})?", re.ASCII
).fullmatch


async def ask(request: Request, key: str, call: Callable[[StripeApi], Awaitable[T]]) -> T:
    """The answer of Stripe to one question with a key.

    Raises:
        Rejected: `bad-app` for a live key where `stripe_address` is set; else as `call` does.
        Unavailable: Stripe does not answer in time, or all its turns are taken.
    """
    services = services_of(request)
    _refuse_live(key, services.settings)
    return await services.bulkheads.stripe.run(partial(_ask, services.settings, key, call))


def _ask(settings: Settings, key: str, call: Callable[[StripeApi], Awaitable[T]]) -> T:
    async def answer() -> T:
        api = StripeApi(key, settings.stripe_address, settings.stripe_timeout_s)
        try:
            async with asyncio.timeout(settings.stripe_timeout_s):
                return await call(api)
        except TimeoutError:
            raise Unavailable(
                f"Stripe is unavailable: it did not answer within {settings.stripe_timeout_s:g} s."
            ) from None
        finally:
            await api.close()

    return asyncio.run(answer())


def _refuse_live(key: str, settings: Settings) -> None:
    if settings.stripe_address and "_live_" in key:
        raise Rejected(
            "bad-app",
            f"The setting stripe_address is {settings.stripe_address}, which is not Stripe: a live key is not sent "
            "there.",
        )


async def checked_key(request: Request, key: str) -> dict[str, object]:
    """What `app.install`, `app.update` and `app.rotate` need to know of a key: it is asked of Stripe.

    Raises:
        Rejected: `stripe-key-refused`, with Stripe's own message.
        Unavailable: Stripe does not answer.
    """
    account = await ask(request, key, check_key)
    return {
        "stripeAccountId": account.id, "livemode": account.livemode, "maskedApiKey": masked(key),
    }  # fmt: skip


def key_in(body: Mapping[str, object], member: str) -> str | None:
    """The key of Stripe that a body has; None for none. Raises Rejected `bad-app` for what is no such key."""
    key = body.get(member)
    if key is None:
        return None
    if not isinstance(key, str) or not _KEY(key):
        raise Rejected(
            "bad-app",
            f"app {member} must be a secret or restricted key of Stripe: sk_test_..., rk_test_..., sk_live_... or "
            "rk_live_...",
        )
    return key


def sealed_key(request: Request, key: str) -> str:
    """A key as it is written to a topic. Raises Rejected `bad-app` where nothing can be sealed."""
    keys = services_of(request).settings.secrets_key.get_secret_value()
    if not keys:
        raise Rejected("bad-app", "Keys of Stripe are stored only encrypted: set secrets_key first.")
    return Seal.of(keys).close(key, place_of(namespace_of(request)), secrets.token_bytes(NONCE_BYTES))


def sealed_webhook_secret(request: Request, body: Mapping[str, object]) -> dict[str, object]:
    """The member `webhookSecret` of a command, where the body has one. Raises Rejected `bad-app`."""
    secret = body.get("webhookSecret")
    if secret is None:
        return {}
    if not isinstance(secret, str) or not _WEBHOOK_SECRET(secret):
        raise Rejected(
            "bad-app",
            "app webhookSecret must be a signing secret of Stripe, whsec_..., or two with a space between",
        )
    return {"webhookSecret": sealed_key(request, secret)}


def open_key(request: Request, app: StripeApp) -> str:
    """The key of an app. Raises Rejected `sealed` where `secrets_key` does not open it."""
    keys = services_of(request).settings.secrets_key.get_secret_value()
    return Seal.of(keys).open(app.sealed_api_key, place_of(namespace_of(request)))


def app_of(request: Request, id: object) -> StripeApp:
    """The app that a request names; where it names none, the namespace's only one.

    Raises:
        Rejected: `not-found` for an unknown or uninstalled app; `app-conflict` where several could be meant.
    """
    installed = stripe_accounts(definitions(request).all(App, namespace_of(request)))
    if id is not None:
        installed = [one for one in installed if one.id == id]
    if not installed:
        raise Rejected(
            "not-found",
            "There is no Stripe app." if id is None else f"There is no app with the id {str(id)[:64]}.",
        )
    if len(installed) > 1:
        raise Rejected("app-conflict", "There are several Stripe apps: name one by its id.")
    return installed[0]


async def meter_at_stripe(request: Request, app: StripeApp, event_name: str) -> MeterAtStripe | None:
    """Stripe's meter for an event name: the active one, else one that is archived, else None."""
    meters = await ask(request, open_key(request, app), lambda api: api.meters())
    named = [one for one in meters if one.event_name == event_name]
    return next((one for one in named if one.active), named[-1] if named else None)


async def check_customer(request: Request, app: StripeApp, stripe_id: object) -> None:
    """Raises Rejected `bad-customer-app` unless Stripe has the customer."""
    if not isinstance(stripe_id, str) or not stripe_id.startswith("cus_"):
        return  # control refuses it
    if not await ask(request, open_key(request, app), lambda api: api.customer_exists(stripe_id)):
        raise Rejected(
            "bad-customer-app",
            f"customer-app stripeCustomerId {stripe_id[:64]} is no customer of the Stripe account "
            f"{app.stripe_account_id}",
        )
