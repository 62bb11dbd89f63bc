"""`/portal`: usage for a customer's own browser.

Owns: making, listing and invalidating tokens, and the one query that a token opens. Does not own: the token's
text (http.portal_jwt), its check (http.auth), the query (usage).
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.access.answers import NewPortalTokenAnswer, PortalTokenAnswer
from pipeline.api.access.bodies import InvalidationBody, PortalTokenBody
from pipeline.api.http import portal_jwt
from pipeline.api.http.auth import PORTAL, namespace_of, needs, principal
from pipeline.api.http.described import described
from pipeline.api.http.paths import AsksClickHouse, OpenRouter, Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import body_of, definitions, submit
from pipeline.api.metering.answers import UsageAnswer
from pipeline.api.metering.meters import find
from pipeline.api.metering.usage import answer
from pipeline.api.metering.usage_params import from_url
from pipeline.core.access.portal_token import PortalToken
from pipeline.errors import Rejected

router = Router(prefix="/portal", tags=["portal"])
public = OpenRouter(prefix="/portal", tags=["portal"], route_class=AsksClickHouse)  # for browsers
TOKENS = [Depends(needs("query"))]
_SHOWN = ("id", "subject", "allowedMeterSlugs", "expiresAt", "createdAt")


@router.post(
    "/tokens",
    summary="Create a portal token",
    dependencies=TOKENS,
    **described(
        PortalTokenBody, NewPortalTokenAnswer, reasons=["bad-portal-token", "not-found", "portal-off"]
    ),
)
def create_token(
    request: Request, response: Response, body: Annotated[dict[str, Any], Body()]
) -> dict[str, Any]:
    """`token` reads the usage of one subject, of the allowed meters or of all, for one hour at most.

    It is valid for `/portal/meters/{slug}/query` only, and, where it is for all meters, for the issued invoices of the
    subject's customer at `/portal/invoices`. Only this answer shows it.
    """
    secret = _secret(request)
    token = msgspec.convert(body_of(submit(request, "portal-token.create", body)), PortalToken)
    response.headers["cache-control"] = "no-store"
    return {**_shown(token), "token": portal_jwt.sign(secret, namespace_of(request), token)}


@router.get(
    "/tokens", summary="Portal tokens", dependencies=TOKENS, **described(answer=list[PortalTokenAnswer])
)
def list_tokens(request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 25) -> list[dict[str, Any]]:
    """Newest first, without the tokens themselves. Expired tokens are removed after a while."""
    found = definitions(request).portal_tokens(namespace_of(request))
    return [_shown(token) for token in found[::-1][:limit]]


@router.post(
    "/tokens/invalidate",
    status_code=204,
    summary="Invalidate portal tokens",
    dependencies=TOKENS,
    **described(InvalidationBody, status=204, reasons=["bad-portal-token", "not-found"]),
)
def invalidate_tokens(request: Request, which: Annotated[dict[str, Any], Body()]) -> Response:
    """One token by its `id`, or all tokens of a `subject`, at once."""
    submit(request, "portal-token.invalidate", which)
    return Response(status_code=204)


@public.get(
    "/meters/{meterSlug}/query",
    summary="Usage of a portal token's subject",
    dependencies=[Depends(needs(PORTAL))],
    **described(answer=UsageAnswer, reasons=["bad-query"], csv=True),
)
def query_portal_meter(request: Request, meterSlug: str) -> Response:
    """As `/meters/{slug}/query`, always for the subject of the token. 401: the token is not for the meter.

        A deleted and recreated meter is another meter: a token that names the slug is for the earlier one.

    The bearer is a portal token, not an API key. Browsers of any origin may send it.
    """
    who = principal(request)
    if who.subject is None or (who.meters is not None and meterSlug not in who.meters):
        raise Rejected("unauthorized", "The portal token is not for this meter.")
    asked = from_url(request)
    if asked.filter_customer_id:
        raise Rejected("bad-query", "A portal token is for one subject; filterCustomerId is not for it.")
    _, meter = find(services_of(request), who.namespace, meterSlug)
    if who.meters is not None and meter.meter_id > who.named_at:
        raise Rejected("unauthorized", "The portal token is for an earlier meter with this slug.")
    return answer(request, meter, asked, [who.subject])


def _secret(request: Request) -> str:
    secret = services_of(request).settings.portal_secret.get_secret_value()
    if not secret:
        raise Rejected("portal-off", "There is no portal here: the setting portal_secret is empty.")
    return secret


def _shown(token: PortalToken) -> dict[str, Any]:
    members = {name: token.members[name] for name in _SHOWN if name in token.members}
    return members | {"expired": not token.holds(int(time.time() * 1000))}
