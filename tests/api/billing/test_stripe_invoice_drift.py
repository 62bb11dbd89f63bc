"""Differences of invoices over HTTP: those of the sandbox against documents as billing publishes them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.core.invoices.invoice import InvoiceExternalIds
from pipeline.core.invoices.profile import ProfileApps
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.records import BillDocument
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka.bills import document_key
from tests.api.billing.stripe_world import APP, StripeWorld
from tests.core.invoices.invoices import content
from tests.core.invoices.states import in_state
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import PATIENCE_S
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox, account

PATH = "/billing/stripe/drift/invoices"
CUSTOMER = "01KJ00000000000000000CUSTO"


@pytest.fixture(scope="module")
def world(served: Settings, store: ClickHouse, decider: ControlStage) -> Iterator[StripeWorld]:
    with ServedSandbox(StripeSandbox(account(), SandboxClock())) as stripe:
        settings = served.model_copy(update={"stripe_address": stripe.url})
        with TestClient(create_app(settings), base_url="http://testserver/api/v1") as api:
            made = StripeWorld(settings, store, api, stripe)
            made.app()
            yield made


def ours(world: StripeWorld, id: str, number: str) -> None:
    """An open invoice of 5."""
    at_s = world.stripe.sandbox.clock.now_s()
    made = content(id=id, totals=InvoiceTotals(total="5"), external_ids=InvoiceExternalIds(invoicing="in_x"))
    workflow = msgspec.structs.replace(made.workflow, apps=ProfileApps(APP, APP, APP))
    customer = msgspec.structs.replace(made.customer, id=CUSTOMER)
    progress = in_state("payment_processing.pending", number=number, number_requested=True, issued_at_s=at_s)
    stored = StoredInvoice(
        content=msgspec.structs.replace(made, workflow=workflow, customer=customer),
        progress=msgspec.structs.replace(progress, invoice_id=id),
    )
    document = BillDocument("default", CUSTOMER, id, 1, at_s * 1000, msgspec.Raw(msgspec.json.encode(stored)))
    producer = Producer(cluster.producer_config(world.settings))
    producer.produce("invoices", msgspec.json.encode(document), document_key("default", CUSTOMER, id))
    assert producer.flush(PATIENCE_S) == 0
    bills = world.api.app.state.services.bills  # type: ignore[attr-defined]
    assert bills.wait("invoice", "default", id, 1, PATIENCE_S)


def at_stripe(world: StripeWorld, id: str, number: str, amount: int) -> str:
    """An invoice of Stripe with our mark, finalized."""
    client = world.stripe.client()
    customer = client.v1.customers.create(params={"name": "ACME"})
    metadata = {"tm_invoice_id": id, "tm_app_id": APP, "tm_customer_id": CUSTOMER}
    made = client.v1.invoices.create(
        params={"customer": customer.id, "currency": "usd", "number": number, "metadata": metadata}
    )
    client.v1.invoices.add_lines(made.id, params={"lines": [{"amount": amount}]})
    return str(client.v1.invoices.finalize_invoice(made.id).id)


def test_each_difference_that_is_planted_is_named_and_equal_invoices_are_not(world: StripeWorld) -> None:
    ids = {name: f"01KJ0000000000000000000{name}" for name in ("EQA", "TTA", "NNE", "PDA")}
    for name, id in ids.items():
        ours(world, id, f"INV-{name}")
    at_stripe(world, ids["EQA"], "INV-EQA", 500)
    other = at_stripe(world, ids["TTA"], "INV-TTA", 499)
    world.stripe.client().v1.invoices.pay(at_stripe(world, ids["PDA"], "INV-PDA", 500))
    at_stripe(world, "01KJ0000000000000000000FRN", "INV-FRN", 100)
    found = world.api.get(PATH).json()
    causes = {(one["number"], one["cause"]) for one in found["items"]}
    assert causes == {
        ("INV-TTA", "total"), ("INV-NNE", "missing"), ("INV-PDA", "reported"), ("INV-FRN", "foreign"),
    }  # fmt: skip
    assert (found["ok"], found["invoices"], found["appId"]) == (False, 4, APP)
    (total,) = [one for one in found["items"] if one["cause"] == "total"]
    assert (total["stripeInvoiceId"], total["ours"], total["stripe"]) == (other, "5", "4.99")


@pytest.mark.parametrize(("params", "status"), [({"from": "x"}, 400), ({"app": "none"}, 404)])
def test_other_questions_are_refused(world: StripeWorld, params: dict[str, str], status: int) -> None:
    assert world.api.get(PATH, params=params).status_code == status
