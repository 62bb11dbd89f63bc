"""`/stripe/checkout/sessions`, `/customers/.../stripe/portal`: pages of Stripe for a customer, in OpenMeter's JSON.

Owns: the routes, which customer at Stripe a page is for. Does not own: parameters and answers
(core.billing.stripe_session), calls (stores.stripe_sessions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Body, Depends, Request

from pipeline.api.billing.session_answers import (
    CheckoutAnswer,
    CheckoutBody,
    PortalSessionAnswer,
    PortalSessionBody,
)
from pipeline.api.billing.stripe_calls import app_of, ask, check_customer, open_key
from pipeline.api.customers.lookup import customer_named
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.bulkheads import loaded
from pipeline.api.http.described import described
from pipeline.api.http.paths import Router
from pipeline.api.http.services import services_of
from pipeline.api.http.submit import audited, body_of, definitions, submit_in_turn
from pipeline.core.billing.app import StripeApp
from pipeline.core.billing.customer_app import CustomerApp, customer_app_name
from pipeline.core.billing.stripe_request import (
    StripeTarget,
    address_of,
    details_key,
    details_of,
    key_of,
    params_of,
)
from pipeline.core.billing.stripe_session import (
    KIND,
    checkout_answer,
    checkout_params,
    portal_answer,
    portal_params,
)
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.errors import Rejected
from pipeline.records import StripeOrder
from pipeline.stores.stripe_sessions import StripeSessions

router = Router(tags=["billing"])
WRITE = [Depends(needs("customers:write"))]
REASONS = ["not-found", "bad-stripe-session", "bad-customer", "bad-customer-app", "customer-conflict",
           "subject-conflict", "customer-app-conflict", "app-conflict", "stripe-key-refused", "stripe-refused",
           "sealed"]  # fmt: skip
SessionBody = Annotated[dict[str, Any], Body()]


@router.post(
    "/stripe/checkout/sessions",
    status_code=201,
    summary="Begin a checkout session",
    dependencies=WRITE,
    **described(CheckoutBody, CheckoutAnswer, status=201, reasons=REASONS),
)
async def create_checkout(request: Request, session: SessionBody) -> dict[str, object]:
    """A page on which the customer gives Stripe a payment method; the mode is always `setup`.

    A customer that has no id at Stripe is created there.
    """
    await loaded(services_of(request).definitions)
    app, customer, options = await audited(request, "stripe.checkout", {}, _read(request, session))
    if customer is None:
        made = body_of(await submit_in_turn(request, "customer.create", dict(session["customer"])))
        customer = Customer.read(made)
    stripe_id = await _stripe_customer(request, app, customer, session.get("stripeCustomerId"))
    params = checkout_params(options, stripe_id)
    shown = await ask(request, open_key(request, app), lambda api: StripeSessions(api).checkout(params))
    return checkout_answer(shown, customer.id)


@router.post(
    "/customers/{customerIdOrKey}/stripe/portal",
    status_code=201,
    summary="Begin a session of Stripe's customer portal",
    dependencies=WRITE,
    **described(PortalSessionBody, PortalSessionAnswer, status=201, reasons=REASONS),
)
async def create_portal(request: Request, customerIdOrKey: str, session: SessionBody) -> dict[str, object]:
    """A page on which the customer sees its invoices and payment methods at Stripe."""
    await loaded(services_of(request).definitions)
    named = {"customerId": customerIdOrKey[:256]}
    app, known = await audited(request, "stripe.portal", named, _known_of(request, customerIdOrKey, session))
    params = portal_params(session, known.stripe_customer_id)
    return portal_answer(
        await ask(request, open_key(request, app), lambda api: StripeSessions(api).portal(params))
    )


async def _known_of(
    request: Request, name: str, session: Mapping[str, object]
) -> tuple[StripeApp, CustomerApp]:
    """The app, and what it knows of a customer. name: id or key."""
    portal_params(session, "")
    customer = customer_named(request, name)
    app = app_of(request, None)
    known = _known(request, app, customer)
    if known is None:
        raise Rejected("not-found", f"The customer {name[:256]} has no id at Stripe.")
    return app, known


async def _read(
    request: Request, session: Mapping[str, object]
) -> tuple[StripeApp, Customer | None, Mapping[str, object]]:
    """The app, the customer (None: it is new) and the options of a body."""
    sent = BodyReader(KIND, session, ("appId", "customer", "options", "stripeCustomerId"))
    wanted, options = sent.nested("customer"), sent.nested("options")
    if wanted is None or options is None:
        sent.refuse(f"{KIND} customer and options are required")
    checkout_params(options, "")
    name = None if "name" in wanted else _name(wanted)
    app = app_of(request, sent.text("appId", 64))
    if sent.text("stripeCustomerId", 255) is not None:
        await check_customer(request, app, session["stripeCustomerId"])
    if name is None:
        return app, None, options
    return app, customer_named(request, name), options


def _name(wanted: Mapping[str, object]) -> str:
    """The id or key of a customer that exists."""
    named = BodyReader(KIND, wanted, ("id", "key"), inside="customer")
    return named.text("id", 256) or named.required("key", 256)


def _known(request: Request, app: StripeApp, customer: Customer) -> CustomerApp | None:
    found = definitions(request).find(
        CustomerApp, namespace_of(request), customer_app_name(customer.id, app.id)
    )
    return None if found is None or found.is_deleted else found


async def _stripe_customer(request: Request, app: StripeApp, customer: Customer, wanted: object) -> str:
    """Stripe's id of a customer: the one that is sent, else the one that is known, else a new one."""
    known = _known(request, app, customer)
    if wanted is None and known is not None:
        return known.stripe_customer_id
    stripe_id = str(wanted) if wanted is not None else await _created(request, app, customer)
    data = [{"appId": app.id, "stripeCustomerId": stripe_id}]
    await submit_in_turn(request, "customer-app.upsert", {"customerId": customer.id, "data": data})
    if wanted is None:
        await _describe(request, app, customer, stripe_id)
    return stripe_id


async def _created(request: Request, app: StripeApp, customer: Customer) -> str:
    """Stripe's id of a new customer. An order that creates it at the same time has the same key, and gets the same."""
    target, order = StripeTarget(app.id, customer.id, ""), _order(app, customer)
    params, once = params_of("customer", target, order), key_of("customer", target, order, 1)
    return await ask(
        request, open_key(request, app), lambda api: StripeSessions(api).create_customer(params, once)
    )


async def _describe(request: Request, app: StripeApp, customer: Customer, stripe_id: str) -> None:
    """Give a new customer its details. It is known by now, so that one whose details are refused is not made again."""
    details = details_of(_order(app, customer))
    once = details_key(StripeTarget(app.id, customer.id, "", stripe_id), details)
    await ask(
        request,
        open_key(request, app),
        lambda api: StripeSessions(api).describe_customer(stripe_id, details, once),
    )


def _order(app: StripeApp, customer: Customer) -> StripeOrder:
    return StripeOrder(
        "issue", app.id, 0, name=customer.name, email=customer.primary_email or "",
        address=address_of(customer.billing_address),
    )  # fmt: skip
