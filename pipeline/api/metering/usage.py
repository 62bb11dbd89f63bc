"""`/meters/{idOrSlug}/query`, its subjects and its values of a dimension: what was used.

Owns: the routes. Does not own: their parameters (usage_params), forms (usage_json), the rules of a query
(core.metering.usage_query), SQL (stores.clickhouse.usage).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.customers.lookup import display_names
from pipeline.api.http.accept import preferred
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.parameters import refuse_empty, refuse_repeated, refuse_unknown
from pipeline.api.http.paths import OpenRouter
from pipeline.api.http.services import services_of
from pipeline.api.metering.answers import UsageAnswer
from pipeline.api.metering.bodies import UsageQueryBody
from pipeline.api.metering.meters import find
from pipeline.api.metering.usage_json import CSV, FORMS, JSON, as_json, csv_answer, json_answer
from pipeline.api.metering.usage_params import UsageParams, from_body, from_url, usage_query_of
from pipeline.core.metering.meter import Meter
from pipeline.core.metering.usage_query import NS_PER_S, UsageQuery, usage_query
from pipeline.core.values.user_time import instant_ns
from pipeline.errors import Rejected
from pipeline.stores.clickhouse.usage import keys, usage

router = OpenRouter(prefix="/meters", tags=["usage"], dependencies=[Depends(needs("query"))])

DAY_NS = 86_400 * NS_PER_S
UsageTime = Annotated[str | None, Query(description="RFC 3339, or a date: its first midnight in the zone")]
CsvSafe = Annotated[
    bool | None,
    Query(
        description="For answers as CSV. true: a text that a spreadsheet would take for a formula gets an "
        "apostrophe in front. Without it texts are as they were sent."
    ),
]
UsageValues = Annotated[list[str] | None, Query(description="can be repeated; at most 100")]


@router.get(
    "/{idOrSlug}/query",
    summary="Usage of a meter",
    **described(answer=UsageAnswer, reasons=["bad-query"], csv=True),
)
def query_meter(
    request: Request,
    idOrSlug: str,
    from_: Annotated[UsageTime, Query(alias="from")] = None,
    to: UsageTime = None,
    windowSize: Annotated[str | None, Query(description="MINUTE, HOUR, DAY or MONTH")] = None,
    windowTimeZone: Annotated[str | None, Query(description="IANA time zone; by default UTC")] = None,
    subject: UsageValues = None,
    filterCustomerId: UsageValues = None,
    groupBy: Annotated[
        list[str] | None, Query(description="dimensions or `subject`: a list with commas, or repeated")
    ] = None,
    advancedMeterGroupByFilters: Annotated[
        str | None, Query(description='JSON: a filter for a dimension, as `{"model": {"$like": "gpt-%"}}`')
    ] = None,
    csvSafe: CsvSafe = None,
    clientId: Annotated[str | None, Query(description="accepted, without effect")] = None,
) -> Response:
    """One row for each window and group that has events; without `windowSize`, one row for each group.

    [from, to) is exact to the nanosecond: usage in minutes that it cuts is measured again from the stored events.
    Without `windowSize` a row spans [from, to); if one is absent, the row begins with the first or ends with the last
    minute that has events. COUNT and UNIQUE_COUNT without events are one row with 0, without window and group.
    `subject` selects subjects and `filterCustomerId` the subjects of customers (404: unknown customer); each is also
    added to the groups. `filterGroupBy[name]=value` selects a value of a dimension, and can be repeated.
    `Accept: text/csv` requests CSV; `csvSafe=true` makes the file safe to open in a spreadsheet.
    A dimension that is a number in JSON has the canonical text of the number: 7, 7.0 and 7e0 are `7`. Events keep the
    dimensions that the meter had when it counted them: a dimension that was added later is empty.
    """
    return _answer(request, idOrSlug, from_url(request))


@router.post(
    "/{idOrSlug}/query",
    summary="Usage of a meter, by POST",
    **described(UsageQueryBody, UsageAnswer, reasons=["bad-query"], csv=True),
)
def query_meter_by_body(request: Request, idOrSlug: str, body: Annotated[dict[str, Any], Body()]) -> Response:
    """As by GET, with the same names. `filterGroupBy` has a list of values for each dimension."""
    refuse_unknown(request, ())
    return _answer(request, idOrSlug, from_body(body))


@router.get(
    "/{idOrSlug}/subjects",
    summary="Subjects that have usage",
    **described(answer=list[str], reasons=["bad-query"]),
)
def list_subjects(
    request: Request,
    idOrSlug: str,
    from_: Annotated[UsageTime, Query(alias="from")] = None,
    to: UsageTime = None,
) -> Response:
    """Subjects of events in [from, to) that the meter counted."""
    _check_parameters(request, {"from", "to"})
    meter = _meter(request, idOrSlug)
    query = _between(meter, from_, to, "subject")
    return as_json(sorted(key.subject for key in keys(services_of(request).clickhouse, query)))


@router.get(
    "/{idOrSlug}/group-by/{key}/values",
    summary="Values of a dimension",
    **described(answer=list[str], reasons=["bad-query"]),
)
def list_values(
    request: Request,
    idOrSlug: str,
    key: str,
    from_: Annotated[UsageTime, Query(alias="from")] = None,
    to: UsageTime = None,
    search: Annotated[str | None, Query(description="part of the value, upper or lower case")] = None,
) -> Response:
    """Values in events in [from, to) that the meter counted, by default of the last 24 hours."""
    _check_parameters(request, {"from", "to", "search"})
    meter = _meter(request, idOrSlug)
    if key not in meter.group_by:
        raise Rejected("not-found", f"The meter {meter.slug} has no dimension {key[:64]}.")
    query = _between(meter, from_, to, key, since_ns=time.time_ns() - DAY_NS)
    values = sorted(key.dimensions[0] for key in keys(services_of(request).clickhouse, query))
    wanted = (search or "").lower()
    return as_json([value for value in values if wanted in value.lower()])


def answer(
    request: Request, meter: Meter, params: UsageParams, subjects: Sequence[str] | None = None
) -> Response:
    """The answer to a query in the form that the request accepts. subjects: see usage_query_of."""
    form = preferred(", ".join(request.headers.getlist("accept")), FORMS)
    if params.csv_safe is not None and form != CSV:
        raise Rejected("bad-query", f"csvSafe is for answers as CSV: send the header Accept: {CSV}")
    services = services_of(request)
    query = usage_query_of(services, meter, params, subjects)
    rows = usage(services.clickhouse, query)
    if form == JSON:
        return json_answer(query, rows)
    subjects_ = [str(row["subject"]) for row in rows if row["subject"] is not None]
    names = display_names(services, meter.namespace, subjects_)
    return csv_answer(query, rows, names, safe=params.csv_safe is True)


def _answer(request: Request, id_or_slug: str, params: UsageParams) -> Response:
    return answer(request, _meter(request, id_or_slug), params)


def _meter(request: Request, id_or_slug: str) -> Meter:
    _, meter = find(services_of(request), namespace_of(request), id_or_slug)
    return meter


def _check_parameters(request: Request, names: set[str]) -> None:
    refuse_unknown(request, names)
    refuse_empty(request, names)
    refuse_repeated(request, names)


def _between(
    meter: Meter, from_: str | None, to: str | None, name: str, since_ns: int | None = None
) -> UsageQuery:
    from_ns, to_ns = instant_ns("from", from_), instant_ns("to", to)
    if from_ns is None and to_ns is None:
        from_ns = since_ns
    return usage_query(meter, from_ns=from_ns, to_ns=to_ns, group_by=[name])
