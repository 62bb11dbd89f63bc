"""The commands about a customer's id in an app.

Owns: which id a customer may have, deciding customer-app.*. Does not own: what the definition holds (customer_app),
whether Stripe has the customer: the sender of the command asks it.
A customer of Stripe belongs to one customer here: Stripe's sums are by its customer, so the units of two that share
one could not be compared with anything.
"""

from __future__ import annotations

from pipeline.core.billing.app import App, StripeApp
from pipeline.core.billing.customer_app import CustomerApp, customer_app_name
from pipeline.core.customers.customer import MAX_KEY, Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import CUSTOMER_APP, CUSTOMER_APP_STRIPE, CUSTOMER_KEY
from pipeline.errors import Rejected

MAX_ID = 255  # of Stripe's objects
MAX_LIST = 100
MAX_FORMER = 10  # ids that are remembered
_OF_APP = ("appId", "type", "stripeCustomerId", "stripeDefaultPaymentMethodId")
_MEMBERS = ("customerId", *_OF_APP)


def upsert(context: CommandContext) -> Decided:
    """customer-app.upsert: under which id the app has the customer, of a list all or none.

    The same again changes nothing. Usage that was sent stays with the customer of Stripe to which it was sent; the next
    goes to the new one.

    Raises:
        Rejected: `not-found` for the customer or the app; `bad-customer-app`; `customer-app-conflict` if another
            customer has that customer of Stripe.
    """
    if "data" not in context.body:
        change, body = _upsert(context, BodyReader(CUSTOMER_APP, context.body, _MEMBERS))
        return Decided([] if change is None else [change], body.members)
    sent = BodyReader(CUSTOMER_APP, context.body, ("customerId", "data"))
    customer = _customer(context, sent)
    listed = sent.objects("data", 0, MAX_LIST) or []
    for one in listed:
        BodyReader(CUSTOMER_APP, one, _OF_APP)
    given = [BodyReader(CUSTOMER_APP, {**one, "customerId": customer.id}, _MEMBERS) for one in listed]
    if len({one.required("appId", 64) for one in given}) < len(given):
        sent.refuse("customer-app data must not name an app twice")
    found = [_upsert(context, one) for one in given]
    changes = [change for change, _ in found if change is not None]
    return Decided(changes, {"data": [body.members for _, body in found]})


def _upsert(context: CommandContext, sent: BodyReader) -> tuple[DefinitionChange | None, CustomerApp]:
    """One customer in one app: what changes, if it does, and how it is then."""
    customer, app = _customer(context, sent), _app(context, sent)
    if sent.text("type", 64) not in (None, app.type):
        sent.refuse(f"customer-app type must be {app.type}, as the app's")
    stripe_id = sent.required("stripeCustomerId", MAX_ID)
    if not stripe_id.startswith("cus_"):
        sent.refuse("customer-app stripeCustomerId must be the id of a customer at Stripe: cus_...")
    _check_free(context, customer, app, stripe_id)
    name = customer_app_name(customer.id, app.id)
    old = context.index.find(CustomerApp, context.namespace, name)
    new = CustomerApp(
        customer_id=customer.id,
        app_id=app.id,
        stripe_customer_id=stripe_id,
        stripe_default_payment_method_id=sent.text("stripeDefaultPaymentMethodId", MAX_ID),
        former_stripe_ids=_former(old, stripe_id),
        created_at=context.now if old is None else old.created_at,
        updated_at=context.now if old is None else old.updated_at,
    )
    if old is not None:
        if new == old:
            return None, old
        new = new.in_place_of(old).changed(updated_at=context.now)
    return DefinitionChange(CUSTOMER_APP, name, new), new


def _former(old: CustomerApp | None, stripe_id: str) -> tuple[str, ...]:
    """The ids that a customer had before the one that it gets."""
    if old is None:
        return ()
    ids = (*old.former_stripe_ids, old.stripe_customer_id)
    return tuple(one for one in dict.fromkeys(ids) if one != stripe_id)[-MAX_FORMER:]


def delete(context: CommandContext) -> Decided:
    """customer-app.delete: the app no longer knows the customer, and its usage waits until it does.

    Raises:
        Rejected: `not-found`.
    """
    sent = BodyReader(CUSTOMER_APP, context.body, ("customerId", "appId"))
    customer, app = _customer(context, sent), _app(context, sent)
    name = customer_app_name(customer.id, app.id)
    if context.index.find(CustomerApp, context.namespace, name) is None:
        raise Rejected("not-found", f"The customer {customer.id} has no data in the app {app.id}.")
    return Decided([DefinitionChange(CUSTOMER_APP, name, None)])


def _customer(context: CommandContext, sent: BodyReader) -> Customer:
    wanted = sent.required("customerId", MAX_KEY)
    found = context.index.find_by(Customer, context.namespace, CUSTOMER_KEY, wanted, deleted=False)
    if found is None:
        raise Rejected("not-found", f"There is no customer with the id or key {wanted}.")
    return found


def _app(context: CommandContext, sent: BodyReader) -> StripeApp:
    wanted = sent.required("appId", 64)
    found = context.index.find(App, context.namespace, wanted)
    if not isinstance(found, StripeApp) or found.is_deleted:
        raise Rejected("not-found", f"There is no app with the id {wanted}.")
    return found


def _check_free(context: CommandContext, customer: Customer, app: App, stripe_id: str) -> None:
    """Raises Rejected if another customer that is not deleted has this customer of Stripe in the app."""
    index, namespace = context.index, context.namespace
    for one in index.having(CustomerApp, namespace, CUSTOMER_APP_STRIPE, stripe_id):
        if one.app_id != app.id or one.customer_id == customer.id:
            continue
        other = index.find(Customer, namespace, one.customer_id)
        if other is not None and not other.is_deleted:
            raise Rejected(
                "customer-app-conflict",
                f"the Stripe customer {stripe_id} is that of the customer {other.id} already: give each customer one "
                "of its own",
            )
