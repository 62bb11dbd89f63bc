"""`/notification/channels`: where webhooks go; OpenMeter's name for endpoints. `/endpoints`: what is ours of them.

Owns: making and sealing secrets, the routes. Does not own: what an endpoint may be (core.notifications.endpoint),
sending (webhook). A secret exists in plain text in the answer that shows it first, and then only where it signs.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import Paged, ordered, paginated
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import body_of, definitions, submit, with_id
from pipeline.api.notifications.answers import ChannelAnswer, ChannelPage, NewChannelAnswer, ReplayAnswer
from pipeline.api.notifications.bodies import ChannelBody, ReplayBody, SecretRotationBody
from pipeline.core.notifications.endpoint import Endpoint
from pipeline.core.notifications.endpoint import place as place_of
from pipeline.core.notifications.safe_address import target
from pipeline.core.notifications.standard_webhooks import secret_text, signing_key
from pipeline.core.values.sealed import NONCE_BYTES, Seal
from pipeline.errors import Rejected
from pipeline.stores.webhook_policy import policy_of

# Reading needs it too: custom headers may hold what opens the receiver.
router = Router(
    prefix="/notification/channels", tags=["notifications"], dependencies=[Depends(needs("webhooks:write"))]
)
ours = Router(prefix="/endpoints", tags=["notifications"], dependencies=[Depends(needs("webhooks:write"))])
ORDER_BY = ("id", "type", "name", "createdAt", "updatedAt")
SECRET_BYTES = 32
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch
ChannelRequest = Annotated[dict[str, Any], Body()]
ChannelJson = dict[str, Any]


@router.get("", summary="Channels", **described(answer=ChannelPage, reasons=["bad-query"]))
def list_channels(
    request: Request,
    page: Paged,
    includeDeleted: bool = False,
    includeDisabled: bool = False,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> ChannelJson:
    """One page, oldest first, without secrets."""
    rows = [
        endpoint.shown
        for endpoint in definitions(request).all(Endpoint, namespace_of(request))
        if (includeDeleted or not endpoint.is_deleted) and (includeDisabled or not endpoint.disabled)
    ]
    return paginated(ordered(rows, orderBy, ORDER_BY, page), page)


@router.post(
    "",
    status_code=201,
    summary="Create a channel",
    **described(ChannelBody, NewChannelAnswer, status=201, reasons=["bad-endpoint"]),
)
def create_channel(request: Request, response: Response, channel: ChannelRequest) -> ChannelJson:
    """`signingSecret` is generated unless it is given; only this answer shows it.

    A retry with the same `Idempotency-Key` is answered without the secret. A `url` is refused that is not https, has a
    user name, has a port other than 443 or 8443, or has an address that is not public.
    """
    return _with_secret(request, response, "endpoint.create", channel)


@router.get("/{channelId}", summary="One channel", **described(answer=ChannelAnswer))
def get_channel(request: Request, channelId: str) -> ChannelJson:
    """Without its secret, also when it was deleted."""
    endpoint = definitions(request).find(Endpoint, namespace_of(request), channelId)
    if endpoint is None:
        raise Rejected("not-found", f"There is no endpoint with the id {channelId[:64]}.")
    return endpoint.shown


@router.put(
    "/{channelId}",
    summary="Replace a channel",
    **described(ChannelBody, ChannelAnswer, reasons=["bad-endpoint"]),
)
def update_channel(request: Request, channelId: str, channel: ChannelRequest) -> ChannelJson:
    """Replaces every member except the secret, which stays unless a new one is given; then both sign for a day."""
    asked, secret = with_id("endpoint", channel, channelId), channel.get("signingSecret")
    added = _checked(request, channel)
    if secret is not None:
        added["signingSecret"] = _sealed(request, secret, channelId)
    return body_of(submit(request, "endpoint.update", asked, added))


@router.delete(
    "/{channelId}",
    status_code=204,
    summary="Delete a channel",
    **described(status=204, reasons=["bad-endpoint", "endpoint-conflict"]),
)
def delete_channel(request: Request, channelId: str) -> Response:
    """Deliveries in progress fail. 409: a rule sends to it."""
    submit(request, "endpoint.delete", {"id": channelId})
    return Response(status_code=204)


@ours.post(
    "/{channelId}/rotate",
    status_code=201,
    summary="Replace a channel's secret",
    **described(SecretRotationBody, NewChannelAnswer, status=201, reasons=["bad-endpoint"], optional=True),
)
def rotate(
    request: Request,
    response: Response,
    channelId: str,
    body: Annotated[ChannelJson | None, Body()] = None,
) -> ChannelJson:
    """By `signingSecret`, or by a new secret that only this answer shows. Both sign for `overlapS` seconds."""
    return _with_secret(request, response, "endpoint.rotate", with_id("endpoint", body or {}, channelId))


@ours.post(
    "/{channelId}/replay",
    status_code=202,
    summary="Send deliveries of a time range again",
    **described(ReplayBody, ReplayAnswer, status=202, reasons=["bad-replay"]),
)
def replay(request: Request, channelId: str, body: Annotated[ChannelJson, Body()]) -> ChannelJson:
    """Deliveries of events in [from, to) in one of `states`, by default FAILED. Each keeps its `webhook-id`."""
    instants = {name: _instant(body.get(name)) for name in ("from", "to")}
    replayed = body_of(submit(request, "endpoint.replay", with_id("replay", {**body, **instants}, channelId)))
    return {**replayed, "from": body["from"], "to": body["to"]}


def _with_secret(request: Request, response: Response, kind: str, asked: ChannelJson) -> ChannelJson:
    """The channel with its secret, the given one or one made here; a repeated answer has none."""
    secret = asked.get("signingSecret")
    if secret is None:
        secret = secret_text(secrets.token_bytes(SECRET_BYTES))
    added = {"signingSecret": _sealed(request, secret, asked.get("id")), **_checked(request, asked)}
    reply = submit(request, kind, asked, added)
    response.headers["cache-control"] = "no-store"
    return body_of(reply) if reply.repeated else {**body_of(reply), "signingSecret": secret}


def _checked(request: Request, channel: ChannelJson) -> ChannelJson:
    """Why no webhook may go to the channel's URL, as far as no name has to be resolved, for control to refuse it."""
    url = channel.get("url")
    if not isinstance(url, str):
        return {}
    try:
        target(url, policy_of(services_of(request).settings))
    except Rejected as refusal:
        return {
            "urlRefusal": f"{refusal.detail} The setting webhook_allow_hosts can allow a receiver by host:port."
        }
    return {}


