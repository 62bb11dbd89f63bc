"""`/notification/events`: the events that rules fired, with their delivery status at each channel.

Owns: the routes, the form of an event. Does not own: when a rule fires (alerts), deliveries (deliveries, the
webhook stage).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec
from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, Several, split
from pipeline.api.http.paths import AsksKafka, Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import definitions, submit, with_id
from pipeline.api.notifications.answers import RuleEventAnswer, RuleEventPage
from pipeline.api.notifications.bodies import ResendBody
from pipeline.api.notifications.delivery_json import status_json
from pipeline.api.notifications.rule_json import rule_json
from pipeline.core.catalog.feature import Feature
from pipeline.core.customers.subject import Subject
from pipeline.core.notifications.delivery import delivery_id
from pipeline.core.notifications.rule import Rule
from pipeline.core.values import timestamp
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected
from pipeline.records import Alert, Delivery
from pipeline.stores.kafka.definitions import Definitions

router = Router(prefix="/notification/events", tags=["notifications"], route_class=AsksKafka)
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("webhooks:write"))]
NS_PER_MS = 1_000_000
AlertTime = Annotated[str | None, Query(description="RFC 3339, or a date in UTC")]


@router.get(
    "",
    summary="Events of rules",
    dependencies=READ,
    **described(answer=RuleEventPage, reasons=["bad-query"]),
)
def list_events(
    request: Request,
    page: Paged,
    from_: Annotated[AlertTime, Query(alias="from")] = None,
    to: AlertTime = None,
    feature: Several = None,
    subject: Several = None,
    rule: Several = None,
    channel: Several = None,
) -> Response:
    """One page of the events in [from, to), newest first; `order=ASC`: oldest first. Features by id or key."""
    services, namespace, log = services_of(request), namespace_of(request), definitions(request)
    since_ms, until_ms = ms("from", from_), ms("to", to)
    wanted = {
        "feature": _keys(split(feature), lambda one: log.feature(namespace, one)),
        "subject": _keys(split(subject), lambda one: log.subject(namespace, one)),
        "rule": split(rule),
    }
    channels = split(channel)
    found = [
        alert
        for alert in services.alerts().newest_first()
        if alert.namespace == namespace
        and (since_ms is None or alert.at_ms >= since_ms)
        and (until_ms is None or alert.at_ms < until_ms)
        and all(not values or getattr(alert, name) in values for name, values in wanted.items())
        and (not channels or channels & set(alert.endpoints))
    ]
    begin = (page.number - 1) * page.size
    shown = found[:: 1 if newest_first(request) else -1][begin : begin + page.size]
    items = [event_json(alert, log, services.deliveries().of(alert.id)) for alert in shown]
    return answer({"totalCount": len(found), "page": page.number, "pageSize": page.size, "items": items})


@router.get("/{eventId}", summary="One event", dependencies=READ, **described(answer=RuleEventAnswer))
def get_event(request: Request, eventId: str) -> Response:
    """With its payload, byte for byte as it is sent, and its delivery to each channel."""
    alert = _found(request, eventId)
    if alert is None:
        raise Rejected("not-found", f"There is no event with the id {eventId[:64]}.")
    deliveries = services_of(request).deliveries().of(alert.id)
    return answer(event_json(alert, definitions(request), deliveries))


@router.post(
    "/{eventId}/resend",
    status_code=202,
    summary="Send an event again",
    dependencies=WRITE,
    **described(ResendBody, status=202, reasons=["bad-resend"], optional=True),
)
def resend_event(
    request: Request,
    eventId: str,
    body: Annotated[dict[str, Any] | None, Body()] = None,
) -> Response:
    """To all its channels, or to those in `channels`. It keeps its `webhook-id`."""
    alert = _found(request, eventId)
    sent_to = (
        {} if alert is None else {"deliveries": {one: delivery_id(alert, one) for one in alert.endpoints}}
    )
    submit(request, "event.resend", with_id("resend", body or {}, eventId), sent_to)
    return Response(status_code=202)


def _found(request: Request, id: str) -> Alert | None:
    alert = services_of(request).alerts().get(id)
    return None if alert is None or alert.namespace != namespace_of(request) else alert


def event_json(alert: Alert, log: Definitions, deliveries: Iterable[Delivery]) -> dict[str, Any]:
    """An event. A channel to which nothing was begun yet is PENDING."""
    rule = log.find(Rule, alert.namespace, alert.rule)
    by_endpoint = {one.endpoint: one for one in deliveries}
    return {
        "id": alert.id,
        "type": alert.type,
        "createdAt": timestamp.text_of(alert.at_ms),
        "rule": {"id": alert.rule} if rule is None else rule_json(rule),
        "payload": msgspec.Raw(alert.payload.encode()),
        "deliveryStatus": [
            status_json(endpoint, by_endpoint.get(endpoint), alert.at_ms) for endpoint in alert.endpoints
        ],
        "annotations": alert.annotations,
    }


def ms(name: str, text: str | None) -> int | None:
    """Milliseconds of an instant, rounded up, so that [from, to) is exact to the millisecond."""
    at_ns = instant_ns(name, text)
    return None if at_ns is None else -(-at_ns // NS_PER_MS)


def newest_first(request: Request) -> bool:
    """The order unless ASC is asked for."""
    return request.query_params.get("order") != "ASC"


def _keys(ids_or_keys: Iterable[str], find: Callable[[str], Feature | Subject | None]) -> set[str]:
    """The key of each; one that names nothing is a key as it is."""
    found = {one: find(one) for one in ids_or_keys}
    return {one if body is None else body.key for one, body in found.items()}
