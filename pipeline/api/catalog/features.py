"""`/features`: what a customer can be entitled to, metered or not.

Owns: the shape of requests and answers. Does not own: what a feature may be (core.catalog.feature).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.catalog.answers import FeatureAnswer, FeaturePage
from pipeline.api.catalog.bodies import FeatureBody
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import Paged, ordered, paginated, split
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import body_of, definitions, submit
from pipeline.errors import Rejected

router = Router(prefix="/features", tags=["features"])
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("entitlements:write"))]
ORDER_BY = ("name", "id", "key", "createdAt", "updatedAt")
LIMIT = 100


@router.get(
    "",
    summary="Features",
    dependencies=READ,
    **described(answer=FeaturePage | list[FeatureAnswer], reasons=["bad-query"]),
    response_model=None,
)
def list_features(
    request: Request,
    page: Paged,
    meterSlug: Annotated[list[str] | None, Query()] = None,
    includeArchived: bool = False,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = LIMIT,
) -> dict[str, Any] | list[dict[str, Any]]:
    """A list by `offset` and `limit`; with `page` or `pageSize`, a page."""
    found = definitions(request).features(namespace_of(request), archived=includeArchived)
    slugs = split(meterSlug)
    kept = [feature.shown for feature in found if not slugs or feature.meter_slug in slugs]
    rows = ordered(kept, orderBy, ORDER_BY, page)
    if {"page", "pageSize"} & set(request.query_params):
        return paginated(rows, page)
    return rows[offset : offset + limit]


@router.post(
    "",
    status_code=201,
    summary="Create a feature",
    dependencies=WRITE,
    **described(FeatureBody, FeatureAnswer, status=201, reasons=["bad-feature", "feature-conflict"]),
)
def create_feature(request: Request, feature: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    """Keys are unique among features that are not archived: otherwise the answer is 409."""
    return body_of(submit(request, "feature.create", feature))


@router.get("/{featureId}", summary="One feature", dependencies=READ, **described(answer=FeatureAnswer))
def get_feature(request: Request, featureId: str) -> dict[str, Any]:
    """By id or key. An archived feature can be read by its id."""
    found = definitions(request).feature(namespace_of(request), featureId)
    if found is None:
        raise Rejected("not-found", f"There is no feature {featureId[:256]}.")
    return found.shown


@router.delete(
    "/{featureId}",
    status_code=204,
    summary="Archive a feature",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-feature"]),
)
def archive_feature(request: Request, featureId: str) -> Response:
    """It cannot be undone. Existing entitlements keep working, new ones are refused, and the key can be reused."""
    submit(request, "feature.archive", {"id": featureId})
    return Response(status_code=204)
