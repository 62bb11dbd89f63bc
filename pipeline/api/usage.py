"""`/meters/{slug}/query` and `/events`: what was used, and what became of each event.

Owns: the parameters and the forms of the answer (JSON, CSV). Does not own: the rules of a query (core.query),
SQL (stores). Values are decimal strings; an unknown parameter is refused, so that no typo widens a query.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from pipeline.api.auth import namespace_of, needs
from pipeline.api.instant import instant_ns
from pipeline.api.meters import find
from pipeline.api.neighbours import neighbours
from pipeline.core.query import UsageQuery, usage_query
from pipeline.errors import Rejected
from pipeline.stores.events import EventFilter, events
from pipeline.stores.usage import usage

router = APIRouter(tags=["usage"], dependencies=[Depends(needs("query"))])

FATES = ("counted", "duplicate", "conflict", "rejected", "invalid", "unmetered")
Row = dict[str, Any]
_FILTER = re.compile(r"filterGroupBy\[([^\]]*)\]")
Instant = Annotated[str | None, Query(description="RFC 3339, or a date: its first midnight in the zone")]
Several = Annotated[list[str] | None, Query()]


@router.get("/meters/{slug}/query", summary="Usage of a meter")
def query_meter(
    request: Request,
    slug: str,
    *,
    from_: Annotated[Instant, Query(alias="from")] = None,
    to: Instant = None,
    windowSize: Annotated[str | None, Query(description="MINUTE, HOUR, DAY or MONTH")] = None,
    windowTimeZone: Annotated[str, Query(description="an IANA zone")] = "UTC",
    subject: Several = None,
    groupBy: Annotated[list[str] | None, Query(description="a,b or repeated; `subject` too")] = None,
) -> Response:
    """Rows of the windows that have events; without `windowSize` one total a group.

    `filterGroupBy[name]=value` keeps only events with that value of a dimension; repeated, any of the values.
    `Accept: text/csv` answers as CSV.
    """
    _refuse_unknown(request, {"from", "to", "windowSize", "windowTimeZone", "subject", "groupBy"})
    have = neighbours(request)
    _, meter = find(have, namespace_of(request), slug)
    query = usage_query(
        meter,
        from_ns=instant_ns("from", from_, windowTimeZone),
        to_ns=instant_ns("to", to, windowTimeZone),
        window=windowSize,
        tz=windowTimeZone,
        subjects=subject or (),
        group_by=[name for names in groupBy or () for name in names.split(",") if name],
        filters=_filters(request),
    )
    rows = usage(have.clickhouse, query)
    if "text/csv" in request.headers.get("accept", ""):
        return Response(csv_text(query, rows), media_type="text/csv")
    answer: Row = {"from": from_, "to": to, "windowSize": windowSize, "windowTimeZone": windowTimeZone}
    body = {name: value for name, value in answer.items() if value is not None}
    return _json(body | {"data": [_row(row) for row in rows]})


@router.get("/events", summary="Stored events with their fate")
def list_events(
    request: Request,
    *,
    subject: str | None = None,
    id: str | None = None,
    source: str | None = None,
    type: str | None = None,
    fate: Annotated[str | None, Query(description=", ".join(FATES))] = None,
    from_: Annotated[Instant, Query(alias="from")] = None,
    to: Instant = None,
    limit: int = 100,
) -> Response:
    """The newest first, by the event's time in [from, to)."""
    _refuse_unknown(request, {"subject", "id", "source", "type", "fate", "from", "to", "limit"})
    if fate is not None and fate not in FATES:
        raise Rejected("bad-query", f"fate must be one of {' '.join(FATES)}")
    wanted = EventFilter(
        namespace=namespace_of(request),
        subject=subject,
        id=id,
        source=source,
        type=type,
        fate=fate,
        from_ns=instant_ns("from", from_),
        to_ns=instant_ns("to", to),
        limit=limit,
    )
    return _json(events(neighbours(request).clickhouse, wanted))


def csv_text(query: UsageQuery, rows: list[Row]) -> str:
    """The rows as CSV (RFC 4180): window_start, window_end, subject if asked for, dimensions, value."""
    out = io.StringIO()
    writer = csv.writer(out)
    subject = ["subject"] if query.by_subject else []
    writer.writerow(["window_start", "window_end", *subject, *query.group_by, "value"])
    for row in rows:
        named = [row["subject"]] if query.by_subject else []
        dimensions = [row["group"][name] for name in query.group_by]
        writer.writerow([row["start"], row["end"], *named, *dimensions, row["value"]])
    return out.getvalue()


def _row(row: Row) -> Row:
    return {
        "value": row["value"],
        "count": row["count"],
        "windowStart": row["start"],
        "windowEnd": row["end"],
        "subject": row["subject"],
        "groupBy": row["group"],
    }


def _filters(request: Request) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if match := _FILTER.fullmatch(name):
            found.setdefault(match[1], []).append(value)
    return found


def _refuse_unknown(request: Request, known: Collection[str]) -> None:
    for name in request.query_params:
        if name not in known and not (_FILTER.fullmatch(name) and "groupBy" in known):
            raise Rejected("bad-query", f"there is no parameter {name[:64]!r}")


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
