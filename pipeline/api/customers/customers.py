"""`/customers`: who pays for which subjects. Reads come from the control log in memory; changes are commands.

Owns: the shape of requests and answers. Does not own: what a customer may be (core.customers.customer).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.customers.answers import CustomerAnswer, CustomerPage
from pipeline.api.customers.bodies import CustomerBody
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.paging import Paged, ordered, paginated
from pipeline.api.http.paths import Router
from pipeline.api.http.submit import body_of, definitions, submit_and_wait_for_workers, with_id
from pipeline.errors import Rejected

router = Router(prefix="/customers", tags=["customers"])
READ = [Depends(needs("query"))]
WRITE = [Depends(needs("customers:write"))]
ORDER_BY = ("name", "id", "createdAt")
CONFLICTS = ("bad-customer", "customer-conflict", "subject-conflict")
CustomerRequest = Annotated[dict[str, Any], Body()]
Substring = Annotated[str | None, Query(description="part of it, upper or lower case")]


@router.get(
    "", summary="Customers", dependencies=READ, **described(answer=CustomerPage, reasons=["bad-query"])
)
def list_customers(
    request: Request,
    page: Paged,
    orderBy: Annotated[str | None, Query(description=", ".join(ORDER_BY))] = None,
    includeDeleted: bool = False,
    key: Substring = None,
    name: Substring = None,
    primaryEmail: Substring = None,
    subject: Substring = None,
) -> dict[str, Any]:
    """One page of the customers, sorted by name."""
    found = definitions(request).customers(namespace_of(request), deleted=includeDeleted)
    kept = [
        customer.members
        for customer in found
        if _has(customer.key, key)
        and _has(customer.name, name)
        and _has(customer.primary_email, primaryEmail)
        and (subject is None or any(_has(one, subject) for one in customer.usage_attribution.subject_keys))
    ]
    return paginated(ordered(kept, orderBy, ORDER_BY, page), page)


@router.post(
    "",
    status_code=201,
    summary="Create a customer",
    dependencies=WRITE,
    **described(CustomerBody, CustomerAnswer, status=201, reasons=CONFLICTS),
)
def create_customer(request: Request, customer: CustomerRequest) -> dict[str, Any]:
    """A subject belongs to one customer at most, and keys are unique: otherwise the answer is 409.

    The usage of a customer is the usage of its `usageAttribution.subjectKeys` and of its own key. Entitlements and
    grants that are created later count days and months in its `timeZone`, unless they have a zone of their own.
    """
    return body_of(submit_and_wait_for_workers(request, "customer.create", customer))


@router.get(
    "/{customerIdOrKey}", summary="One customer", dependencies=READ, **described(answer=CustomerAnswer)
)
def get_customer(request: Request, customerIdOrKey: str) -> dict[str, Any]:
    """By id or key."""
    found = definitions(request).customer(namespace_of(request), customerIdOrKey)
    if found is None:
        raise Rejected("not-found", f"There is no customer {customerIdOrKey[:256]}.")
    return found.members


@router.put(
    "/{customerIdOrKey}",
    summary="Replace a customer",
    dependencies=WRITE,
    **described(CustomerBody, CustomerAnswer, reasons=CONFLICTS),
)
def update_customer(request: Request, customerIdOrKey: str, customer: CustomerRequest) -> dict[str, Any]:
    """Replaces every member: one that is absent is cleared. What was read can be sent back with changes."""
    stored = definitions(request).customer(namespace_of(request), customerIdOrKey)
    asked = with_id("customer", customer, customerIdOrKey, None if stored is None else stored.members)
    return body_of(submit_and_wait_for_workers(request, "customer.update", asked))


@router.delete(
    "/{customerIdOrKey}",
    status_code=204,
    summary="Delete a customer",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-customer"]),
)
def delete_customer(request: Request, customerIdOrKey: str) -> Response:
    """Its subjects can be given to other customers. It can still be read by its id, with `deletedAt`."""
    submit_and_wait_for_workers(request, "customer.delete", {"id": customerIdOrKey})
    return Response(status_code=204)


def _has(text: str | None, part: str | None) -> bool:
    return part is None or (text is not None and part.casefold() in text.casefold())
