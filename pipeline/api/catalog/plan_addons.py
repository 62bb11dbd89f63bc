"""`/plans/{planId}/addons`: the add-ons that customers of a plan can buy.

Owns: the shape of requests and answers. Does not own: what may be assigned (core.catalog.plan_addon_validation).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Request, Response

from pipeline.api.catalog.plan_answers import PlanAddonAnswer, PlanAddonPage
from pipeline.api.catalog.plan_bodies import PlanAddonBody, PlanAddonUpdateBody
from pipeline.api.catalog.version_answer import changed, found_version, look_up, with_numbers
from pipeline.api.catalog.version_list import (
    KEY_VERSION,
    OrderBy,
    key_versions,
    of_versions,
    page_of_versions,
)
from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, Several, split
from pipeline.api.http.parameters import known_or
from pipeline.api.http.paths import OpenRouter, Router
from pipeline.api.http.submit import submit, with_id
from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.plan import Plan
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.catalog.version_json import plan_addon_json
from pipeline.core.definitions.context import Body as Members
from pipeline.errors import Rejected

router = Router(prefix="/plans/{planId}/addons", tags=["plans"])
lists = OpenRouter(prefix="/plans/{planId}/addons", tags=["plans"])
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("billing:write"))]
AssignmentRequest = Annotated[dict[str, Any], Body()]


@lists.get(
    "",
    summary="Add-ons of a plan",
    dependencies=[*READ, Depends(known_or(KEY_VERSION))],
    **described(answer=PlanAddonPage, reasons=["bad-query"]),
)
def list_plan_addons(
    request: Request,
    planId: str,
    page: Paged,
    includeDeleted: bool = False,
    id: Several = None,
    key: Several = None,
    orderBy: OrderBy = None,
) -> Response:
    """One page, by id of the add-on. Conditions and order are about the add-on; a key means the newest version.

    `keyVersion[more]=2` selects a version of a key, and can be repeated.
    """
    ids, keys, numbers = split(id), split(key), key_versions(request)

    def listed(catalog: CatalogNow) -> Members:
        plan = found_version(catalog, Plan, planId, newest=True)
        found = [
            (one, addon)
            for one in _assignments(catalog, plan, includeDeleted)
            if (addon := catalog.index.find(Addon, catalog.namespace, one.addon_id)) is not None
            and of_versions(addon, ids, keys, numbers)
        ]
        return page_of_versions(
            found,
            lambda pair: pair[1],
            lambda pair: with_numbers(plan_addon_json(pair[0], plan, pair[1], catalog)),
            orderBy,
            page,
        )

    return answer(look_up(request, listed))


@router.post(
    "",
    status_code=201,
    summary="Assign an add-on to a plan",
    dependencies=WRITE,
    **described(
        PlanAddonBody,
        PlanAddonAnswer,
        status=201,
        reasons=["bad-plan-addon", "bad-plan", "plan-addon-conflict"],
    ),
)
def create_plan_addon(request: Request, planId: str, assignment: AssignmentRequest) -> Response:
    """An add-on is assigned to a version of a plan once: otherwise the answer is 409.

    A rate card of the add-on with the key of one of the plan's has to match it, and extends it; another key is a new
    item. What does not match is listed in `validationErrors` while the plan is a draft, and refuses its publishing; to
    an active plan it is refused.
    """
    if assignment.get("planId") is not None:
        raise Rejected("bad-plan-addon", "plan-addon planId is named by the path: leave it out of the body")
    asked = {**assignment, "planId": planId}
    return changed(request, "plan-addon.create", asked, 201)


@router.get(
    "/{planAddonId}", summary="One add-on of a plan", dependencies=READ, **described(answer=PlanAddonAnswer)
)
def get_plan_addon(request: Request, planId: str, planAddonId: str) -> Response:
    """By its id, or by the id or key of the add-on."""

    def found(catalog: CatalogNow) -> Members:
        plan = found_version(catalog, Plan, planId, newest=True)
        assignment, addon = _assigned(catalog, plan, planAddonId)
        return with_numbers(plan_addon_json(assignment, plan, addon, catalog))

    return answer(look_up(request, found))


@router.put(
    "/{planAddonId}",
    summary="Replace an add-on of a plan",
    dependencies=WRITE,
    **described(PlanAddonUpdateBody, PlanAddonAnswer, reasons=["bad-plan-addon", "bad-plan"]),
)
def update_plan_addon(
    request: Request, planId: str, planAddonId: str, assignment: AssignmentRequest
) -> Response:
    """The add-on stays."""
    if assignment.get("planId") is not None:
        raise Rejected("bad-plan-addon", "plan-addon planId is named by the path: leave it out of the body")

    def stored(catalog: CatalogNow) -> Members | None:
        plan = catalog.named(Plan, planId)
        found = None if plan is None else catalog.assigned(plan.id, planAddonId)
        return None if found is None else found[0].members

    asked = with_id("plan-addon", assignment, planAddonId, look_up(request, stored))
    return changed(request, "plan-addon.update", {**asked, "planId": planId})


@router.delete(
    "/{planAddonId}",
    status_code=204,
    summary="Take an add-on from a plan",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-plan-addon", "bad-plan"]),
)
def delete_plan_addon(request: Request, planId: str, planAddonId: str) -> Response:
    """It can be bought no longer."""
    submit(request, "plan-addon.delete", {"planId": planId, "id": planAddonId})
    return Response(status_code=204)


def _assigned(catalog: CatalogNow, plan: Plan, wanted: str) -> tuple[PlanAddon, Addon]:
    found = catalog.assigned(plan.id, wanted)
    if found is None:
        raise Rejected("not-found", f"The plan {plan.key} has no add-on {wanted[:256]}.")
    return found


def _assignments(catalog: CatalogNow, plan: Plan, deleted: bool) -> list[PlanAddon]:
    if not deleted:
        return catalog.assignments(plan.id)
    return [one for one in catalog.index.all(PlanAddon, catalog.namespace) if one.plan_id == plan.id]
