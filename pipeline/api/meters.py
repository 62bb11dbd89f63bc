"""`/meters`: what is counted. Reads come from the control log in memory; changes are commands.

Owns: the shape of requests and answers. Does not own: what a meter may say (core.meter), deciding (control).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from pipeline.api.auth import namespace_of, needs
from pipeline.api.commands import KNOWN_TIMEOUT_S
from pipeline.api.neighbours import Neighbours, neighbours
from pipeline.core.meter import Meter
from pipeline.errors import Rejected
from pipeline.records import Definition, Reply

router = APIRouter(prefix="/meters", tags=["meters"])

READ = [Depends(needs("query"))]
WRITE = [Depends(needs("meters:write"))]
EXAMPLE = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}
WaitS = Annotated[
    float, Query(ge=0, le=600, description="how long to wait until every worker knows, in seconds")
]
One = Annotated[dict[str, Any], Body(examples=[EXAMPLE])]
Several = Annotated[list[dict[str, Any]], Body(examples=[[EXAMPLE]])]


@router.get("", summary="The meters in force", dependencies=READ)
def list_meters(request: Request) -> list[dict[str, Any]]:
    """All meters by slug."""
    found = _definitions(neighbours(request)).in_force(namespace_of(request))
    return [
        meter_json(definition, meter) for definition, meter in sorted(found, key=lambda pair: pair[1].slug)
    ]


@router.get("/{slug}", summary="One meter", dependencies=READ)
def get_meter(request: Request, slug: str) -> dict[str, Any]:
    """Answers 404 when no meter has the slug."""
    definition, meter = find(neighbours(request), namespace_of(request), slug)
    return meter_json(definition, meter)


@router.post("", status_code=201, summary="Create a meter", dependencies=WRITE)
def create_meter(request: Request, meter: One, wait_s: WaitS = KNOWN_TIMEOUT_S) -> dict[str, Any]:
    """Answers 409 when the slug is taken, and 201 once every running worker counts by it."""
    have = neighbours(request)
    _settle(have, have.commands.run("meter.create", namespace_of(request), {"meters": [meter]}), wait_s)
    return get_meter(request, str(meter["slug"]))


@router.post("/apply", summary="Create or change several meters, all or none", dependencies=WRITE)
def apply_meters(request: Request, meters: Several, wait_s: WaitS = KNOWN_TIMEOUT_S) -> dict[str, Any]:
    """Answers once every running worker counts by them, so that events sent afterwards are counted.

    503 names the worker that did not say so within `wait_s`; the definitions hold nevertheless.
    """
    have = neighbours(request)
    reply = have.commands.run("meter.apply", namespace_of(request), {"meters": meters})
    _settle(have, reply, wait_s)
    return {
        "revision": reply.revision,
        "meters": [get_meter(request, str(meter["slug"])) for meter in meters],
    }


@router.delete("/{slug}", status_code=204, summary="Delete a meter", dependencies=WRITE)
def delete_meter(request: Request, slug: str, wait_s: WaitS = KNOWN_TIMEOUT_S) -> Response:
    """Its usage stays stored but is no longer to be had; the slug made anew starts from zero."""
    have = neighbours(request)
    _settle(have, have.commands.run("meter.delete", namespace_of(request), {"slug": slug}), wait_s)
    return Response(status_code=204)


def find(have: Neighbours, namespace: str, slug: str) -> tuple[Definition, Meter]:
    """The meter with the slug. Raises Rejected `not-found`."""
    for definition, meter in _definitions(have).in_force(namespace):
        if meter.slug == slug:
            return definition, meter
    raise Rejected("not-found", f"There is no meter with the slug {slug}.")


def meter_json(definition: Definition, meter: Meter) -> dict[str, Any]:
    """A meter as the API shows it: its definition, `id`, `revision` and `updatedAt`."""
    updated_at = datetime.fromtimestamp(definition.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        **meter.body(),
        "id": str(meter.meter_id),
        "revision": definition.revision,
        "updatedAt": updated_at.replace("+00:00", "Z"),
    }


def _definitions(have: Neighbours) -> Any:
    have.definitions.wait_loaded()
    return have.definitions


def _settle(have: Neighbours, reply: Reply, wait_s: float) -> None:
    """Waits until the workers and this process know the reply's revision."""
    have.commands.until_known(reply.revision, wait_s)
    have.definitions.wait_for(
        lambda known: (
            any(definition.revision >= reply.revision for definition in known.values()) or not reply.revision
        ),
        wait_s,
    )
