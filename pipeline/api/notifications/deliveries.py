"""`/deliveries`: each event on its way to each channel, with its tries.

Owns: the routes. Does not own: their form (delivery_json), states and sending (the webhook stage).
"""

from __future__ import annotations

from typing import Annotated, get_args

from fastapi import Depends, Query, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, Several, split
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import submit
from pipeline.api.notifications.answers import DeliveryAnswer, DeliveryPage
from pipeline.api.notifications.delivery_json import delivery_json
from pipeline.api.notifications.events import AlertTime, ms, newest_first
from pipeline.errors import Rejected
from pipeline.records import Delivery, DeliveryState

router = Router(prefix="/deliveries", tags=["notifications"])
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("webhooks:write"))]
STATES = get_args(DeliveryState)


@router.get(
    "", summary="Deliveries", dependencies=READ, **described(answer=DeliveryPage, reasons=["bad-query"])
)
def list_deliveries(
    request: Request,
    page: Paged,
    from_: Annotated[AlertTime, Query(alias="from")] = None,
    to: AlertTime = None,
    endpoint: Several = None,
    event: Several = None,
    state: Annotated[list[str] | None, Query(description=", ".join(STATES))] = None,
) -> Response:
    """One page of the deliveries of events in [from, to), newest first; `order=ASC`: oldest first."""
    namespace = namespace_of(request)
    since_ms, until_ms = ms("from", from_), ms("to", to)
    endpoints, events, states = split(endpoint), split(event), split(state)
    if unknown := states - set(STATES):
        raise Rejected("bad-query", f"state must be one of {', '.join(STATES)}, not {min(unknown)[:64]}")
    found = [
        one
        for one in services_of(request).deliveries().newest_first()
        if one.namespace == namespace
        and (since_ms is None or one.at_ms >= since_ms)
        and (until_ms is None or one.at_ms < until_ms)
        and (not endpoints or one.endpoint in endpoints)
        and (not events or one.alert in events)
        and (not states or one.state in states)
    ]
    begin = (page.number - 1) * page.size
    shown = found[:: 1 if newest_first(request) else -1][begin : begin + page.size]
    items = [delivery_json(one) for one in shown]
    return answer({"totalCount": len(found), "page": page.number, "pageSize": page.size, "items": items})


@router.get("/{deliveryId}", summary="One delivery", dependencies=READ, **described(answer=DeliveryAnswer))
def get_delivery(request: Request, deliveryId: str) -> Response:
    """With its newest 50 attempts, newest first."""
    if (found := _found(request, deliveryId)) is None:
        raise Rejected("not-found", f"There is no delivery with the id {deliveryId[:64]}.")
    return answer(delivery_json(found))


@router.post(
    "/{deliveryId}/resend",
    status_code=202,
    summary="Send a delivery again",
    dependencies=WRITE,
    **described(status=202, reasons=["bad-resend"]),
)
def resend_delivery(request: Request, deliveryId: str) -> Response:
    """It keeps its `webhook-id`. A delivery that is in progress is retried at once."""
    found = _found(request, deliveryId)
    submit(
        request, "delivery.resend", {"id": deliveryId}, {} if found is None else {"endpoint": found.endpoint}
    )
    return Response(status_code=202)


def _found(request: Request, id: str) -> Delivery | None:
    found = services_of(request).deliveries().get(id)
    return None if found is None or found.namespace != namespace_of(request) else found
