"""`/addons`: what customers can buy beside a plan, in versions.

Owns: the shape of requests and answers. Does not own: what an add-on may be (core.catalog), add-ons of plans
(plan_addons).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Request, Response

from pipeline.api.catalog.plan_answers import AddonAnswer, AddonPage
from pipeline.api.catalog.plan_bodies import AddonBody, AddonUpdateBody
from pipeline.api.catalog.version_answer import changed, found_version, look_up, stored_members, with_numbers
from pipeline.api.catalog.version_list import KEY_VERSION, OrderBy, list_of_versions, version_filter
from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, Several
from pipeline.api.http.parameters import known_or
from pipeline.api.http.paths import OpenRouter, Router
from pipeline.api.http.submit import submit, with_id
from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.version_json import addon_json
from pipeline.core.definitions.context import Body as Members

router = Router(prefix="/addons", tags=["addons"])
lists = OpenRouter(prefix="/addons", tags=["addons"])
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("billing:write"))]
AddonRequest = Annotated[dict[str, Any], Body()]
_CHANGED = described(answer=AddonAnswer, reasons=["bad-addon"])


@lists.get(
    "",
    summary="Add-ons",
    dependencies=[*READ, Depends(known_or(KEY_VERSION))],
    **described(answer=AddonPage, reasons=["bad-query"]),
)
def list_addons(
    request: Request,
    page: Paged,
    includeDeleted: bool = False,
    id: Several = None,
    key: Several = None,
    status: Several = None,
    currency: Several = None,
    orderBy: OrderBy = None,
) -> Response:
    """One page of versions, oldest first. `keyVersion[more]=2` selects a version of a key, and can be repeated."""
    wanted = version_filter(request, includeDeleted, id, key, status, currency)
    return list_of_versions(request, Addon, wanted, addon_json, orderBy, page)


@router.post(
    "",
    status_code=201,
    summary="Create an add-on",
    dependencies=WRITE,
    **described(AddonBody, AddonAnswer, status=201, reasons=["bad-addon"]),
)
def create_addon(request: Request, addon: AddonRequest) -> Response:
    """A draft: version 1 of its key, or the one after the newest. A key has one draft at a time.

    What is wrong is refused or listed as for plans.
    """
    return changed(request, "addon.create", addon, 201)


@router.get("/{addonId}", summary="One add-on", dependencies=READ, **described(answer=AddonAnswer))
def get_addon(request: Request, addonId: str, includeLatest: bool = False) -> Response:
    """By id, or by key: its active version; with `includeLatest` the newest one, of whatever status."""

    def found(catalog: CatalogNow) -> Members:
        return with_numbers(addon_json(found_version(catalog, Addon, addonId, includeLatest), catalog))

    return answer(look_up(request, found))


@router.put(
    "/{addonId}",
    summary="Replace a draft of an add-on",
    dependencies=WRITE,
    **described(AddonUpdateBody, AddonAnswer, reasons=["bad-addon"]),
)
def update_addon(request: Request, addonId: str, addon: AddonRequest) -> Response:
    """Key, currency and version stay. A version that was published cannot be changed: create a new draft."""
    stored = stored_members(request, Addon, addonId)
    return changed(request, "addon.update", with_id("addon", addon, addonId, stored))


@router.delete(
    "/{addonId}",
    status_code=204,
    summary="Delete an add-on",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-addon"]),
)
def delete_addon(request: Request, addonId: str) -> Response:
    """A draft or an archived version that is assigned to no plan. A key means its newest version."""
    submit(request, "addon.delete", {"id": addonId})
    return Response(status_code=204)


@router.post("/{addonId}/publish", summary="Publish a draft of an add-on", dependencies=WRITE, **_CHANGED)
def publish_addon(request: Request, addonId: str) -> Response:
    """It is sold from now on, and the active version of its key ends at the same instant."""
    return changed(request, "addon.publish", {"id": addonId})


@router.post("/{addonId}/archive", summary="Archive an add-on", dependencies=WRITE, **_CHANGED)
def archive_addon(request: Request, addonId: str) -> Response:
    """The active version is sold until now. A key means its active version."""
    return changed(request, "addon.archive", {"id": addonId})
