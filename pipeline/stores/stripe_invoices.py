"""Stripe's invoices, by its official client: the calls that make one, and the result of a call.

Owns: each call, and the shape in which an answer comes back. Does not own: what is sent (core.billing.stripe_request),
which call is made when (core.billing.stripe_invoice), what an answer means (core.billing.stripe_outcome).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import stripe

from pipeline.core.billing.stripe_found import found_in, owner_of
from pipeline.core.billing.stripe_outcome import StripeAnswer
from pipeline.core.billing.stripe_request import CallName, CallParams, StripeTarget, details_key
from pipeline.records import StripeFound
from pipeline.stores.stripe_api import StripeApi, answer_of, failure_of
from pipeline.stores.stripe_http import MayWrite, NotWritten, within

AT_ONCE = 100  # Stripe's limit of a page
MISSING = 404


class StripeReply(NamedTuple):
    """found: what a successful answer shows, and the customer that was created before another answer."""

    answer: StripeAnswer
    found: StripeFound | None = None


class StripeInvoices:
    """The invoices and customers of one account."""

    def __init__(self, api: StripeApi) -> None:
        self._client: Any = api.client.v1  # parameters are built by the core as plain objects

    async def create_customer(
        self, target: StripeTarget, params: CallParams, details: CallParams, key: str, may_write: MayWrite
    ) -> StripeReply | None:
        """Create a customer, and give it its details.

        Args:
            target: whose it is.
            params: of its creation.
            details: what it has beside that; empty: nothing.
            key: of its creation.
            may_write: as of `call`.

        Returns:
            As `call`. It shows the customer also where its details were refused.
        """
        created = await self.call("customer", target, params, key, may_write)
        if created is None or created.found is None or not details:
            return created
        target = target._replace(stripe_customer=created.found.id)
        options = {"idempotency_key": details_key(target, details)}
        try:
            with within(may_write):
                await self._client.customers.update_async(
                    target.stripe_customer, params=details, options=options
                )
        except NotWritten:
            return None
        except stripe.StripeError as error:
            return StripeReply(answer_of(error), created.found)
        return created

    async def call(
        self, name: CallName, target: StripeTarget, params: CallParams, key: str, may_write: MayWrite
    ) -> StripeReply | None:
        """Make one call.

        Args:
            name: what it does.
            target: with Stripe's id of the invoice, but for the first two.
            params: the same for the same key.
            key: under which Stripe executes it once.
            may_write: whether it may still be made; asked at the last moment before its bytes are written.

        Returns:
            The answer, whatever it is; None: it was not made, since `may_write` forbade it.
        """
        try:
            with within(may_write):
                found = await self._made(name, target.stripe_invoice, params, {"idempotency_key": key})
        except NotWritten:
            return None
        except stripe.StripeError as error:
            answer = answer_of(error)
            if name == "delete" and answer.status == MISSING:
                return StripeReply(StripeAnswer(200), StripeFound(status="deleted"))
            return StripeReply(answer)
        return StripeReply(StripeAnswer(200), found_in(found.to_dict()))

    async def _made(self, name: CallName, id: str, params: CallParams, options: Mapping[str, str]) -> Any:
        invoices = self._client.invoices
        match name:
            case "customer":
                return await self._client.customers.create_async(params=params, options=options)
            case "create":
                return await invoices.create_async(params=params, options=options)
            case "lines":
                return await invoices.add_lines_async(id, params=params, options=options)
            case "finalize":
                return await invoices.finalize_invoice_async(id, params=params, options=options)
            case "pay":
                return await invoices.pay_async(id, params=params, options=options)
            case "void":
                return await invoices.void_invoice_async(id, params=params, options=options)
            case "delete":
                return await invoices.delete_async(id)

    async def invoice(self, id: str) -> StripeFound:
        """An invoice; without an id: there is none.

        Raises:
            Rejected: `stripe-key-refused`, `stripe-refused`.
            Unavailable: Stripe does not answer, or not in time.
        """
        try:
            found = await self._client.invoices.retrieve_async(id)
        except stripe.StripeError as error:
            if error.http_status == MISSING:
                return StripeFound()
            raise failure_of(error, "read an invoice") from error
        return found_in(found.to_dict())

    async def find_invoice(self, target: StripeTarget, since_s: int) -> StripeFound:
        """The invoice that was made for ours since an instant; without an id: none was. Raises as `invoice`."""
        listed = {"customer": target.stripe_customer, "created": {"gte": since_s}, "limit": AT_ONCE}
        async for one in self.listed(listed):
            owner = owner_of(one)
            if (owner.app, owner.invoice) == (target.app, target.invoice):
                return found_in(one)
        return StripeFound()

    async def find_customer(self, target: StripeTarget, since_s: int) -> StripeFound:
        """The customer that was made for ours since an instant; without an id: none was. Raises as `invoice`."""
        params = {"created": {"gte": since_s}, "limit": AT_ONCE}
        try:
            page = await self._client.customers.list_async(params=params)
            async for one in page.auto_paging_iter():
                owner = owner_of(one.to_dict())
                if (owner.app, owner.customer) == (target.app, target.customer):
                    return StripeFound(id=str(one.id))
        except stripe.StripeError as error:
            raise failure_of(error, "list customers") from error
        return StripeFound()

    async def listed(self, params: Mapping[str, object]) -> AsyncIterator[dict[str, object]]:
        """The invoices of a list, the newest first. Raises as `invoice`."""
        try:
            page = await self._client.invoices.list_async(params=params)
            async for one in page.auto_paging_iter():
                yield one.to_dict()
        except stripe.StripeError as error:
            raise failure_of(error, "list invoices") from error
