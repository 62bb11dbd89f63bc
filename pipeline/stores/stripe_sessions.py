"""Stripe's sessions of checkout and of the customer portal, by its official client.

Owns: each call. Does not own: parameters and answers (core.billing.stripe_session).
"""

from __future__ import annotations

from typing import Any

import stripe

from pipeline.core.billing.stripe_request import CallParams
from pipeline.stores.stripe_api import StripeApi, failure_of


class StripeSessions:
    """The sessions of one account."""

    def __init__(self, api: StripeApi) -> None:
        self._client: Any = api.client.v1

    async def create_customer(self, params: CallParams, once: str) -> str:
        """The id of a new customer, or of the one that was created under the key `once`.

        Raises:
            Rejected: `stripe-key-refused`, `stripe-refused`.
            Unavailable: Stripe does not answer, or not in time.
        """
        try:
            made = await self._client.customers.create_async(params=params, options={"idempotency_key": once})
        except stripe.StripeError as error:
            raise failure_of(error, "create a customer") from error
        return str(made.id)

    async def describe_customer(self, id: str, params: CallParams, once: str) -> None:
        """Give a customer its details. Raises as `create_customer`."""
        try:
            await self._client.customers.update_async(id, params=params, options={"idempotency_key": once})
        except stripe.StripeError as error:
            raise failure_of(error, "change a customer") from error

    async def checkout(self, params: CallParams) -> dict[str, object]:
        """A new checkout session, as Stripe shows it. Raises as `create_customer`."""
        try:
            made = await self._client.checkout.sessions.create_async(params=params)
        except stripe.StripeError as error:
            raise failure_of(error, "create a checkout session") from error
        return dict(made.to_dict())

    async def portal(self, params: CallParams) -> dict[str, object]:
        """A new session of the customer portal. Raises as `create_customer`."""
        try:
            made = await self._client.billing_portal.sessions.create_async(params=params)
        except stripe.StripeError as error:
            raise failure_of(error, "create a portal session") from error
        return dict(made.to_dict())
