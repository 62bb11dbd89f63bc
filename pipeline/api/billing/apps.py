"""`/apps`: what is installed, and accounts of Stripe, in OpenMeter's JSON.

Owns: the routes. Does not own: which apps there may be (core.billing.app_commands), installing one that needs no key
(keyless_apps), calls to Stripe (stripe_calls), how Stripe reports errors (stripe_webhook_setup). A key exists in plain
text only in its request and in the call that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar

from fastapi import Body, Depends, Request, Response

from pipeline.api.billing.answers import AppAnswer, AppInstalledAnswer, AppPage
from pipeline.api.billing.bodies import AppBody, AppInstallBody, AppKeyBody
from pipeline.api.billing.stripe_calls import checked_key, key_in, sealed_key, sealed_webhook_secret
from pipeline.api.billing.stripe_webhook_setup import remove, set_up
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paging import PagedInOrder, ordered, paginated
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import audited, body_of, definitions, submit_in_turn, with_id
from pipeline.core.billing.app import App, StripeApp
from pipeline.core.billing.app_commands import CHECKED, INSTALL_MEMBERS, UPDATE_MEMBERS, WRITTEN
from pipeline.core.billing.apps_now import AppsNow
from pipeline.core.definitions.kinds import APP
from pipeline.errors import Rejected
from pipeline.records import Reply

router = Router(tags=["billing"])
READ, WRITE = [Depends(needs("query"))], [Depends(needs("billing:write"))]
KEY_REASONS = ["bad-app", "stripe-key-refused", "stripe-refused"]
JsonBody = Annotated[dict[str, Any], Body()]
AppJson = dict[str, Any]
T = TypeVar("T")


@router.post(
    "/marketplace/listings/stripe/install/apikey",
    summary="Connect an account of Stripe",
    dependencies=WRITE,
    **described(AppInstallBody, AppInstalledAnswer, reasons=[*KEY_REASONS, "app-conflict"]),
)
async def install(request: Request, body: JsonBody) -> AppJson:
    """The key is tried at once: a wrong one is refused, and a restricted one with a sentence that names what it lacks.

    It needs the rights to read the account, customers, meters and their summaries, and to send meter events; as the app
    of a billing profile also to write customers and invoices. An account is connected once in a namespace. The answer
    names the endpoint that Stripe needs to report usage which it did not count, and what becomes of invoices; its
    signing secret is set by `PUT /apps/{appId}` with `webhookSecret`.
    """
    if body.get("createBillingProfile") not in (None, False):
        raise Rejected(
            "bad-app", "app createBillingProfile must be false or absent: create the profile that has the app"
        )
    asked = {name: value for name, value in body.items() if name != "createBillingProfile"}
    app = body_of(await _with_key(request, "app.install", asked, "apiKey", INSTALL_MEMBERS))
    app, webhook = await set_up(request, app, str(asked["apiKey"]))
    return {"app": app, "defaultForCapabilityTypes": [], "webhook": webhook}


@router.get("/apps", summary="Apps", dependencies=READ, **described(answer=AppPage))
def list_apps(request: Request, page: PagedInOrder) -> AppJson:
    """One page of what is installed, oldest first, without keys. Every namespace has a sandbox from the beginning."""
    found = _look_up(request, lambda apps: [app.shown for app in apps.installed()])
    return paginated(ordered(found, None, ("id",), page), page)


@router.get("/apps/{appId}", summary="One app", dependencies=READ, **described(answer=AppAnswer))
def get_app(request: Request, appId: str) -> AppJson:
    """Also when it was uninstalled, then with `deletedAt`."""
    app = _look_up(request, lambda apps: apps.find(appId))
    if app is None:
        raise Rejected("not-found", f"There is no app with the id {appId[:64]}.")
    return app.shown


@router.put(
    "/apps/{appId}",
    summary="Replace an app",
    dependencies=WRITE,
    **described(AppBody, AppAnswer, reasons=KEY_REASONS),
)
async def update_app(request: Request, appId: str, app: JsonBody) -> AppJson:
    """Replaces name, description and metadata, and of custom_invoicing the hooks.

    The key of Stripe and the webhook's secret stay unless others are sent.
    A key must be of the same account, and a test key cannot replace a live one or the reverse.
    """
    asked, known = with_id(APP, app, appId), (*UPDATE_MEMBERS, *WRITTEN)
    return body_of(await _with_key(request, "app.update", asked, "secretAPIKey", known))


@router.put(
    "/apps/{appId}/stripe/api-key",
    status_code=204,
    summary="Replace the key of a Stripe app",
    dependencies=WRITE,
    **described(AppKeyBody, status=204, reasons=KEY_REASONS),
)
async def update_key(request: Request, appId: str, key: JsonBody) -> Response:
    """Also by the same key after it got more rights: sending begins again."""
    await _with_key(request, "app.rotate", with_id(APP, key, appId), "secretAPIKey", ("id", "secretAPIKey"))
    return Response(status_code=204)


@router.delete(
    "/apps/{appId}",
    status_code=204,
    summary="Uninstall an app",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-app", "app-conflict"]),
)
async def uninstall(request: Request, appId: str) -> Response:
    """Refused while a billing profile has it. Nothing more is sent to the account.

    Its mappings end, and its key is dropped.

    An event destination that was created at Stripe is deleted there, if Stripe answers.
    """
    await loaded(services_of(request).definitions)
    app = definitions(request).find(App, namespace_of(request), appId)
    await submit_in_turn(request, "app.uninstall", {"id": appId})
    if isinstance(app, StripeApp) and not app.is_deleted:
        await remove(request, app)
    return Response(status_code=204)


def _look_up(request: Request, question: Callable[[AppsNow], T]) -> T:
    """The answer to a question about the apps of the request's namespace. Raises Unavailable."""
    namespace = namespace_of(request)
    return definitions(request).look_up(lambda index: question(AppsNow(index, namespace)))


async def _with_key(
    request: Request, kind: str, asked: AppJson, member: str, known: Collection[str]
) -> Reply:
    """Submit a command with the sealed key that the body has, after Stripe took it.

    known: members of the body. One that is unknown is refused by control, and goes to no topic with its value, which
    may be a key.
    """
    await loaded(services_of(request).definitions)
    named = {"id": asked["id"]} if "id" in asked else {}
    added = await audited(request, kind, named, _sealed(request, asked, member, known))
    return await submit_in_turn(request, kind, asked, added)


async def _sealed(request: Request, asked: AppJson, member: str, known: Collection[str]) -> AppJson:
    """What is put into the command: the sealed key, what Stripe has of its account, and nothing of unknown members."""
    added: AppJson = {name: None for name in asked if name not in known}
    added |= sealed_webhook_secret(request, asked)
    key = key_in(asked, member)
    if key is not None:
        added[member] = sealed_key(request, key)
        if all(name in known for name in asked):
            added[CHECKED] = await checked_key(request, key)
    return added
