"""`POST /billing/stripe/retry`: what Stripe did not take of a customer is sent again.

Owns: the route, what the answer shows. Does not own: which mappings it concerns (core.billing.stripe_retry), what a
request to retry does (core.billing.stripe_lanes).

A repeated request finds nothing that is still refused or blocked and changes nothing, so it needs no Idempotency-Key.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Request

from pipeline.api.billing.bodies import StripeRetryBody
from pipeline.api.billing.stripe_answers import StripeRetryAnswer
from pipeline.api.http.auth import needs, principal
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import Services, services_of
from pipeline.api.http.submit import body_of, submit_in_turn
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.stores.clickhouse.stripe_usage import StoredWindow, sent_windows

KEPT_S = 36 * 86_400  # stripe-sync has the state of windows for so long

router = Router(prefix="/billing/stripe", tags=["billing"])


@router.post(
    "/retry",
    status_code=202,
    summary="Send again what Stripe did not take",
    dependencies=[Depends(needs("billing:write"))],
    **described(StripeRetryBody, StripeRetryAnswer, status=202, reasons=["not-found", "bad-retry"]),
)
async def retry_stripe(request: Request, retry: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Windows of a customer that Stripe refused are sent again, by each mapping in force.

    A window is `blocked` when, after a day without an answer, Stripe's sum was neither with nor without the request. It
    is sent again only with `accept`: `stripe`. Stripe's sum of the window is then read twice, after 10 and 20 minutes;
    what Stripe has counts as confirmed, and the difference from `wanted` is sent.

    The answer comes when the request is decided, and counts the windows by their states as they were stored before.
    """
    services, who = services_of(request), principal(request)
    await loaded(services.definitions)
    mappings = {one.id: one for one in services.definitions.all(StripeMeter, who.namespace)}
    windows = await _windows(services, who.namespace, retry.get("customer"), list(mappings))
    decided = body_of(await submit_in_turn(request, "stripe.retry", retry))
    concerned = [mappings[id] for id in msgspec.convert(decided["mappings"], list[str]) if id in mappings]
    return {
        "customerId": decided["customerId"],
        "accept": retry.get("accept"),
        "items": [retried(one, [row for row in windows if row.mapping == one.id]) for one in concerned],
    }


async def _windows(
    services: Services, namespace: str, customer: object, mappings: list[str]
) -> list[StoredWindow]:
    """Those of a customer; none where control will refuse the request."""
    found = services.definitions.customer(namespace, customer) if isinstance(customer, str) else None
    if found is None or not mappings:
        return []
    now_s = int(time.time())
    read = partial(
        sent_windows, services.clickhouse, namespace, found.id, mappings, max(0, now_s - KEPT_S), now_s
    )
    return await services.bulkheads.clickhouse.run(read)


def retried(mapping: StripeMeter, windows: Iterable[StoredWindow]) -> dict[str, Any]:
    """What a mapping has that can be sent again. windows: of it."""
    found = list(windows)
    refused = [one.sent.unsendable for one in found if one.sent.cause == "refused"]
    blocked = [one.sent.unsendable for one in found if one.sent.cause == "blocked"]
    return {
        "appId": mapping.app_id,
        "mappingId": mapping.id,
        "meter": mapping.meter_slug,
        "refusedWindows": len(refused),
        "refusedUnits": str(sum(refused)),
        "blockedWindows": len(blocked),
        "blockedUnits": str(sum(blocked)),
    }
