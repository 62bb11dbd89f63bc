"""How Stripe gets to know where to report: an event destination for usage it did not count, one for invoices.

Owns: creating and deleting them at Stripe, what is to be done by hand where that is not possible. Does not own:
receiving reports (stripe_webhook).
"""

from __future__ import annotations

from functools import partial

from fastapi import Request

from pipeline.api.billing.stripe_calls import ask, open_key, sealed_key
from pipeline.api.http.auth import namespace_of
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import CommandBody, body_of, definitions, submit_in_turn
from pipeline.core.billing.app import HAS_SECRET, App, StripeApp
from pipeline.core.invoices.stripe_event import EVENT_TYPES, kind_of
from pipeline.errors import Rejected, Unavailable
from pipeline.stores.stripe_api import DestinationAtStripe, StripeApi

THIN = [type for type in EVENT_TYPES if kind_of(type) == "usage"]
SNAPSHOTS = [type for type in EVENT_TYPES if kind_of(type) not in ("usage", "customer")]
EVENTS = [*THIN, *SNAPSHOTS]


async def set_up(request: Request, app: CommandBody, key: str) -> tuple[CommandBody, CommandBody]:
    """Create the event destinations of an app, if the setting `public_url` is set and the app has none.

    An installation is not refused because of it: what Stripe answered is in the hint.

    Args:
        request: that installed the app.
        app: as answers show it.
        key: of the account.

    Returns:
        The app, and how Stripe reports to it.
    """
    public, id = services_of(request).settings.public_url.rstrip("/"), str(app["id"])
    url = f"{public}/api/v1/apps/{id}/stripe/webhook"
    by_hand = (
        "Create two event destinations in Stripe's dashboard, one with thin events for the types that begin with v1, "
        "one with snapshots for the others, that send to "
        f"{url if public else 'this path of the URL at which Stripe reaches the API'}, then send their signing secrets "
        f"with a space between as webhookSecret: PUT /api/v1/apps/{id}."
    )
    stored = definitions(request).find(App, namespace_of(request), id)
    if stored is not None:
        app = stored.shown  # the answer to a repeated request may be older
    if app[HAS_SECRET] or "deletedAt" in app:
        return app, _setup(url, "Nothing: the app has a signing secret, or was uninstalled.")
    if not public:
        return app, _setup(url, by_hand)
    try:
        made = await ask(request, key, lambda api: _create(api, url, id))
    except (Rejected, Unavailable) as error:
        return app, _setup(url, f"{by_hand} It could not be created by itself: {error}")
    added = {
        "webhookSecret": sealed_key(request, " ".join(one.secret for one in made)),
        "stripeDestinationId": " ".join(one.id for one in made),
    }
    app = body_of(await submit_in_turn(request, "app.webhook", {"id": id}, added, follows=True))
    return app, _setup(url, "Nothing: the event destinations were created at Stripe.")


async def remove(request: Request, app: StripeApp) -> None:
    """Delete the event destinations at Stripe that `set_up` created. Without an answer of Stripe they stay there."""
    for one in (app.stripe_destination_id or "").split():
        try:
            await ask(request, open_key(request, app), partial(_delete, id=one))
        except (Rejected, Unavailable):
            return  # Stripe's deliveries to it are refused, and Stripe disables it


async def _create(api: StripeApi, url: str, id: str) -> list[DestinationAtStripe]:
    return [
        await api.create_destination(url, THIN, "thin", f"tallymark-{id}"),
        await api.create_destination(url, SNAPSHOTS, "snapshot", f"tallymark-{id}-invoices"),
    ]


async def _delete(api: StripeApi, id: str) -> None:
    await api.delete_destination(id)


def _setup(url: str, hint: str) -> CommandBody:
    return {"url": url, "events": EVENTS, "hint": hint}
