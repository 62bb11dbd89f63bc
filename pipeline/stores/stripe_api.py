"""Stripe, by its official client: meter events, their sums, and what a key may do.

Owns: each call, its time limit, and the shape in which an answer comes back. Does not own: what an answer means
(core.billing.stripe_outcome), how often calls are made (agents.stripe_sync). The client makes no retries of its own:
each outcome becomes a record, so that the next owner of the customer continues from it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

import stripe
from stripe import StripeClient
from stripe._base_address import BaseAddresses

from pipeline.core.billing.stripe_outcome import StripeAnswer
from pipeline.errors import Rejected, Unavailable
from pipeline.stores.stripe_http import MayWrite, NotWritten, StripeHttp, within

TIMEOUT_S = 20.0
SUMMARIES_AT_ONCE = 100  # Stripe's limit of a page
EXACT_BELOW = 2**53  # a JSON number of Stripe is a float: from here on its last digits are lost
CHECK = "tallymark_key_check"  # the name in requests that only try a right
GroupingWindow = Literal["hour", "day"]
EventPayload = Literal["thin", "snapshot"]


class MeterEvent(NamedTuple):
    """A meter event. payload: with the customer and the value under the meter's names; at_s: within the window."""

    event_name: str
    payload: Mapping[str, str]
    identifier: str
    at_s: int


class AccountAtStripe(NamedTuple):
    """livemode: whether the key moves real money."""

    id: str
    name: str
    livemode: bool


