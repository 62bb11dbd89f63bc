"""The command that sends again what Stripe did not take of a customer. It changes no definition.

Owns: which mappings it concerns, the records for stripe-sync, which are sent with the decision. Does not own: what
such a record does to a window (stripe_lanes). It is a command so that the audit log shows who asked for it.
"""

from __future__ import annotations

from typing import Literal

from pipeline.core.billing.app import App, stripe_accounts
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.customers.customer import MAX_KEY, Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.definitions.kinds import CUSTOMER_KEY
from pipeline.errors import Rejected
from pipeline.records import StripeWork

MAX_METER = 64
ACCEPTED: tuple[Literal["stripe"], ...] = ("stripe",)


def retry(context: CommandContext) -> Decided:
    """stripe.retry {customer, meter?, accept?}: each mapping in force sends again what Stripe refused of a customer.

    accept `stripe`: what Stripe has counts as confirmed for windows that are blocked. The reply names the mappings.

    Raises:
        Rejected: `not-found` for the customer, or without a mapping; `bad-retry`.
    """
    sent = BodyReader("retry", context.body, ("customer", "meter", "accept"))
    name, meter = sent.required("customer", MAX_KEY), sent.text("meter", MAX_METER)
    accept = sent.one_of("accept", ACCEPTED) or ""
    customer = context.index.find_by(Customer, context.namespace, CUSTOMER_KEY, name)
    if customer is None:
        raise Rejected("not-found", f"There is no customer {name[:64]!r}.")
    mappings = in_force(context.index, context.namespace, meter)
    if not mappings:
        of = "" if meter is None else f" of the meter {meter!r}"
        raise Rejected("not-found", f"No mapping{of} to Stripe is in force.")
    work = tuple(
        StripeWork(
            "retry", namespace=context.namespace, customer=customer.id, mapping=one.id, actor=context.command.actor,
            accept=accept,
        )
        for one in mappings
    )  # fmt: skip
    return Decided([], {"customerId": customer.id, "mappings": [one.id for one in mappings]}, sends=work)


def in_force(index: DefinitionIndex, namespace: str, meter: str | None) -> list[StripeMeter]:
    """The mappings that have not ended, of apps that are installed. meter: slug; None: of all."""
    apps = {app.id for app in stripe_accounts(index.all(App, namespace))}
    return [
        one
        for one in index.all(StripeMeter, namespace)
        if one.app_id in apps and not one.is_deleted and meter in (None, one.meter_slug)
    ]
