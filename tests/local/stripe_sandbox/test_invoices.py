"""Invoices and sessions of the sandbox, by the official client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from pipeline.local.stripe_sandbox.faults import FaultKind, FaultRule, Faults
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox
from tests.local.stripe_sandbox.test_server import Endpoint


@pytest.fixture(scope="module")
def served() -> Iterator[ServedSandbox]:
    with ServedSandbox(lost_s=2) as found:
        yield found


@pytest.fixture
def client(served: ServedSandbox) -> StripeClient:
    served.sandbox.faults = Faults()
    return served.client()


def draft(client: StripeClient, *amounts: int, key: str = "", **more: Any) -> stripe.Invoice:
    customer = client.v1.customers.create(params={"name": "ACME"})
    params: Any = {"customer": customer.id, "currency": "usd", "metadata": {"tm_invoice_id": "01I"}, **more}
    made = client.v1.invoices.create(params=params, options={"idempotency_key": key} if key else None)
    if amounts:
        lines: Any = [{"amount": amount, "description": "usage"} for amount in amounts]
        made = client.v1.invoices.add_lines(made.id, params={"lines": lines})
    return made


def test_a_draft_becomes_open_and_is_paid(client: StripeClient) -> None:
    made = draft(client, 1_000, -300)
    assert (made.status, made.total, made.number) == ("draft", 700, None)
    final = client.v1.invoices.finalize_invoice(made.id)
    assert (final.status, final.amount_due) == ("open", 700) and final.number and final.hosted_invoice_url
    assert client.v1.invoices.pay(made.id).status == "paid"


@pytest.mark.parametrize("amounts", [(), (500, -500), (-500,)])
def test_an_invoice_of_nothing_or_less_is_paid_at_once(
    client: StripeClient, amounts: tuple[int, ...]
) -> None:
    final = client.v1.invoices.finalize_invoice(draft(client, *amounts).id)
    assert (final.status, final.amount_due) == ("paid", 0)


def test_lines_are_limited_and_taxes_count_where_they_are_exclusive(client: StripeClient) -> None:
    made = draft(client, *[1] * 250)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoices.add_lines(made.id, params={"lines": [{"amount": 1}]})
    taxed = draft(client)
    for inclusive in (True, False):
        tax: Any = {
            "amount": 19, "taxable_amount": 100,
            "tax_rate_data": {"display_name": "Tax", "inclusive": inclusive, "percentage": 19},
        }  # fmt: skip
        client.v1.invoices.add_lines(taxed.id, params={"lines": [{"amount": 100, "tax_amounts": [tax]}]})
    assert client.v1.invoices.retrieve(taxed.id).total == 219


def test_what_a_state_does_not_allow_is_refused(client: StripeClient) -> None:
    made = draft(client, 100, number="INV-1")
    with pytest.raises(stripe.InvalidRequestError, match="number"):
        draft(client, number="INV-1")
    with pytest.raises(stripe.InvalidRequestError, match="26"):
        draft(client, number="I" * 27)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoices.pay(made.id)
    client.v1.invoices.finalize_invoice(made.id)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.invoices.delete(made.id)
    assert client.v1.invoices.void_invoice(made.id).status == "void"
    with pytest.raises(stripe.InvalidRequestError):
        draft(client, collection_method="send_invoice")


def test_a_deleted_draft_is_gone_and_lists_are_by_customer(client: StripeClient) -> None:
    made = draft(client)
    assert [one.id for one in client.v1.invoices.list(params={"customer": str(made.customer)})] == [made.id]
    assert client.v1.invoices.delete(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such invoice"):
        client.v1.invoices.retrieve(made.id)


@pytest.mark.parametrize(("kind", "status"), [("error-stored", 500), ("reset-after", 200)])
def test_the_first_result_of_a_key_stays_its_result(
    served: ServedSandbox, client: StripeClient, kind: FaultKind, status: int
) -> None:
    customer = client.v1.customers.create(params={"name": kind}).id
    before = len(served.sandbox.invoices.invoices)
    served.sandbox.faults = Faults([FaultRule([kind], "/v1/invoices", times=1)])
    params: Any = {"customer": customer, "currency": "usd"}
    for _ in range(2):
        try:
            made = client.v1.invoices.create(params=params, options={"idempotency_key": kind})
        except stripe.StripeError as error:
            last = error.http_status or 0
        else:
            last = made.last_response.code if made.last_response else 0
    assert last == status and len(served.sandbox.invoices.invoices) == before + 1


def test_events_of_invoices_are_signed_and_delivered_in_the_order_that_is_asked(
    served: ServedSandbox, client: StripeClient
) -> None:
    with Endpoint() as endpoint:
        made = client.v1.webhook_endpoints.create(params={"url": endpoint.url, "enabled_events": ["*"]})
        httpx.post(f"{served.url}/sandbox/events")  # those of other tests
        while not endpoint.arrived.empty():
            endpoint.arrived.get()
        invoice = client.v1.invoices.finalize_invoice(draft(client, 100).id)
        httpx.post(f"{served.url}/sandbox/happens", json={"invoice": invoice.id, "type": "payment_failed"})
        answer = httpx.post(f"{served.url}/sandbox/events", json={"times": 2, "reversed": True}).json()
        types = []
        while not endpoint.arrived.empty():
            body, signature = endpoint.arrived.get()
            event = stripe.Webhook.construct_event(body, signature, str(made.secret))  # type: ignore[no-untyped-call]
            types.append(event.type)
        client.v1.webhook_endpoints.delete(made.id)
    order = ["invoice.payment_failed", "invoice.finalized", "invoice.updated", "invoice.created"]
    assert types == order * 2 and set(answer["statuses"]) == {200}


def test_sessions_have_a_page(client: StripeClient) -> None:
    customer = client.v1.customers.create(params={"name": "ACME"}).id
    made = client.v1.checkout.sessions.create(
        params={"mode": "setup", "customer": customer, "success_url": "https://us"}
    )
    assert (made.customer, made.status, bool(made.url)) == (customer, "open", True)
    portal = client.v1.billing_portal.sessions.create(params={"customer": customer})
    assert portal.url and portal.customer == customer
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.checkout.sessions.create(params={"mode": "setup", "customer": customer})
