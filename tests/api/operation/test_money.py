"""The comparison of bills with stored usage over HTTP, on documents as the billing stage writes them."""

from __future__ import annotations

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.core.catalog.price import UnitPrice
from pipeline.core.invoices.invoice import InvoiceContent, with_lines
from pipeline.core.invoices.line import InvoiceLine, LinePeriod
from pipeline.core.invoices.rated_line import rating_terms, with_rating
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values import number
from pipeline.records import BillDocument
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.bills import document_key
from tests.core.invoices.invoices import content, line
from tests.core.invoices.states import in_state
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.stored_rows import write

JANUARY = "from=2026-01-01&to=2026-02-01"
METER = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}


@pytest.fixture(scope="module")
def customer(api: TestClient, decider: ControlStage, store: ClickHouse) -> str:
    """Its id. It has used 7.5 tokens on 1 January, 6 of them by the small model."""
    assert api.post("/meters", json=METER).json()["slug"] == "tokens"  # the first command: its number is 1
    body = {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["ann"]}}
    made = api.post("/customers", json=body)
    assert made.status_code == 201, made.text
    filters = {"meterGroupByFilters": {"model": "small"}}
    feature = api.post("/features", json={"key": "small", "name": "Small", "meterSlug": "tokens", **filters})
    assert feature.status_code == 201, feature.text
    write(
        store,
        [
            ("ann", 0, "small"),
            ("ann", 0, "small"),
            ("ann", 5, "small"),
            ("ann", 9, "small"),
            ("ann", 9, "big"),
        ],
    )
    return str(made.json()["id"])


def billed(units: int) -> InvoiceLine:
    """A line of January that was rated with so many units, at 0.5 each."""
    period = LinePeriod("2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z")
    of = line(price=UnitPrice(amount="0.5"), period=period)
    of = msgspec.structs.replace(of, rate_card=msgspec.structs.replace(of.rate_card, feature_key="small"))
    terms = rating_terms(of)
    assert terms is not None
    part = LinePart(units * number.SCALE)
    return with_rating(of, part, rate(tariff_of(terms), part))


def publish(settings: Settings, customer: str, made: InvoiceContent, revision: int) -> None:
    stored = StoredInvoice(content=made, progress=in_state("paid"))
    body = msgspec.Raw(msgspec.json.encode(stored))
    document = BillDocument("default", customer, made.id, revision, 0, body)
    producer = Producer(kafka.producer_config(settings))
    producer.produce("invoices", msgspec.json.encode(document), document_key("default", customer, made.id))
    assert producer.flush(PATIENCE_S) == 0


def test_nothing_is_billed_yet(api: TestClient, customer: str) -> None:
    found = api.get(f"/reconcile/money?{JANUARY}").json()
    assert (found["ok"], found["settled"], found["totalCount"], found["items"]) == (True, True, 0, [])
    [row] = api.get(f"/reconcile/money?{JANUARY}&customer=acme&wait_s=5").json()["items"]
    assert (row["customer"], row["usage"], row["billed"], row["free"]) == (customer, "6", "0", "6")


def test_bills_are_compared_with_stored_usage(api: TestClient, served: Settings, customer: str) -> None:
    made = with_lines(content(), (billed(6),))
    publish(served, customer, made, 1)
    assert api.app.state.services.bills.wait("invoice", "default", made.id, 1, PATIENCE_S)  # type: ignore[attr-defined]
    found = api.get(f"/reconcile/money?{JANUARY}&wait_s=5").json()
    assert (found["ok"], found["settled"], found["totalCount"], found["differences"]) == (True, True, 1, [])
    [row] = found["items"]
    assert [row[name] for name in ("feature", "usage", "billed", "pending", "free")] == [
        "small",
        "6",
        "6",
        "0",
        "0",
    ]
    assert row["amounts"] == [{"currency": "USD", "rated": "3", "booked": "3"}]
    publish(served, customer, with_lines(content(), (billed(5),)), 2)
    assert api.app.state.services.bills.wait("invoice", "default", made.id, 2, PATIENCE_S)  # type: ignore[attr-defined]
    behind = api.get(f"/reconcile/money?{JANUARY}&wait_s=0").json()
    assert (behind["ok"], behind["settled"]) == (False, True)
    [sentence] = behind["differences"]
    assert sentence.endswith(
        "has a usage of 6 and lacks 0.5 USD: it was rated with 5 units, and a correction is missing."
    )


def test_usage_on_its_way_is_waited_for(api: TestClient, served: Settings, customer: str) -> None:
    producer = Producer(kafka.producer_config(served))
    producer.produce("events", b"{}")
    assert producer.flush(PATIENCE_S) == 0
    found = api.get(f"/reconcile/money?{JANUARY}&customer=acme&wait_s=0.2").json()
    assert (found["ok"], found["settled"], found["items"]) == (True, False, [])


@pytest.mark.parametrize("query", ["from=2026-02-01&to=2026-01-01", "from=2999-01-01", "pageSize=0"])
def test_a_period_that_is_none_is_refused(api: TestClient, query: str) -> None:
    assert api.get(f"/reconcile/money?{query}").status_code == 400
