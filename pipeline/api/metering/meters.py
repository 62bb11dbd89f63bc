"""`/meters`: what is counted. Reads come from the control log in memory; changes are commands.

Owns: the shape of requests and answers. Does not own: what a meter may say (core.metering.meter), deciding (control),
usage (api.metering.usage).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import Paged, cut, ordered
from pipeline.api.http.paths import Router
from pipeline.api.http.services import Services, services_of
from pipeline.api.http.submit import body_of, definitions, submit
from pipeline.api.metering.answers import AppliedMetersAnswer, MeterAnswer
from pipeline.api.metering.bodies import MeterBody, MeterChangeBody
from pipeline.core.definitions.kinds import METER
from pipeline.core.metering.meter import REVISION, Meter
from pipeline.errors import Rejected
from pipeline.records import Definition
from pipeline.stores.kafka.commands import KNOWN_TIMEOUT_S

router = Router(prefix="/meters", tags=["meters"])

READ = [Depends(needs("query"))]
WRITE = [Depends(needs("meters:write"))]
CHANGED = ("bad-meter", "bad-query", "meter-conflict")
ORDER_BY = ("key", "slug", "name", "aggregation", "createdAt", "updatedAt")
WaitS = Annotated[
    float, Query(ge=0, le=600, description="seconds to wait until every worker has loaded the change")
]
MeterRequest = Annotated[dict[str, Any], Body()]
MeterListRequest = Annotated[list[dict[str, Any]], Body()]


@router.get(
    "",
    summary="Meters",
    dependencies=READ,
    **described(answer=list[MeterAnswer], reasons=["bad-query"]),
)
def list_meters(
    request: Request,
    page: Paged,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
) -> list[dict[str, Any]]:
    """One page of the meters, by default sorted by slug."""
    found = definitions(request).in_force(namespace_of(request))
    rows = [{**meter_json(definition, meter), "key": meter.slug} for definition, meter in found]
    return [
        {name: value for name, value in row.items() if name != "key"}
        for row in cut(ordered(rows, orderBy, ORDER_BY, page), page)
    ]


@router.get("/{meterIdOrSlug}", summary="One meter", dependencies=READ, **described(answer=MeterAnswer))
def get_meter(request: Request, meterIdOrSlug: str) -> dict[str, Any]:
    """By id or slug."""
    definition, meter = find(services_of(request), namespace_of(request), meterIdOrSlug)
    return meter_json(definition, meter)


@router.post(
    "",
    status_code=201,
    summary="Create a meter",
    dependencies=WRITE,
    **described(MeterBody, MeterAnswer, status=201, reasons=CHANGED),
)
def create_meter(request: Request, meter: MeterRequest, wait_s: WaitS = KNOWN_TIMEOUT_S) -> dict[str, Any]:
    """The answer is sent once every running worker has loaded the meter. 409: the slug is taken."""
    return _decided(request, "meter.create", {"meters": [meter]}, wait_s)[0]


@router.post(
    "/apply",
    summary="Create or change several meters, all or none",
    dependencies=WRITE,
    **described(list[MeterBody], AppliedMetersAnswer, reasons=CHANGED),
)
def apply_meters(
    request: Request, meters: MeterListRequest, wait_s: WaitS = KNOWN_TIMEOUT_S
) -> dict[str, Any]:
    """The answer is sent once every running worker has loaded the meters: events that are sent later are counted.

    503 names a worker that had not loaded them within `wait_s`. The meters are in force nevertheless.
    """
    found = _decided(request, "meter.apply", {"meters": meters}, wait_s)
    return {"revision": max((meter["revision"] for meter in found), default=0), "meters": found}


@router.put(
    "/{meterIdOrSlug}",
    summary="Change a meter",
    dependencies=WRITE,
    **described(MeterChangeBody, MeterAnswer, reasons=CHANGED),
)
def update_meter(
    request: Request,
    meterIdOrSlug: str,
    change: Annotated[dict[str, Any], Body()],
    wait_s: WaitS = KNOWN_TIMEOUT_S,
) -> dict[str, Any]:
    """Replaces name, description, groupBy and metadata: one that is absent is cleared. What it counts never changes."""
    slug = _slug(request, meterIdOrSlug)
    if change.get("slug") not in (None, slug):
        raise Rejected("bad-meter", "meter slug is named by the path: leave it out of the body")
    asked, named = {**change, "slug": meterIdOrSlug}, {"slug": slug}
    return _decided(request, "meter.update", asked, wait_s, named)[0]


@router.delete(
    "/{meterIdOrSlug}",
    status_code=204,
    summary="Delete a meter",
    dependencies=WRITE,
    **described(status=204, reasons=CHANGED),
)
def delete_meter(request: Request, meterIdOrSlug: str, wait_s: WaitS = KNOWN_TIMEOUT_S) -> Response:
    """Stored usage is kept but can no longer be queried. A new meter with the same slug is a different meter."""
    named = {"slug": _slug(request, meterIdOrSlug)}
    reply = submit(request, "meter.delete", {"slug": meterIdOrSlug}, named)
    services_of(request).commands.until_known(reply.revision, wait_s)
    return Response(status_code=204)


def _decided(
    request: Request, kind: str, asked: dict[str, Any], wait_s: float, added: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The meters of a command, as it left them, once every running worker knows them or after `wait_s`."""
    reply = submit(request, kind, asked, added)
    services_of(request).commands.until_known(reply.revision, wait_s)
    body = body_of(reply)
    meters = body.get("meters", [body])
    assert isinstance(meters, list)
    return [_reply_json(namespace_of(request), meter) for meter in meters]


def _reply_json(namespace: str, replied: dict[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in replied.items() if name != REVISION}
    meter = Meter.read(body, around={"namespace": namespace})
    return meter_json(Definition(replied[REVISION], METER, namespace, meter.slug, "", 0, body), meter)


def find(services: Services, namespace: str, id_or_slug: str) -> tuple[Definition, Meter]:
    """The meter with that id or slug in one namespace. Raises Rejected `not-found`."""
    services.definitions.wait_loaded()
    found = services.definitions.meter(namespace, id_or_slug)
    if found is None:
        raise Rejected("not-found", f"There is no meter with the slug {id_or_slug[:64]}.")
    return found


def meter_json(definition: Definition, meter: Meter) -> dict[str, Any]:
    """A meter as the API shows it: its definition, `id`, `revision`, `createdAt` and `updatedAt`."""
    updated_at = datetime.fromtimestamp(definition.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    at = updated_at.replace("+00:00", "Z")
    return {
        **meter.body(),
        "id": meter.id or str(meter.meter_id),
        "revision": definition.revision,
        "createdAt": meter.created_at or at,
        "updatedAt": meter.updated_at or at,
    }


def _slug(request: Request, id_or_slug: str) -> str:
    """The slug of a meter in force; a text that names none stays as it is, and control refuses and records it."""
    found = definitions(request).meter(namespace_of(request), id_or_slug)
    return found[1].slug if found else id_or_slug
