"""The next invoices of a customer over HTTP, by what billing published last."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.core.invoices.line import InvoiceLine, LinePeriod
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values import timestamp, ulid
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.bills import document_key
from tests.api.openapi import wrong_answer
from tests.fixtures.api_services import bearer, new_key
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.invoices_to_print import document, gathering, line, small, stored
from tests.fixtures.patience import PATIENCE_S

PATH, NAME = "/customers/{}/billing/upcoming", "GET /api/v1/customers/{customerIdOrKey}/billing/upcoming"
PORTAL = "/portal/invoices/upcoming"
DAY_S = 86_400
METER: dict[str, object] = {"slug": "tokens", "eventType": "prompt", "aggregation": "COUNT"}


@pytest.fixture(scope="module")
def admin(served: Settings, guarded: TestClient, decider: ControlStage) -> dict[str, str]:
    return bearer(new_key(served, guarded, "default", ["admin"]))


def made(api: TestClient, admin: dict[str, str], path: str, body: dict[str, object]) -> Any:
    answer = api.post(path, json=body, headers=admin)
    assert answer.is_success, answer.text
    return answer.json()


def publish(served: Settings, api: TestClient, customer: str, *invoices: StoredInvoice) -> None:
    """Invoices of a customer, once the API has read them."""
    producer = Producer(kafka.producer_config(served))
    documents = [
        document(one, ulid.make(0, f"{customer}/{place}"), customer) for place, one in enumerate(invoices)
    ]
    for one in documents:
        key = document_key(one.namespace, one.customer, one.id)
        producer.produce("invoices", msgspec.json.encode(one), key)
    assert producer.flush(PATIENCE_S) == 0
    for one in documents:
        assert api.app.state.services.bills.wait("invoice", "default", one.id, 0, PATIENCE_S)  # type: ignore[attr-defined]


def running(used: str) -> InvoiceLine:
    """A line in the middle of its period of two days."""
    now_s = int(time.time())
    period = LinePeriod(*(timestamp.text_of((now_s + days * DAY_S) * 1000) for days in (-1, 1)))
    price = {"type": "unit", "amount": "0.01"}
    return line("Tokens", price, used, "EUR", period=period, invoice_at=period.end)


def test_usage_until_now_and_what_is_expected(
    served: Settings, guarded: TestClient, admin: dict[str, str]
) -> None:
    made(guarded, admin, "/meters", METER)
    made(guarded, admin, "/features", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
    customer = made(guarded, admin, "/customers", {"key": "upcoming", "name": "Next"})["id"]
    waiting = stored("gathering", (running("1000"),), "EUR", "UTC", number="GATHER-NEXT-1")
    publish(served, guarded, customer, small(), waiting, gathering())
    answer = guarded.get(PATH.format("upcoming"), headers=admin)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert not wrong_answer(NAME, 200, "application/json", body)
    assert body["customer"] == {"id": customer}
    euros, yen = body["items"]
    (tokens,) = euros["lines"]
    assert (euros["currency"], euros["totals"]["total"], tokens["quantity"]) == ("EUR", "10", "1000")
    assert tokens["forecast"]["extrapolated"]
    assert 19.9 < float(euros["forecast"]["totals"]["total"]) <= 20
    assert [one["name"] for one in yen["lines"]] == ["Tokens", "Seats"]
    assert yen["currency"] == "JPY"


def test_a_portal_token_shows_the_next_invoices_of_its_customer_alone(
    served: Settings, guarded: TestClient, admin: dict[str, str]
) -> None:
    ids = {}
    for key in ("mine", "others"):
        body = {"key": key, "name": key, "usageAttribution": {"subjectKeys": [f"{key}-subject"]}}
        ids[key] = made(guarded, admin, "/customers", body)["id"]
    publish(served, guarded, ids["mine"], stored("gathering", (running("300"),), "EUR", "UTC"), small())
    publish(served, guarded, ids["others"], stored("gathering", (running("900"),), "EUR", "UTC"))
    body = guarded.get(PORTAL, headers=token(guarded, admin, "mine-subject")).json()
    assert not wrong_answer(f"GET /api/v1{PORTAL}", 200, "application/json", body)
    assert (body["customer"]["id"], [one["totals"]["total"] for one in body["items"]]) == (ids["mine"], ["3"])
    assert guarded.get(PORTAL, headers=token(guarded, admin, "of no customer")).status_code == 404
    some = token(guarded, admin, "mine-subject", allowedMeterSlugs=["tokens"])
    assert guarded.get(PORTAL, headers=some).status_code == 401
    mine = token(guarded, admin, "mine-subject")
    assert guarded.get(PATH.format("others"), headers=mine).status_code == 401


def token(api: TestClient, admin: dict[str, str], subject: str, **more: object) -> dict[str, str]:
    made = api.post("/portal/tokens", json={"subject": subject, **more}, headers=admin)
    assert made.status_code == 200, made.text
    return bearer(made.json()["token"])


def test_a_customer_without_lines_has_no_next_invoice(guarded: TestClient, admin: dict[str, str]) -> None:
    made(guarded, admin, "/customers", {"key": "nothing", "name": "Nothing"})
    body = guarded.get(PATH.format("nothing"), headers=admin).json()
    assert body["items"] == []
    assert not wrong_answer(NAME, 200, "application/json", body)
    assert guarded.get(PATH.format("unknown"), headers=admin).status_code == 404
