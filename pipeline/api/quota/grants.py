"""Grants: amounts that a metered entitlement may take. Reads come from the control log; changes are commands.

Owns: the routes. Does not own: their form (entitlement_form), the rules (core.quota.grant).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.http.addressed import addressed
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Order, Page, Paged, Several, either, ordered, paginated, split
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import body_of, change, definitions
from pipeline.api.quota import lookup
from pipeline.api.quota.answers import GrantAnswer, GrantPage
from pipeline.api.quota.bodies import GrantBody
from pipeline.api.quota.entitlements import BY_CUSTOMER, BY_SUBJECT, ONE
from pipeline.api.quota.lookup import CustomerRef, HolderOf
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.entitlement_json import grant_json
from pipeline.core.quota.grant import GrantDefinition
from pipeline.core.quota.import_item import with_rollover

READ = [Depends(needs("query"))]
WRITE = [Depends(needs("entitlements:write"))]
ORDER_BY = ("createdAt", "updatedAt", "id")
LIMIT = 100
CREATE = described(GrantBody, GrantAnswer, status=201, reasons=["bad-grant"])

customers = Router(prefix=BY_CUSTOMER, tags=["grants"])  # of v1 and v2
subjects = Router(prefix=BY_SUBJECT, tags=["grants"])
router = Router(prefix="/grants", tags=["grants"])
router_v2 = Router(prefix="/grants", tags=["grants"])

GrantRequest = Annotated[dict[str, Any], Body()]
GrantOrder = Annotated[str | None, Query(description=", ".join(ORDER_BY))]
Deleted = Annotated[
    bool,
    Query(
        description="also the grants of entitlements that were deleted, each with `deletedAt`; an entitlement that was "
        "deleted is named by its id. Voided grants are always listed."
    ),
]
GrantJson = dict[str, Any]


@customers.get(
    ONE + "/grants",
    summary="An entitlement's grants",
    dependencies=READ,
    **described(answer=GrantPage, reasons=["bad-query"]),
)
def list_of_customer(
    request: Request,
    page: Paged,
    customerIdOrKey: str,
    entitlementIdOrFeatureKey: str,
    includeDeleted: Deleted = False,
    orderBy: GrantOrder = None,
) -> Response:
    """One page, oldest first. It includes voided grants."""
    holder = lookup.by_customer(request, customerIdOrKey)
    rows = _of(request, holder, entitlementIdOrFeatureKey, includeDeleted)
    return answer(paginated(ordered(rows, orderBy, ORDER_BY, page), page))


@subjects.get(
    ONE + "/grants",
    summary="An entitlement's grants",
    dependencies=READ,
    **described(answer=list[GrantAnswer], reasons=["bad-query"]),
)
def list_of_subject(
    request: Request,
    subjectIdOrKey: str,
    entitlementIdOrFeatureKey: str,
    includeDeleted: Deleted = False,
    orderBy: GrantOrder = None,
    order: Order = "ASC",
) -> Response:
    """All grants, oldest first. The list includes voided grants."""
    holder = lookup.by_subject(request, subjectIdOrKey)
    rows = _of(request, holder, entitlementIdOrFeatureKey, includeDeleted)
    return answer(ordered(rows, orderBy, ORDER_BY, Page(1, len(rows), order == "DESC")))


@customers.post(
    ONE + "/grants",
    name="create_for_customer",
    status_code=201,
    summary="Grant an amount",
    dependencies=WRITE,
    **CREATE,
)
@subjects.post(
    ONE + "/grants",
    name="create_for_subject",
    status_code=201,
    summary="Grant an amount",
    dependencies=WRITE,
    **CREATE,
)
async def create(
    request: Request, holder: HolderOf, entitlementIdOrFeatureKey: str, grant: GrantRequest
) -> Response:
    """Grants with a lower `priority` are used first.

    Without `maxRolloverAmount`, a reset keeps all that is left of a grant created by customer, and nothing of a grant
    created by subject.
    """
    granted = with_rollover(grant) if holder.member == "customerId" else grant
    body = addressed("grant", granted, entitlementId=entitlementIdOrFeatureKey, **holder.members)
    made = GrantDefinition.read(body_of(await change(request, "grant.create", body)))
    return answer(grant_json(made, lookup.now_s()), 201)


@router.get(
    "",
    summary="Grants of all entitlements",
    dependencies=READ,
    **described(answer=GrantPage | list[GrantAnswer], reasons=["bad-query"]),
)
def list_all(
    request: Request,
    page: Paged,
    feature: Several = None,
    subject: Several = None,
    includeDeleted: Deleted = False,
    orderBy: GrantOrder = None,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = LIMIT,
) -> Response:
    """A list by `offset` and `limit`; with `page` or `pageSize`, a page. Features are named by id or key."""
    log, namespace = definitions(request), namespace_of(request)
    holders = (log.customer_of(namespace, one) for one in split(subject))
    customers = {customer.id for customer in holders if customer is not None}
    of = customers if split(subject) else None
    rows = ordered(_all(request, split(feature), of, includeDeleted), orderBy, ORDER_BY, page)
    return answer(either(request, rows, page, offset, limit))


@router_v2.get(
    "",
    summary="Grants of all entitlements",
    dependencies=READ,
    **described(answer=GrantPage, reasons=["bad-query"]),
)
def list_all_v2(
    request: Request,
    page: Paged,
    feature: Several = None,
    customer: Several = None,
    includeDeleted: Deleted = False,
    orderBy: GrantOrder = None,
) -> Response:
    """One page. Features and customers are named by id or key."""
    log, namespace = definitions(request), namespace_of(request)
    holders = (log.customer(namespace, one) for one in split(customer))
    customers = {customer.id for customer in holders if customer is not None}
    of = customers if split(customer) else None
    rows = ordered(_all(request, split(feature), of, includeDeleted), orderBy, ORDER_BY, page)
    return answer(paginated(rows, page))


@router.delete(
    "/{grantId}",
    status_code=204,
    summary="Void a grant",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-grant", "grant-conflict"]),
)
async def void(
    request: Request,
    grantId: str,
    at: Annotated[str | None, Query(description="RFC 3339: when it is voided; by default now")] = None,
) -> Response:
    """What is left of it can no longer be used. Usage that it has covered stays covered. 409: it was voided before."""
    await change(request, "grant.void", {"id": grantId} if at is None else {"id": grantId, "at": at})
    return Response(status_code=204)


def _of(request: Request, holder: CustomerRef, wanted: str, deleted: bool) -> list[GrantJson]:
    """deleted: whether the entitlement may have been deleted."""
    log, namespace = definitions(request), namespace_of(request)
    entitlement = log.find(Entitlement, namespace, wanted) if deleted else None
    if entitlement is None or entitlement.customer_id != holder.id:
        entitlement = lookup.entitlement(request, holder, wanted)
    return [_json(grant, entitlement) for grant in log.grants_of(namespace, entitlement.id)]


def _json(grant: GrantDefinition, entitlement: Entitlement) -> GrantJson:
    """A grant is deleted with its entitlement."""
    shown = grant_json(grant, lookup.now_s())
    return shown if entitlement.deleted_at is None else {**shown, "deletedAt": entitlement.deleted_at}


def _all(request: Request, features: set[str], customers: set[str] | None, deleted: bool) -> list[GrantJson]:
    """features: ids or keys; empty: all. customers: ids; None: all. deleted: those of deleted entitlements too."""
    log, namespace = definitions(request), namespace_of(request)
    entitlements = {one.id: one for one in log.all(Entitlement, namespace)}
    rows = []
    for grant in log.all(GrantDefinition, namespace):
        entitlement = entitlements.get(grant.entitlement_id)
        if entitlement is None or (entitlement.deleted_at is not None and not deleted):
            continue
        if features and not features & {entitlement.feature_id, entitlement.feature_key}:
            continue
        if customers is None or entitlement.customer_id in customers:
            rows.append(_json(grant, entitlement))
    return rows
