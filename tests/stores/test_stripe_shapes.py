"""Every request that the client of Stripe builds is one that Stripe can parse, by Stripe's own mock."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import get_args

import msgspec
import pytest

from pipeline.core.billing.stripe_outcome import StripeAnswer
from pipeline.core.billing.stripe_request import CallName, StripeTarget, details_of, key_of, params_of
from pipeline.core.billing.stripe_session import checkout_params, portal_params
from pipeline.records import StripeFound, StripeItem, StripeItemTax, StripeOrder
from pipeline.stores.stripe_api import MeterEvent, StripeApi
from pipeline.stores.stripe_invoices import StripeInvoices
from pipeline.stores.stripe_sessions import StripeSessions
from tests.core.billing.test_stripe_session import OPTIONS, PORTAL

HOUR_S = 3_600
EVENT = MeterEvent("tokens", {"stripe_customer_id": "cus_1", "value": "3"}, "tm1:a", 1_790_000_000)
CALLS: dict[str, Callable[[StripeApi], Awaitable[object]]] = {
    "send": lambda api: api.send(EVENT, lambda: True),
    "account": lambda api: api.account(),
    "meters": lambda api: api.meters(),
    "customer_exists": lambda api: api.customer_exists("cus_1"),
    "event": lambda api: api.event("evt_1"),  # of v2, which the mock does not know: it answers 404
    "may_send": lambda api: api.may_send(),
    "may_write_customers": lambda api: api.may_write_customers(),
    "may_read_invoices": lambda api: api.may_read_invoices(),
    "may_write_invoices": lambda api: api.may_write_invoices(),
    "summaries": lambda api: api.summaries("mtr_1", "cus_1", 0, 24 * HOUR_S, "hour"),
}

ORDER = StripeOrder(
    "issue", "01APP", 9, number="INV-1", currency="USD", total=619, sends=True, due_days=30, description="May",
    name="Acme", email="ann@example.com", address={"line1": "Main St 1", "country": "US"},
    items=[
        StripeItem("line", "01LINE", 1000, "Tokens", 0, HOUR_S, [StripeItemTax("Tax", "19", False, 119, 1000)]),
        StripeItem("discount", "01LINE", -500, "Tokens: discount", 0, HOUR_S),
    ],
)  # fmt: skip
TARGET = StripeTarget("01APP", "01CUSTOMER", "01INVOICE", "cus_1", "in_1")
NAMES: tuple[CallName, ...] = get_args(CallName)

V2 = {"create_destination", "delete_destination"}  # the mock has the v1 API; the sandbox answers these


def call(address: str, name: str, event: MeterEvent | None = None) -> object:
    async def run() -> object:
        api = StripeApi("sk_test_123", address)
        try:
            return await (api.send(event, lambda: True) if event else CALLS[name](api))
        finally:
            await api.close()

    return asyncio.run(run())


@pytest.mark.parametrize("name", CALLS)
def test_stripe_parses_the_request(stripe_mock: str, name: str) -> None:
    answer = call(stripe_mock, name)
    assert name != "send" or getattr(answer, "status", 0) == 200, answer


def test_every_call_of_the_client_is_tried() -> None:
    made = {
        name for name, one in inspect.getmembers(StripeApi, inspect.iscoroutinefunction) if name[0] != "_"
    }
    assert made - {"close"} - V2 == set(CALLS)


def test_the_mock_refuses_what_stripe_could_not_parse(stripe_mock: str) -> None:
    """Otherwise the other tests could not fail."""
    wrong = EVENT._replace(at_s="yesterday")  # type: ignore[arg-type]
    answer = call(stripe_mock, "send", wrong)
    assert getattr(answer, "status", 0) == 400
    assert "timestamp" in getattr(answer, "message", "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", [ORDER, msgspec.structs.replace(ORDER, sends=False)])
def test_stripe_parses_each_call_for_an_invoice(stripe_mock: str, name: CallName, order: StripeOrder) -> None:
    async def run() -> object:
        api = StripeApi("sk_test_123", stripe_mock)
        try:
            params, key = params_of(name, TARGET, order), key_of(name, TARGET, order, 1)
            return await StripeInvoices(api).call(name, TARGET, params, key, lambda: True)
        finally:
            await api.close()

    reply = asyncio.run(run())
    assert getattr(reply, "answer", None) == StripeAnswer(200), reply


def test_stripe_parses_what_is_asked_of_invoices(stripe_mock: str) -> None:
    async def run() -> list[StripeFound]:
        api = StripeApi("sk_test_123", stripe_mock)
        try:
            invoices = StripeInvoices(api)
            return [
                await invoices.invoice("in_1"),
                await invoices.find_invoice(TARGET, 0),
                await invoices.find_customer(TARGET, 0),
            ]
        finally:
            await api.close()

    one, *none = asyncio.run(run())
    assert one.id and one.status and none == [StripeFound(), StripeFound()]


def test_stripe_parses_each_member_of_a_session(stripe_mock: str) -> None:
    async def run() -> list[object]:
        api = StripeApi("sk_test_123", stripe_mock)
        try:
            sessions = StripeSessions(api)
            return [
                await sessions.checkout(checkout_params(OPTIONS, "cus_1")),
                await sessions.portal(portal_params(PORTAL, "cus_1")),
                await sessions.create_customer(params_of("customer", TARGET, ORDER), "once"),
                await sessions.describe_customer("cus_1", details_of(ORDER), "once") is None,
            ]
        finally:
            await api.close()

    assert all(asyncio.run(run()))