class DestinationAtStripe(NamedTuple):
    """Where Stripe sends events. secret: signs them; it is shown once."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"DestinationAtStripe({self.id})"


class MeterAtStripe(NamedTuple):
    """A meter as Stripe has it. formula: sum, count or last. customer_key, value_key: members of its payload."""

    id: str
    event_name: str
    active: bool
    formula: str
    customer_key: str
    value_key: str


class SummaryAtStripe(NamedTuple):
    """What Stripe counted in [start_s, end_s). exact: whether `value` is below the digits that a float loses."""

    start_s: int
    end_s: int
    value: Decimal
    exact: bool


class StripeApi:
    """One account of Stripe.

    Args:
        key: secret or restricted.
        address: of a counterpart that is not Stripe; empty: Stripe itself.
        timeout_s: of one call.
    """

    def __init__(self, key: str, address: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._live = "_live_" in key
        addresses: BaseAddresses = {"api": address, "meter_events": address} if address else {}
        self._http = StripeHttp(timeout_s)
        self._client = StripeClient(
            key, base_addresses=addresses, max_network_retries=0, http_client=self._http
        )

    @property
    def client(self) -> StripeClient:
        """The official client, for calls of other subjects."""
        return self._client

    async def close(self) -> None:
        await self._http.close_async()

    async def send(self, event: MeterEvent, may_write: MayWrite) -> StripeAnswer | None:
        """Send one meter event.

        Args:
            event: the same bytes for the same identifier.
            may_write: whether it may still be sent; asked at the last moment before its bytes are written.

        Returns:
            The answer, whatever it is; None: it was not sent, since `may_write` forbade it.
        """
        try:
            with within(may_write):
                await self._client.v1.billing.meter_events.create_async(
                    params={
                        "event_name": event.event_name,
                        "payload": dict(event.payload),
                        "identifier": event.identifier,
                        "timestamp": event.at_s,
                    }
                )
        except NotWritten:
            return None
        except stripe.StripeError as error:
            return answer_of(error)
        return StripeAnswer(200)

    async def account(self) -> AccountAtStripe:
        """Read the account of the key.

        Raises:
            Rejected: `stripe-key-refused`: the key is wrong, or may not do it.
            Unavailable: Stripe does not answer, or not in time.
        """
        try:
            found = await self._client.v1.accounts.retrieve_current_async()
        except stripe.StripeError as error:
            raise failure_of(error, "read the account") from error
        settings = found.settings
        name = settings.dashboard.display_name if settings and settings.dashboard else None
        return AccountAtStripe(found.id, name or found.id, self._live)

    async def meters(self) -> list[MeterAtStripe]:
        """The meters of the account. Raises as `account`."""
        try:
            page = await self._client.v1.billing.meters.list_async(params={"limit": 100})
            return [_meter(one) async for one in page.auto_paging_iter()]
        except stripe.StripeError as error:
            raise failure_of(error, "list the meters") from error

    async def customer_exists(self, id: str) -> bool:
        """Whether Stripe has the customer, and it is not deleted. Raises as `account`."""
        try:
            found = await self._client.v1.customers.retrieve_async(id)
        except stripe.InvalidRequestError as error:
            if error.http_status == 404:
                return False
            raise failure_of(error, "read a customer") from error
        except stripe.StripeError as error:
            raise failure_of(error, "read a customer") from error
        return not getattr(found, "deleted", False)

    async def may_send(self) -> None:
        """Check the right to send meter events, by one of 1970 without a payload: Stripe refuses it and counts nothing.

        Raises as `account`.
        """
        try:
            await self._client.v1.billing.meter_events.create_async(
                params={"event_name": CHECK, "payload": {}, "timestamp": 1}
            )
        except stripe.InvalidRequestError:
            return
        except stripe.StripeError as error:
            raise failure_of(error, "send meter events") from error

    async def may_write_customers(self) -> None:
        """Check the right to write customers, by a change of one that does not exist: Stripe has nothing to change.

        Raises as `account`.
        """
        try:
            await self._client.v1.customers.update_async(f"cus_{CHECK}", params={})
        except stripe.InvalidRequestError:
            return
        except stripe.StripeError as error:
            raise failure_of(error, "change a customer") from error

    async def may_write_invoices(self) -> None:
        """Check the right to write invoices, by finalizing one that does not exist. Raises as `account`."""
        try:
            await self._client.v1.invoices.finalize_invoice_async(f"in_{CHECK}")
        except stripe.InvalidRequestError:
            return
        except stripe.StripeError as error:
            raise failure_of(error, "finalize an invoice") from error

    async def may_read_invoices(self) -> None:
        """Check the right to read invoices. Raises as `account`."""
        try:
            await self._client.v1.invoices.retrieve_async(f"in_{CHECK}")
        except stripe.InvalidRequestError:
            return
        except stripe.StripeError as error:
            raise failure_of(error, "read an invoice") from error

    async def create_destination(
        self, url: str, events: Sequence[str], payload: EventPayload, once: str
    ) -> DestinationAtStripe:
        """Have Stripe send events to a URL.

        Args:
            url: https, but for a test account.
            events: their types.
            payload: thin without a content, which is read then; snapshot with it. Each type has one of them.
            once: a key under which Stripe creates one, however often it is asked within a day.

        Raises:
            Rejected: `stripe-key-refused`, `stripe-refused`, as for a URL that Stripe does not take.
            Unavailable: Stripe does not answer, or not in time.
        """
        try:
            made = await self._client.v2.core.event_destinations.create_async(
                params={
                    "name": "Tallymark",
                    "type": "webhook_endpoint",
                    "event_payload": payload,
                    "enabled_events": list(events),
                    "webhook_endpoint": {"url": url},
                    "include": ["webhook_endpoint.signing_secret"],
                },
                options={"idempotency_key": once},
            )
        except stripe.StripeError as error:
            raise failure_of(error, "create an event destination") from error
        secret = made.webhook_endpoint.signing_secret if made.webhook_endpoint else None
        if not secret:
            raise Rejected(
                "stripe-refused", "Stripe created an event destination and did not give its secret."
            )
        return DestinationAtStripe(made.id, secret)

    async def delete_destination(self, id: str) -> None:
        """Raises as `create_destination`."""
        try:
            await self._client.v2.core.event_destinations.delete_async(id)
        except stripe.StripeError as error:
            raise failure_of(error, "delete an event destination") from error

    async def summaries(
        self, meter: str, customer: str, start_s: int, end_s: int, window: GroupingWindow
    ) -> list[SummaryAtStripe]:
        """What Stripe counted, window by window; a window without usage is absent.

        Args:
            meter: Stripe's id of it.
            customer: Stripe's id.
            start_s: on a whole hour, or UTC day.
            end_s: likewise; not included.
            window: HOUR or DAY of UTC.

        Raises:
            Rejected: `stripe-key-refused`, or `stripe-refused` for an unknown meter or customer.
            Unavailable: Stripe does not answer, or not in time.
        """
        try:
            return [one async for one in self._summaries(meter, customer, start_s, end_s, window)]
        except stripe.StripeError as error:
            raise failure_of(error, "read the summaries") from error

    async def event(self, id: str) -> dict[str, object]:
        """The content (`data`) of a thin event; empty where Stripe has no such event.

        Raises as `account`.
        """
        try:
            found = await self._client.v2.core.events.retrieve_async(id)
        except stripe.InvalidRequestError as error:
            if error.http_status == 404:
                return {}
            raise failure_of(error, "read an event") from error
        except stripe.StripeError as error:
            raise failure_of(error, "read an event") from error
        content = found.to_dict().get("data")
        return content if isinstance(content, dict) else {}

    async def _summaries(
        self, meter: str, customer: str, start_s: int, end_s: int, window: GroupingWindow
    ) -> AsyncIterator[SummaryAtStripe]:
        page = await self._client.v1.billing.meters.event_summaries.list_async(
            meter,
            params={
                "customer": customer,
                "start_time": start_s,
                "end_time": end_s,
                "value_grouping_window": window,
                "limit": SUMMARIES_AT_ONCE,
            },
        )
        async for one in page.auto_paging_iter():
            value = Decimal(
                repr(one.aggregated_value)
            )  # the shortest digits of the float: those that were sent
            yield SummaryAtStripe(one.start_time, one.end_time, value, abs(value) < EXACT_BELOW)


def answer_of(error: stripe.StripeError) -> StripeAnswer:
    """An error of the client as an answer; status 0 where no answer came."""
    headers, status = error.headers or {}, error.http_status or 0
    return StripeAnswer(
        status=0 if 200 <= status < 300 else status,  # a body that is not Stripe's, such as a page of a proxy
        code=error.code or "",
        message=str(error.user_message or error),
        request_id=error.request_id or "",
        retry_after_ms=_retry_after_ms(headers.get("Retry-After", "")),
        replayed=headers.get("Idempotent-Replayed", "") == "true",
    )


def _retry_after_ms(text: str) -> int:
    return int(text) * 1_000 if text.isascii() and text.isdigit() and len(text) < 6 else 0


def failure_of(error: stripe.StripeError, action: str) -> Rejected | Unavailable:
    """An error of the client as one of ours. action: what was asked."""
    answer = answer_of(error)
    if answer.status in (401, 403):
        return Rejected("stripe-key-refused", f"Stripe refused to {action}: {answer.message}")
    if 400 <= answer.status < 500 and answer.status not in (408, 409, 429):
        return Rejected("stripe-refused", f"Stripe refused to {action}: {answer.message}")
    return Unavailable(f"Stripe is unavailable, could not {action}: {answer.message}")


def says_missing(refusal: Rejected) -> bool:
    """Whether Stripe refused since it has no such object. A list of a customer that it does not have is a 400."""
    cause = refusal.__cause__
    return isinstance(cause, stripe.StripeError) and (
        cause.http_status == 404 or cause.code == "resource_missing"
    )


def _meter(found: stripe.billing.Meter) -> MeterAtStripe:
    return MeterAtStripe(
        found.id,
        found.event_name,
        found.status == "active",
        found.default_aggregation.formula,
        found.customer_mapping.event_payload_key,
        found.value_settings.event_payload_key,
    )
