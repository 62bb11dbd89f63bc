"""Entitlements: what customers may use. Reads come from the control log in memory; changes are commands.

Owns: the routes by customer, by subject (OpenMeter's v1) and over all. Does not own: their form (entitlement_form), the
rules (core.quota.entitlement), grants (grants), values and history (values), live values (live_values).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.http.addressed import addressed
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Page, Paged, Several, either, ordered, paginated, split
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import body_of, change, definitions
from pipeline.api.quota import lookup
from pipeline.api.quota.answers import EntitlementAnswer, EntitlementPage
from pipeline.api.quota.bodies import EntitlementBody, ResetBody
from pipeline.api.quota.lookup import CustomerRef, HolderOf
from pipeline.core.customers.customer import Customer
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.entitlement_json import entitlement_json
from pipeline.core.quota.import_item import with_rollovers

READ = [Depends(needs("query"))]
WRITE = [Depends(needs("entitlements:write"))]
BY_CUSTOMER = "/customers/{customerIdOrKey}/entitlements"
BY_SUBJECT = "/subjects/{subjectIdOrKey}/entitlements"
ONE = "/{entitlementIdOrFeatureKey}"
OVERRIDE, RESET = ONE + "/override", ONE + "/reset"
ORDER_BY = ("createdAt", "updatedAt", "id", "featureKey")
LIMIT = 100
CREATE = described(
    EntitlementBody,
    EntitlementAnswer,
    status=201,
    reasons=["bad-entitlement", "bad-grant", "entitlement-conflict"],
)
ONE_ENTITLEMENT = described(answer=EntitlementAnswer)
END = described(status=204, reasons=["bad-entitlement"])
RESETTING = described(ResetBody, status=204, reasons=["bad-entitlement"], optional=True)

customers = Router(prefix=BY_CUSTOMER, tags=["entitlements"])  # of v1 and v2
subjects = Router(prefix=BY_SUBJECT, tags=["entitlements"])  # of v1
router = Router(prefix="/entitlements", tags=["entitlements"])
router_v2 = Router(prefix="/entitlements", tags=["entitlements"])

EntitlementRequest = Annotated[dict[str, Any], Body()]
ResetRequest = dict[str, Any]
EntitlementOrder = Annotated[str | None, Query(description=", ".join(ORDER_BY))]


@customers.get(
    "",
    summary="A customer's entitlements",
    dependencies=READ,
    **described(answer=EntitlementPage, reasons=["bad-query"]),
)
def list_of_customer(
    request: Request,
    page: Paged,
    customerIdOrKey: str,
    orderBy: EntitlementOrder = None,
    includeDeleted: bool = False,
) -> Response:
    """One page, oldest first. It includes entitlements that have ended."""
    rows = _of(request, lookup.by_customer(request, customerIdOrKey), includeDeleted)
    return answer(paginated(ordered(rows, orderBy, ORDER_BY, page), page))


@subjects.get(
    "",
    summary="Entitlements of a subject's customer",
    dependencies=READ,
    **described(answer=list[EntitlementAnswer]),
)
def list_of_subject(request: Request, subjectIdOrKey: str, includeDeleted: bool = False) -> Response:
    """All entitlements, oldest first. 404: no customer has the subject."""
    return answer(_of(request, lookup.by_subject(request, subjectIdOrKey), includeDeleted))


@customers.post(
    "",
    name="create_for_customer",
    status_code=201,
    summary="Entitle a customer to a feature",
    dependencies=WRITE,
    **CREATE,
)
@subjects.post(
    "",
    name="create_for_subject",
    status_code=201,
    summary="Entitle a subject's customer to a feature",
    dependencies=WRITE,
    **CREATE,
)
async def create(request: Request, holder: HolderOf, entitlement: EntitlementRequest) -> Response:
    """`type` is metered, static (with `config`) or boolean; grants can be sent along.

    A customer has one entitlement in force for each feature: otherwise the answer is 409. The answer is 404 when no
    customer has the subject.
    """
    body = addressed("entitlement", entitlement, **holder.members)
    return await _made(request, "entitlement.create", with_rollovers(body))


@customers.get(ONE, name="get_of_customer", summary="One entitlement", dependencies=READ, **ONE_ENTITLEMENT)
@subjects.get(ONE, name="get_of_subject", summary="One entitlement", dependencies=READ, **ONE_ENTITLEMENT)
def get(request: Request, holder: HolderOf, entitlementIdOrFeatureKey: str) -> Response:
    """By its id, or by the key of its feature: then the one in force."""
    found = holder.find(request)
    body = lookup.entitlement(request, found, entitlementIdOrFeatureKey)
    return answer(entitlement_json(body, lookup.now_s(), found.customer, found.subject))


@customers.delete(
    ONE, name="delete_of_customer", status_code=204, summary="End an entitlement", dependencies=WRITE, **END
)
@subjects.delete(
    ONE, name="delete_of_subject", status_code=204, summary="End an entitlement", dependencies=WRITE, **END
)
async def delete(request: Request, holder: HolderOf, entitlementIdOrFeatureKey: str) -> Response:
    """Ends it now. It can still be read by its id, with `deletedAt`."""
    body = {"id": entitlementIdOrFeatureKey, **holder.members}
    await change(request, "entitlement.delete", body)
    return Response(status_code=204)


@customers.put(
    OVERRIDE,
    name="override_of_customer",
    status_code=201,
    summary="Replace an entitlement",
    dependencies=WRITE,
    **CREATE,
)
@subjects.put(
    OVERRIDE,
    name="override_of_subject",
    status_code=201,
    summary="Replace an entitlement",
    dependencies=WRITE,
    **CREATE,
)
async def override(
    request: Request, holder: HolderOf, entitlementIdOrFeatureKey: str, entitlement: EntitlementRequest
) -> Response:
    """The old entitlement ends when the new one begins. The answer is the new one."""
    body = {"id": entitlementIdOrFeatureKey, **holder.members, "entitlement": with_rollovers(entitlement)}
    return await _made(request, "entitlement.override", body)


@customers.post(
    RESET,
    name="reset_of_customer",
    status_code=204,
    summary="Begin a new usage period",
    dependencies=WRITE,
    **RESETTING,
)
@subjects.post(
    RESET,
    name="reset_of_subject",
    status_code=204,
    summary="Begin a new usage period",
    dependencies=WRITE,
    **RESETTING,
)
async def reset(
    request: Request,
    holder: HolderOf,
    entitlementIdOrFeatureKey: str,
    wanted: Annotated[ResetRequest | None, Body()] = None,
) -> Response:
    """At `effectiveAt`, by default now, and not before the current period. `retainAnchor` keeps the calendar."""
    body = addressed("entitlement", wanted or {}, id=entitlementIdOrFeatureKey, **holder.members)
    await change(request, "entitlement.reset", body)
    return Response(status_code=204)


@router.get(
    "",
    summary="Entitlements of all customers",
    dependencies=READ,
    **described(answer=EntitlementPage | list[EntitlementAnswer], reasons=["bad-query"]),
)
def list_all(
    request: Request,
    page: Paged,
    feature: Several = None,
    subject: Several = None,
    customerKeys: Several = None,
    customerIds: Several = None,
    entitlementType: Several = None,
    excludeInactive: bool = False,
    orderBy: EntitlementOrder = None,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = LIMIT,
) -> Response:
    """A list by `offset` and `limit`; with `page` or `pageSize`, a page. Features are named by id or key."""
    rows = _all(request, page, orderBy, excludeInactive, feature=feature, subject=subject,
                customer=[*(customerKeys or ()), *(customerIds or ())], type=entitlementType)  # fmt: skip
    return answer(either(request, rows, page, offset, limit))


@router_v2.get(
    "",
    summary="Entitlements of all customers",
    dependencies=READ,
    **described(answer=EntitlementPage, reasons=["bad-query"]),
)
def list_all_v2(
    request: Request,
    page: Paged,
    feature: Several = None,
    customerKeys: Several = None,
    customerIds: Several = None,
    entitlementType: Several = None,
    excludeInactive: bool = False,
    orderBy: EntitlementOrder = None,
) -> Response:
    """One page. Features are named by id or key."""
    rows = _all(request, page, orderBy, excludeInactive, feature=feature,
                customer=[*(customerKeys or ()), *(customerIds or ())], type=entitlementType)  # fmt: skip
    return answer(paginated(rows, page))


@router.get("/{entitlementId}", summary="One entitlement", dependencies=READ, **ONE_ENTITLEMENT)
@router_v2.get("/{entitlementId}", summary="One entitlement", dependencies=READ, **ONE_ENTITLEMENT)
def get_by_id(request: Request, entitlementId: str) -> Response:
    """By its id, also when it has ended or was deleted."""
    entitlement = lookup.by_id(request, entitlementId)
    return answer(entitlement_json(entitlement, lookup.now_s(), _customer(request, entitlement)))


def _of(request: Request, holder: CustomerRef, deleted: bool) -> list[dict[str, Any]]:
    found = definitions(request).entitlements_of(namespace_of(request), holder.id)
    return [
        entitlement_json(one, lookup.now_s(), holder.customer, holder.subject)
        for one in found
        if deleted or not one.is_deleted
    ]


def _all(
    request: Request, page: Page, order_by: str | None, active: bool, **asked: list[str] | None
) -> list[dict[str, Any]]:
    """asked: feature, customer, subject, type: any of their values; none: all."""
    wanted = {name: split(values) for name, values in asked.items()}
    log, namespace, now_s = definitions(request), namespace_of(request), lookup.now_s()
    if wanted.get("subject"):
        holders = (log.customer_of(namespace, subject) for subject in wanted["subject"])
        mine = {customer.id for customer in holders if customer is not None}
    else:
        mine = None
    rows = []
    for entitlement in log.all(Entitlement, namespace):
        customer = log.customer(namespace, entitlement.customer_id)
        facts: dict[str, set[object]] = {
            "feature": {entitlement.feature_id, entitlement.feature_key},
            "customer": {entitlement.customer_id, customer.key if customer is not None else None},
            "type": {entitlement.type},
        }
        if (
            not entitlement.is_deleted
            and (mine is None or entitlement.customer_id in mine)
            and all(not wanted.get(name) or wanted[name] & has for name, has in facts.items())
            and (not active or entitlement.in_force(now_s))
        ):
            rows.append(entitlement_json(entitlement, now_s, customer))
    return ordered(rows, order_by, ORDER_BY, page)


async def _made(request: Request, kind: str, body: dict[str, Any]) -> Response:
    made = Entitlement.read(body_of(await change(request, kind, body)))
    subject = lookup.subject_key(request, body["subject"]) if "subject" in body else None
    return answer(entitlement_json(made, lookup.now_s(), _customer(request, made), subject), 201)


def _customer(request: Request, entitlement: Entitlement) -> Customer | None:
    return definitions(request).customer(namespace_of(request), entitlement.customer_id)
