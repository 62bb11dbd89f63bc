"""What an app knows of a customer: under which id the outside system has it.

Owns: what the definition holds. Does not own: deciding customer-app.* (customer_app_commands), the customer
(customers.customer), whether the outside system knows the id (stores.stripe_api).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` StripeCustomerAppData.
"""

from __future__ import annotations

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import CUSTOMER_APP


class CustomerApp(DefinitionBody, frozen=True, kw_only=True):
    """A customer in an app. The name of the definition is `customer_app_name`.

    former_stripe_ids: that the customer had before, the newest last. Usage that was sent stays with them.
    """

    kind = CUSTOMER_APP

    customer_id: str
    app_id: str
    stripe_customer_id: str
    stripe_default_payment_method_id: str | None = None
    former_stripe_ids: tuple[str, ...] = ()
    created_at: str
    updated_at: str


def customer_app_name(customer_id: str, app_id: str) -> str:
    """The name of the definition. Both ids are ULIDs.

    >>> customer_app_name("01A", "01B")
    '01A.01B'
    """
    return f"{customer_id}.{app_id}"