def _sealed(request: Request, secret: object, id: str | None) -> object:
    """The secret as it may be written to a topic; one that the channel has already, as it is stored.

    What cannot sign is refused here, since it must not be written; what is no text, by control.
    """
    if not isinstance(secret, str):
        return secret
    try:
        signing_key(secret)
    except Rejected as refusal:
        raise Rejected("bad-endpoint", f"endpoint signingSecret is not valid: {refusal.detail}") from refusal
    place, seal = place_of(namespace_of(request)), _seal(request)
    stored = _stored(request, id)
    if stored is not None and _opens_to(seal, stored, place, secret):
        return stored
    return seal.close(secret, place, secrets.token_bytes(NONCE_BYTES))


def _stored(request: Request, id: str | None) -> str | None:
    endpoint = None if id is None else definitions(request).find(Endpoint, namespace_of(request), id)
    return None if endpoint is None else endpoint.signing_secret or None


def _opens_to(seal: Seal, stored: str, place: str, secret: str) -> bool:
    try:
        return hmac.compare_digest(seal.open(stored, place).encode(), secret.encode())
    except Rejected:  # sealed with a key that is gone
        return False


def _seal(request: Request) -> Seal:
    return Seal.of(services_of(request).settings.secrets_key.get_secret_value())


def _instant(text: object) -> object:
    """A bare date means the midnight at which it begins; control refuses any other wrong text."""
    return f"{text}T00:00:00Z" if isinstance(text, str) and _DATE(text) else text
