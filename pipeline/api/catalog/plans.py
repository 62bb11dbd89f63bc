"""`/plans`: what customers can subscribe to, in versions.

Owns: the shape of requests and answers. Does not own: what a plan may be (core.catalog), add-ons of plans
(plan_addons).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Request, Response

from pipeline.api.catalog.plan_answers import PlanAnswer, PlanPage
from pipeline.api.catalog.plan_bodies import PlanBody, PlanUpdateBody
from pipeline.api.catalog.version_answer import changed, found_version, look_up, stored_members, with_numbers
from pipeline.api.catalog.version_list import KEY_VERSION, OrderBy, list_of_versions, version_filter
from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, Several
from pipeline.api.http.parameters import known_or
from pipeline.api.http.paths import OpenRouter, Router
from pipeline.api.http.submit import submit, with_id
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.plan import Plan
from pipeline.core.catalog.version_json import plan_json
from pipeline.core.definitions.context import Body as Members

router = Router(prefix="/plans", tags=["plans"])
lists = OpenRouter(prefix="/plans", tags=["plans"])
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("billing:write"))]
PlanRequest = Annotated[dict[str, Any], Body()]
_CHANGED = described(answer=PlanAnswer, reasons=["bad-plan"])


@lists.get(
    "",
    summary="Plans",
    dependencies=[*READ, Depends(known_or(KEY_VERSION))],
    **described(answer=PlanPage, reasons=["bad-query"]),
)
def list_plans(
    request: Request,
    page: Paged,
    includeDeleted: bool = False,
    id: Several = None,
    key: Several = None,
    status: Several = None,
    currency: Several = None,
    orderBy: OrderBy = None,
) -> Response:
    """One page of versions, oldest first. `keyVersion[pro]=2` selects a version of a key, and can be repeated."""
    wanted = version_filter(request, includeDeleted, id, key, status, currency)
    return list_of_versions(request, Plan, wanted, plan_json, orderBy, page)


@router.post(
    "",
    status_code=201,
    summary="Create a plan",
    dependencies=WRITE,
    **described(PlanBody, PlanAnswer, status=201, reasons=["bad-plan"]),
)
def create_plan(request: Request, plan: PlanRequest) -> Response:
    """A draft: version 1 of its key, or the one after the newest. A key has one draft at a time.

    A plan that is wrong in a way that no later change can correct is refused; `extensions.validationErrors` lists all
    codes. Anything else that is wrong is listed in `validationErrors` of the answer, and refuses publishing.
    """
    return changed(request, "plan.create", plan, 201)


@router.get("/{planId}", summary="One plan", dependencies=READ, **described(answer=PlanAnswer))
def get_plan(request: Request, planId: str, includeLatest: bool = False) -> Response:
    """By id, or by key: its active version; with `includeLatest` the newest one, of whatever status.

    Status and `validationErrors` are those of now: a feature that was archived since is listed.
    """

    def found(catalog: CatalogNow) -> Members:
        return with_numbers(plan_json(found_version(catalog, Plan, planId, includeLatest), catalog))

    return answer(look_up(request, found))


@router.put(
    "/{planId}",
    summary="Replace a draft",
    dependencies=WRITE,
    **described(PlanUpdateBody, PlanAnswer, reasons=["bad-plan"]),
)
def update_plan(request: Request, planId: str, plan: PlanRequest) -> Response:
    """Key, currency and version stay. A version that was published cannot be changed: make a new draft of it."""
    stored = stored_members(request, Plan, planId)
    return changed(request, "plan.update", with_id("plan", plan, planId, stored))


@router.delete(
    "/{planId}",
    status_code=204,
    summary="Delete a plan",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-plan"]),
)
def delete_plan(request: Request, planId: str) -> Response:
    """A draft or an archived version; its add-ons are no longer assigned to it. A key means its newest version."""
    submit(request, "plan.delete", {"id": planId})
    return Response(status_code=204)


@router.post("/{planId}/publish", summary="Publish a draft", dependencies=WRITE, **_CHANGED)
def publish_plan(request: Request, planId: str) -> Response:
    """It is sold from now on, and the active version of its key ends at the same instant.

    Refused with all codes in `extensions.validationErrors` while anything is wrong with it or with its add-ons.
    """
    return changed(request, "plan.publish", {"id": planId})


@router.post("/{planId}/archive", summary="Archive a plan", dependencies=WRITE, **_CHANGED)
def archive_plan(request: Request, planId: str) -> Response:
    """The active version is sold until now. A key means its active version."""
    return changed(request, "plan.archive", {"id": planId})


@router.post(
    "/{planIdOrKey}/next",
    status_code=201,
    summary="A new draft of a plan",
    dependencies=WRITE,
    **described(answer=PlanAnswer, status=201, reasons=["bad-plan"]),
)
def next_plan(request: Request, planIdOrKey: str) -> Response:
    """A copy of the newest version, without its add-ons."""
    return changed(request, "plan.next", {"id": planIdOrKey}, 201)
