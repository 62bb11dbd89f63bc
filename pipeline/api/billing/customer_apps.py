"""`/customers/.../apps`, `/customers/.../stripe`: under which id Stripe has a customer, in OpenMeter's JSON.

Owns: the routes. Does not own: which id a customer may have (core.billing.customer_app_commands), calls to Stripe
(stripe_calls).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Body, Depends, Query, Request, Response

from pipeline.api.billing.answers import CustomerAppAnswer, CustomerAppPage
from pipeline.api.billing.bodies import CustomerAppBody, StripeCustomerBody
from pipeline.api.billing.stripe_calls import app_of, check_customer
from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paging import PagedInOrder, ordered, paginated
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import audited, body_of, definitions, submit, submit_in_turn
from pipeline.core.billing.app import App, StripeApp, stripe_accounts
from pipeline.core.billing.customer_app import CustomerApp, customer_app_name
from pipeline.core.definitions.body import check_written
from pipeline.core.definitions.kinds import CUSTOMER_APP
from pipeline.errors import Rejected

router = Router(prefix="/customers/{customerIdOrKey}", tags=["billing"])
READ, WRITE = [Depends(needs("query"))], [Depends(needs("customers:write"))]
REASONS = ["bad-customer-app", "customer-app-conflict", "app-conflict", "bad-app", "stripe-key-refused",
           "stripe-refused", "sealed"]  # fmt: skip
DataJson = dict[str, Any]


@router.get("/apps", summary="A customer's apps", dependencies=READ, **described(answer=CustomerAppPage))
def list_data(
    request: Request,
    customerIdOrKey: str,
    page: PagedInOrder,
    type: Annotated[Literal["stripe"] | None, Query(description="type of the app")] = None,
) -> DataJson:
    """One page of the ids that installed apps have for the customer."""
    customer = customer_named(request, customerIdOrKey).id
    rows = [
        _json(one, app) for app in _installed(request) if (one := _data(request, customer, app)) is not None
    ]
    return paginated(ordered(rows, None, ("id",), page), page)


@router.put(
    "/apps",
    summary="Set a customer's ids in apps",
    dependencies=WRITE,
    **described(list[CustomerAppBody], list[CustomerAppAnswer], reasons=REASONS),
)
async def upsert_data(
    request: Request, customerIdOrKey: str, data: Annotated[list[DataJson], Body()]
) -> list[DataJson]:
    """All or none. Apps that are not named keep what they have."""
    return await _upsert(request, customerIdOrKey, data)


@router.delete(
    "/apps/{appId}",
    status_code=204,
    summary="Delete a customer's id in an app",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-customer-app"]),
)
def delete_data(request: Request, customerIdOrKey: str, appId: str) -> Response:
    """The customer's usage is no longer sent there; it waits until an id is set again."""
    submit(request, "customer-app.delete", {"customerId": customerIdOrKey, "appId": appId})
    return Response(status_code=204)


@router.get(
    "/stripe", summary="A customer's id at Stripe", dependencies=READ,
    **described(answer=CustomerAppAnswer, reasons=["app-conflict"]),
)  # fmt: skip
def get_stripe(request: Request, customerIdOrKey: str) -> DataJson:
    """Of the only Stripe app. 404 where none is set."""
    customer, app = customer_named(request, customerIdOrKey).id, app_of(request, None)
    found = _data(request, customer, app)
    if found is None:
        raise Rejected("not-found", f"The customer {customerIdOrKey[:256]} has no id at Stripe.")
    return _json(found, app)


@router.put(
    "/stripe",
    summary="Set a customer's id at Stripe",
    dependencies=WRITE,
    **described(StripeCustomerBody, CustomerAppAnswer, reasons=REASONS),
)
async def upsert_stripe(
    request: Request, customerIdOrKey: str, data: Annotated[DataJson, Body()]
) -> DataJson:
    """In the only Stripe app. The customer must exist at Stripe, and be that of no other customer here."""
    for member in ("id", "type", "app"):
        if member in data:
            raise Rejected(
                "bad-customer-app", f"customer-app {member} is named by the path: leave it out of the body"
            )
    (answer,) = await _upsert(request, customerIdOrKey, [data])
    return answer


async def _upsert(request: Request, customer: str, data: list[DataJson]) -> list[DataJson]:
    await loaded(services_of(request).definitions)
    apps = await audited(request, "customer-app.upsert", {"customerId": customer}, _checked(request, data))
    rows = [
        {**{name: value for name, value in one.items() if name not in ("id", "app")}, "appId": app.id}
        for one, app in zip(data, apps, strict=True)
    ]
    asked = {"customerId": customer, "data": rows}
    reply = await submit_in_turn(request, "customer-app.upsert", asked)
    stored = body_of(reply)["data"]
    assert isinstance(stored, list)
    return [_json(CustomerApp.read(one), app) for one, app in zip(stored, apps, strict=True)]


async def _checked(request: Request, data: list[DataJson]) -> list[StripeApp]:
    """The app of each, whose account at Stripe has the customer."""
    apps: list[StripeApp] = []
    for one in data:
        for member in ("appId", "customerId"):
            if member in one:
                raise Rejected("bad-customer-app", f"customer-app has an unknown member {member!r}: see id")
        app = app_of(request, one.get("id"))
        check_written(CUSTOMER_APP, one, ("app",), {"app": app.shown})
        await check_customer(request, app, one.get("stripeCustomerId"))
        apps.append(app)
    return apps


def _installed(request: Request) -> list[StripeApp]:
    return stripe_accounts(definitions(request).all(App, namespace_of(request)))


def _data(request: Request, customer: str, app: StripeApp) -> CustomerApp | None:
    return definitions(request).find(CustomerApp, namespace_of(request), customer_app_name(customer, app.id))


def _json(data: CustomerApp, app: StripeApp) -> DataJson:
    found = {
        "type": app.type, "id": app.id, "stripeCustomerId": data.stripe_customer_id, "app": app.shown,
    }  # fmt: skip
    method = data.stripe_default_payment_method_id
    return found if method is None else {**found, "stripeDefaultPaymentMethodId": method}
