"""`/notification/channels`: where webhooks go; OpenMeter's name for endpoints. `/endpoints`: what is ours of them.

Owns: making and sealing secrets, the routes. Does not own: what an endpoint may be (core.notifications.endpoint),
sending (webhook). A secret exists in plain text in the answer that shows it first, and then only where it signs.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from pipeline.api.http.auth import namespace_of, needs, principal
from pipeline.api.http.paging import Paged, ordered, paginated
from pipeline.api.http.services import neighbours
from pipeline.api.http.submit import body_of, decided, definitions
from pipeline.api.notifications.events import ms
from pipeline.core.notifications import endpoint as core_endpoint
from pipeline.core.notifications.standard_webhooks import secret_text, signing_key
from pipeline.core.values.sealed import NONCE_BYTES, Seal
from pipeline.errors import Rejected
from pipeline.records import DeliveryState, WebhookWork

# Reading needs it too: custom headers may hold what opens the receiver.
router = APIRouter(
    prefix="/notification/channels", tags=["notifications"], dependencies=[Depends(needs("webhooks:write"))]
)
ours = APIRouter(prefix="/endpoints", tags=["notifications"], dependencies=[Depends(needs("webhooks:write"))])
ORDER_BY = ("id", "type", "name", "createdAt", "updatedAt")
SECRET_BYTES = 32
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch
EXAMPLE = {
    "type": "WEBHOOK",
    "name": "billing",
    "url": "https://example.com/webhooks",
    "customHeaders": {"x-team": "billing"},
}
REPLAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "states": ["FAILED"]}
ROTATE = {"overlapS": 3600}
One = Annotated[dict[str, Any], Body(examples=[EXAMPLE])]
Row = dict[str, Any]


@router.get("", summary="Channels")
def list_channels(
    request: Request,
    page: Paged,
    includeDeleted: bool = False,
    includeDisabled: bool = False,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> Row:
    """A page of them, oldest first, without their secrets."""
    rows = [
        core_endpoint.shown(body)
        for body in definitions(request).endpoints(namespace_of(request))
        if (includeDeleted or "deletedAt" not in body) and (includeDisabled or not body["disabled"])
    ]
    return paginated(ordered(rows, orderBy, ORDER_BY, page), page)


@router.post("", status_code=201, summary="Create a channel")
def create_channel(request: Request, response: Response, channel: One) -> Row:
    """`signingSecret` is made here if it is not given, and shown this once."""
    secret = channel.get("signingSecret")
    if secret is None:
        secret = secret_text(secrets.token_bytes(SECRET_BYTES))
    sealed = {**channel, "signingSecret": _sealed(request, secret)}
    body = body_of(decided(request, "endpoint.create", sealed))
    response.headers["cache-control"] = "no-store"
    return {**body, "signingSecret": secret}


@router.get("/{channelId}", summary="One channel")
def get_channel(request: Request, channelId: str) -> Row:
    """Without its secret; also a deleted one."""
    found = definitions(request).body(namespace_of(request), "endpoint", channelId)
    if found is None:
        raise Rejected("not-found", f"There is no endpoint with the id {channelId[:64]}.")
    return core_endpoint.shown(found)


@router.put("/{channelId}", summary="Replace a channel")
def update_channel(request: Request, channelId: str, channel: One) -> Row:
    """All of it but the secret, which stays unless another is given; then both sign for a day."""
    wish = {**channel, "id": channelId}
    if _holds(request, channelId, wish.get("signingSecret")):
        del wish["signingSecret"]
    elif wish.get("signingSecret") is not None:
        wish["signingSecret"] = _sealed(request, wish["signingSecret"])
    return body_of(decided(request, "endpoint.update", wish))


@router.delete("/{channelId}", status_code=204, summary="Delete a channel")
def delete_channel(request: Request, channelId: str) -> Response:
    """409 while a rule sends to it. What is under way to it ends as failed."""
    decided(request, "endpoint.delete", {"id": channelId})
    return Response(status_code=204)


@ours.post("/{channelId}/rotate", status_code=201, summary="Replace a channel's secret")
def rotate(
    request: Request,
    response: Response,
    channelId: str,
    wish: Annotated[Row | None, Body(examples=[ROTATE])] = None,
) -> Row:
    """By `signingSecret` or a new one, shown this once. Both sign for `overlapS` seconds (a day)."""
    secret = (wish or {}).get("signingSecret")
    if secret is None:
        secret = secret_text(secrets.token_bytes(SECRET_BYTES))
    if _holds(request, channelId, secret):
        raise Rejected("bad-endpoint", "endpoint signingSecret must be a new one")
    sealed = {**(wish or {}), "id": channelId, "signingSecret": _sealed(request, secret)}
    body = body_of(decided(request, "endpoint.rotate", sealed))
    response.headers["cache-control"] = "no-store"
    return {**body, "signingSecret": secret}


@ours.post("/{channelId}/replay", status_code=202, summary="Send deliveries of a time range again")
def replay(request: Request, channelId: str, wish: Annotated[Row, Body(examples=[REPLAY])]) -> Row:
    """Those of alerts in [from, to) that are in one of `states` (FAILED), each with the same `webhook-id`."""
    instants = {name: _instant(wish.get(name)) for name in ("from", "to")}
    said = body_of(decided(request, "endpoint.replay", {**wish, **instants, "id": channelId}))
    work = WebhookWork(
        "replay",
        namespace_of(request),
        channelId,
        "",
        time.time_ns() // 1_000_000,
        from_ms=ms("from", str(said["from"])) or 0,
        to_ms=ms("to", str(said["to"])) or 0,
        states=cast(list[DeliveryState], said["states"]),
        actor=principal(request).actor,
    )
    neighbours(request).appending.work([work])
    return {"from": wish["from"], "to": wish["to"], "states": said["states"]}


def _sealed(request: Request, secret: object) -> object:
    """The secret as it may be written to a topic. What cannot sign is refused; what is no text, by control."""
    if not isinstance(secret, str):
        return secret
    try:
        signing_key(secret)
    except Rejected as refusal:
        raise Rejected("bad-endpoint", f"endpoint signingSecret is not valid: {refusal.detail}") from refusal
    place = core_endpoint.place(namespace_of(request))
    return _seal(request).close(secret, place, secrets.token_bytes(NONCE_BYTES))


def _holds(request: Request, id: str, secret: object) -> bool:
    """Whether it is the channel's secret already: sealed anew it would look like another."""
    found = definitions(request).body(namespace_of(request), "endpoint", id)
    held = None if found is None else found.get("signingSecret")
    if not held or not isinstance(secret, str):
        return False
    try:
        opened = _seal(request).open(str(held), core_endpoint.place(namespace_of(request)))
    except Rejected:  # sealed with a key that is gone
        return False
    return hmac.compare_digest(opened.encode(), secret.encode())


def _seal(request: Request) -> Seal:
    return Seal.of(neighbours(request).settings.secrets_key.get_secret_value())


def _instant(text: object) -> object:
    """A bare date stands for the midnight that begins it; whatever else is wrong, control refuses."""
    return f"{text}T00:00:00Z" if isinstance(text, str) and _DATE(text) else text
