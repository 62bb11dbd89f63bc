"""Stripe, by its official client: meter events, their sums, and what a key may do.

Owns: each call, its time limit, and the shape in which an answer comes back. Does not own: what an answer means
(core.billing.stripe_outcome), how often calls are made (agents.stripe_sync). The client makes no retries of its own:
each outcome becomes a record, so that the next owner of the customer continues from it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Literal, NamedTuple

import stripe
from stripe import HTTPXClient, StripeClient
from stripe._base_address import BaseAddresses

from pipeline.core.billing.stripe_outcome import StripeAnswer
from pipeline.errors import Rejected, Unavailable

TIMEOUT_S = 20.0
SUMMARIES_AT_ONCE = 100  # Stripe's limit of a page
EXACT_BELOW = 2**53  # a JSON number of Stripe is a float: from here on its last digits are lost
GroupingWindow = Literal["hour", "day"]


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
        self._http = HTTPXClient(timeout=timeout_s, allow_sync_methods=False)
        self._client = StripeClient(
            key, base_addresses=addresses, max_network_retries=0, http_client=self._http
        )

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def send(self, event: MeterEvent) -> StripeAnswer:
        """Send one meter event. Whatever comes of it is an answer."""
        try:
            await self._client.v1.billing.meter_events.create_async(
                params={
                    "event_name": event.event_name,
                    "payload": dict(event.payload),
                    "identifier": event.identifier,
                    "timestamp": event.at_s,
                }
            )
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
            raise _failure(error, "read the account") from error
        settings = found.settings
        name = settings.dashboard.display_name if settings and settings.dashboard else None
        return AccountAtStripe(found.id, name or found.id, self._live)

    async def meters(self) -> list[MeterAtStripe]:
        """The meters of the account. Raises as `account`."""
        try:
            page = await self._client.v1.billing.meters.list_async(params={"limit": 100})
            return [_meter(one) async for one in page.auto_paging_iter()]
        except stripe.StripeError as error:
            raise _failure(error, "list the meters") from error

    async def customer_exists(self, id: str) -> bool:
        """Whether Stripe has the customer, and it is not deleted. Raises as `account`."""
        try:
            found = await self._client.v1.customers.retrieve_async(id)
        except stripe.InvalidRequestError as error:
            if error.http_status == 404:
                return False
            raise _failure(error, "read a customer") from error
        except stripe.StripeError as error:
            raise _failure(error, "read a customer") from error
        return not getattr(found, "deleted", False)

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
            raise _failure(error, "read the summaries") from error

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
    headers = error.headers or {}
    return StripeAnswer(
        status=error.http_status or 0,
        code=error.code or "",
        message=str(error.user_message or error),
        request_id=error.request_id or "",
        retry_after_ms=_retry_after_ms(headers.get("Retry-After", "")),
    )


def _retry_after_ms(text: str) -> int:
    return int(text) * 1_000 if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _failure(error: stripe.StripeError, action: str) -> Rejected | Unavailable:
    answer = answer_of(error)
    if answer.status in (401, 403):
        return Rejected("stripe-key-refused", f"Stripe refused to {action}: {answer.message}")
    if 400 <= answer.status < 500 and answer.status not in (409, 429):
        return Rejected("stripe-refused", f"Stripe refused to {action}: {answer.message}")
    return Unavailable(f"Stripe is unavailable, could not {action}: {answer.message}")


def _meter(found: stripe.billing.Meter) -> MeterAtStripe:
    return MeterAtStripe(
        found.id,
        found.event_name,
        found.status == "active",
        found.default_aggregation.formula,
        found.customer_mapping.event_payload_key,
        found.value_settings.event_payload_key,
    )
