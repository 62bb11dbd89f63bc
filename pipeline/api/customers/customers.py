"""`/customers`: who pays for which subjects. Reads come from the control log in memory; changes are commands.

Owns: the shape of requests and answers. Does not own: what a customer may be (core.customers.customer).
"""

from __future__ import annotations

import time
from typing import Annotated, Any, cast

import msgspec
from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.customers.answers import CustomerAnswer, CustomerPage
from pipeline.api.customers.bodies import CustomerBody
from pipeline.api.customers.lookup import Substring, customer_named, has_part
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paging import Paged, ordered, paginated
from pipeline.api.http.paths import Router
from pipeline.api.http.short_way import Asked, ShortRoute, is_object
from pipeline.api.http.submit import audited, body_of, change, definitions, definitions_loaded, with_id
from pipeline.api.http.submit_billing import bills_loaded
from pipeline.core.subscriptions.cancel import check_deletable_customer
from pipeline.core.subscriptions.subscription import Subscription

router = Router(prefix="/customers", tags=["customers"])
READ = [Depends(needs("query"))]
_may_write = needs("customers:write")
WRITE = [Depends(_may_write)]
ORDER_BY = ("name", "id", "createdAt")
CONFLICTS = ("bad-customer", "customer-conflict", "subject-conflict")
CustomerRequest = Annotated[dict[str, Any], Body()]


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
        if has_part(customer.key, key)
        and has_part(customer.name, name)
        and has_part(customer.primary_email, primaryEmail)
        and (
            subject is None or any(has_part(one, subject) for one in customer.usage_attribution.subject_keys)
        )
    ]
    return paginated(ordered(kept, orderBy, ORDER_BY, page), page)


@router.post(
    "",
    status_code=201,
    summary="Create a customer",
    dependencies=WRITE,
    **described(CustomerBody, CustomerAnswer, status=201, reasons=CONFLICTS),
)
async def create_customer(request: Request, customer: CustomerRequest) -> dict[str, Any]:
    """A subject belongs to one customer at most, and keys are unique: otherwise the answer is 409.

    The usage of a customer is the usage of its `usageAttribution.subjectKeys` and of its own key. Entitlements and
    grants that are created later count days and months in its `timeZone`, unless they have a zone of their own.
    """
    return body_of(await change(request, "customer.create", customer))


async def _create(asked: Asked) -> Response:
    return answer(await create_customer(asked.request, cast(dict[str, Any], asked.body)), 201)


SHORT = (ShortRoute("POST", "/customers", _may_write, is_object, _create),)


@router.get(
    "/{customerIdOrKey}", summary="One customer", dependencies=READ, **described(answer=CustomerAnswer)
)
def get_customer(request: Request, customerIdOrKey: str) -> dict[str, Any]:
    """By id or key."""
    return customer_named(request, customerIdOrKey).members


@router.put(
    "/{customerIdOrKey}",
    summary="Replace a customer",
    dependencies=WRITE,
    **described(CustomerBody, CustomerAnswer, reasons=CONFLICTS),
)
async def update_customer(
    request: Request, customerIdOrKey: str, customer: CustomerRequest
) -> dict[str, Any]:
    """Replaces every member: one that is absent is cleared. What was read can be sent back with changes."""
    stored = (await definitions_loaded(request)).customer(namespace_of(request), customerIdOrKey)
    asked = with_id("customer", customer, customerIdOrKey, None if stored is None else stored.members)
    return body_of(await change(request, "customer.update", asked))


@router.delete(
    "/{customerIdOrKey}",
    status_code=204,
    summary="Delete a customer",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-customer", "deleting_customer_with_active_subscriptions"]),
)
async def delete_customer(request: Request, customerIdOrKey: str) -> Response:
    """Its subjects can be given to other customers. It can still be read by its id, with `deletedAt`.

    409 while it has a subscription that is not over: cancel it first. A subscription that is created at the same moment
    may be missed. It is then one of a deleted customer: it can be canceled or deleted, and nothing else.
    """
    named, check = {"id": customerIdOrKey}, _check_no_subscription(request, customerIdOrKey)
    await audited(request, "customer.delete", named, check)
    await change(request, "customer.delete", named)
    return Response(status_code=204)


async def _check_no_subscription(request: Request, customer: str) -> None:
    """Raises Rejected `deleting_customer_with_active_subscriptions`, by what this process has read."""
    namespace, view = namespace_of(request), await bills_loaded(request)
    found = (await definitions_loaded(request)).customer(namespace, customer)
    if found is not None:
        documents = view.subscriptions_of(namespace, found.id)
        check_deletable_customer(
            (msgspec.json.decode(one.body, type=Subscription) for one in documents),
            time.time_ns() // 1_000_000_000,
        )
