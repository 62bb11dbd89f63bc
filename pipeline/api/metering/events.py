"""`/events`: stored events and the fate of each.

Owns: the routes and the form of an event. Does not own: ingest (api.metering.ingest), filters (core.values.filters),
SQL (stores.clickhouse.events). The list by v1 takes plain parameters, the one by v2 filters in JSON and pages by a
cursor.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from pipeline.api.customers.lookup import subjects_of
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.parameters import refuse_empty, refuse_repeated, refuse_unknown
from pipeline.api.http.paths import AsksClickHouse, OpenRouter
from pipeline.api.http.services import Services, services_of
from pipeline.api.metering.answers import EventAnswer, EventCursorPage, StoredEventAnswer
from pipeline.api.metering.event_json import cursor_of, event_detail, listed, place_of
from pipeline.api.metering.meters import find
from pipeline.api.metering.usage_json import as_json
from pipeline.api.metering.usage_params import MAX_CLIENT_ID
from pipeline.core.metering.refusal import REASONS
from pipeline.core.metering.usage_query import NS_PER_S, check_range
from pipeline.core.values.filters import (
    ALL,
    MAX_OPERANDS,
    Filter,
    containing,
    filter_string,
    filter_time,
    parse_json,
)
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected
from pipeline.stores.clickhouse.events import EventFilter, events, versions
from pipeline.stores.clickhouse.refused import MeterName, RefusedFilter

QUERY = [Depends(needs("query"))]
router = OpenRouter(prefix="/events", tags=["events"], route_class=AsksClickHouse, dependencies=QUERY)
router_v2 = OpenRouter(prefix="/events", tags=["events"], route_class=AsksClickHouse, dependencies=QUERY)

REFUSED = ("bad-query", "not-found")  # not-found: an unknown customer or meter
FATES = ("counted", "duplicate", "conflict", "rejected", "invalid", "unmetered")
MAX_LIMIT = 100
LATELY_NS = 72 * 3600 * NS_PER_S  # how far the list by v1 goes back without `from`
_TEXTS = ("id", "source", "type", "subject", "fate")
_TIMES = ("time", "ingestedAt")
EventJson = dict[str, Any]
EventTime = Annotated[str | None, Query(description="RFC 3339, or a date: its first midnight in UTC")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
ClientId = Annotated[
    str | None, Query(min_length=1, max_length=MAX_CLIENT_ID, description="accepted, without effect")
]


@router.get(
    "", summary="Stored events with their fate", **described(answer=list[StoredEventAnswer], reasons=REFUSED)
)
def list_events(
    request: Request,
    id: Annotated[str | None, Query(description="a part of the id")] = None,
    subject: str | None = None,
    source: str | None = None,
    type: str | None = None,
    fate: Annotated[str | None, Query(description=", ".join(FATES))] = None,
    meter: Annotated[str | None, Query(description="slug or id: only events that this meter counted")] = None,
    refused: Annotated[
        bool | None,
        Query(description="true: only events that `meter`, or any meter, refused; false: only the others"),
    ] = None,
    customerId: Annotated[list[str] | None, Query(description="ids or keys; can be repeated")] = None,
    from_: Annotated[
        EventTime,
        Query(
            alias="from", description="RFC 3339, or a date; by default 72 hours before `to`, or before now"
        ),
    ] = None,
    to: EventTime = None,
    ingestedAtFrom: EventTime = None,
    ingestedAtTo: EventTime = None,
    limit: Limit = MAX_LIMIT,
    clientId: ClientId = None,
) -> Response:
    """Events whose time is in [from, to), newest first. Without `from`: the 72 hours before `to`, or before now.

    `validationError` is the reason why a meter, or every meter, did not count the event; `refusedBy` lists each meter
    that refused it, with a `reason` to program against.
    """
    refuse_unknown(request, _V1)
    refuse_empty(request, _V1)
    refuse_repeated(request, _V1 - {"customerId"})
    if fate is not None and fate not in FATES:
        raise Rejected("bad-query", f"fate must be one of {' '.join(FATES)}")
    given = {"source": source, "type": type, "subject": subject, "fate": fate}
    texts = {name: filter_string(name, {"$eq": text}) for name, text in given.items() if text is not None}
    if id is not None:
        texts["id"] = containing("id", id)
    services, namespace = services_of(request), namespace_of(request)
    from_ns, to_ns = instant_ns("from", from_), instant_ns("to", to)
    if from_ns is None:
        now_ns = time.time_ns()
        from_ns = (now_ns if to_ns is None else min(to_ns, now_ns)) - LATELY_NS
    meters = None if meter is None else [_meter(services, namespace, meter)]
    wanted = EventFilter(
        namespace=namespace,
        texts=texts,
        counted_by=meters if refused is None else None,
        refused=None if refused is None else RefusedFilter(refused, meters),
        subjects=_subjects(services, namespace, customerId),
        time=_between(from_ns, to_ns),
        received_at=_between(
            instant_ns("ingestedAtFrom", ingestedAtFrom), instant_ns("ingestedAtTo", ingestedAtTo)
        ),
        limit=limit,
    )
    return as_json([listed(services, namespace, event) for event in events(services.clickhouse, wanted)])


_V1 = frozenset(
    {"id", "subject", "source", "type", "fate", "customerId", "from", "to", "ingestedAtFrom", "ingestedAtTo"}
    | {"limit", "clientId", "meter", "refused"}
)


@router_v2.get(
    "",
    summary="Stored events, filtered and page by page",
    **described(answer=EventCursorPage, reasons=REFUSED),
)
def list_events_v2(
    request: Request,
    filter: Annotated[
        str | None,
        Query(
            description='JSON, as `{"subject": {"$in": ["acme"]}, "time": {"$gte": "2026-01-01T00:00:00Z"}}`'
        ),
    ] = None,
    cursor: Annotated[str | None, Query(description="`nextCursor` of the previous page")] = None,
    limit: Limit = MAX_LIMIT,
    clientId: ClientId = None,
) -> Response:
    """Newest first, by the time of the event. The last page has no `nextCursor`.

    A filter may have `id source subject type fate` (text: `$eq $ne $in $nin $like $nlike $ilike $nilike $gt $gte $lt
    $lte`, and `$and`, `$or` of these), `customerId` (`$in`), `time` and `ingestedAt` (`$gt $gte $lt $lte $and $or`),
    `meter` (`$eq $in`, slugs or ids: what one of them counted) and `refused` (`$exists`, or reasons with `$eq $in`:
    what one of these meters, or any meter, refused).
    """
    names = {"filter", "cursor", "limit", "clientId"}
    refuse_unknown(request, names)
    refuse_repeated(request, names)
    services, namespace = services_of(request), namespace_of(request)
    body = {} if filter is None else parse_json("filter", filter)
    wanted = _wanted(services, namespace, body)
    after = None if cursor is None else place_of(cursor)
    found = events(services.clickhouse, replace(wanted, after=after, limit=limit + 1))
    answer: EventJson = {"items": [listed(services, namespace, event) for event in found[:limit]]}
    if len(found) > limit:
        answer["nextCursor"] = cursor_of(found[limit - 1].place)
    return as_json(answer)


@router.get(
    "/{source}/{id}",
    summary="One event and its fate",
    **described(answer=EventAnswer, reasons=["bad-query"]),
)
def get_event(request: Request, source: str, id: str) -> Response:
    """The fate of an event, and for each meter that counted it the window, the dimensions and the value.

    The dimensions are those that the meter had when it counted the event. `refusedBy` lists the meters that refused it,
    each with a reason. `windows[].value` is the value of this event; `windowValue` and `windowCount` are the totals of
    the window now. `repeats` are later records with the same source and id (fate duplicate or conflict); `refused` are
    records that were rejected.
    """
    refuse_unknown(request, ())
    services, namespace = services_of(request), namespace_of(request)
    found = versions(services.clickhouse, namespace, source, id)
    if not found:
        raise Rejected("not-found", "There is no stored event with this source and id.")
    return as_json(event_detail(services, namespace, found))


def _wanted(services: Services, namespace: str, body: object) -> EventFilter:
    """The filter that v2 takes. Raises Rejected `bad-query`, or `not-found` for an unknown customer or meter."""
    if not isinstance(body, dict):
        raise Rejected("bad-query", "filter must be an object")
    given = {name: one for name, one in body.items() if one is not None}
    for name in given:
        if name not in (*_TEXTS, *_TIMES, "customerId", "meter", "refused"):
            raise Rejected("bad-query", f"there is no filter {name[:64]!a}")
    customers = filter_string("customerId", given.get("customerId", {}))
    if customers.op not in ("", "$in"):
        raise Rejected("bad-query", "customerId: customer id filter supports only $in")
    named = _listed("meter", given.get("meter", {}))
    meters = None if named is None else [_meter(services, namespace, one) for one in named]
    refused = _refused(given["refused"], meters) if "refused" in given else None
    return EventFilter(
        namespace=namespace,
        texts={name: filter_string(name, given[name]) for name in _TEXTS if name in given},
        subjects=_subjects(services, namespace, customers.operand),
        time=filter_time("time", given.get("time", {})),
        received_at=filter_time("ingestedAt", given.get("ingestedAt", {})),
        counted_by=meters if refused is None else None,
        refused=refused,
    )


def _listed(name: str, body: object) -> Sequence[str] | None:
    """The texts of a filter that knows `$eq` and `$in` only; None for one that matches everything."""
    found = filter_string(name, body)
    if found.op not in ("", "$eq", "$in"):
        raise Rejected("bad-query", f"{name}: the filter supports only $eq and $in")
    return [found.operand] if found.op == "$eq" else found.operand


def _refused(body: object, meters: Sequence[MeterName] | None) -> RefusedFilter | None:
    found = filter_string("refused", body)
    if found.op == "$exists":
        return RefusedFilter(found.operand, meters)
    reasons = _listed("refused", body)
    for reason in reasons or ():
        if reason not in REASONS:
            raise Rejected("bad-query", f"refused: a reason must be one of {' '.join(REASONS)}")
    return None if reasons is None else RefusedFilter(True, meters, reasons)


def _meter(services: Services, namespace: str, id_or_slug: str) -> MeterName:
    _, meter = find(services, namespace, id_or_slug)
    return MeterName(meter.slug, meter.meter_id)


def _subjects(services: Services, namespace: str, customers: Sequence[str] | None) -> list[str] | None:
    """All subjects of the customers; None where none is asked for."""
    if customers is None:
        return None
    if len(customers) > MAX_OPERANDS:
        raise Rejected("bad-query", f"customers: at most {MAX_OPERANDS} are allowed")
    return [
        subject for subjects in subjects_of(services, namespace, customers).values() for subject in subjects
    ]


def _between(from_ns: int | None, to_ns: int | None) -> Filter:
    check_range(from_ns, to_ns)
    sides = [Filter(op, at_ns) for op, at_ns in (("$gte", from_ns), ("$lt", to_ns)) if at_ns is not None]
    return Filter("$and", tuple(sides)) if sides else ALL
