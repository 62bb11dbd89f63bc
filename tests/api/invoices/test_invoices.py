"""Invoices over HTTP: lists, one as JSON, as a page, as a file; what a portal token opens."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from fastapi.testclient import TestClient

from pipeline.api.invoices import pdf
from pipeline.core.values import ulid
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.bills import document_key
from tests.api.openapi import wrong_answer
from tests.fixtures.api_services import bearer, new_key
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.invoices_to_print import INVOICES, NOW_S, document
from tests.fixtures.patience import PATIENCE_S

LIST, ONE = "/billing/invoices", "GET /api/v1/billing/invoices/{invoiceId}"
ISSUED = {"small", "long", "voided", "credit-note"}
Ids = Mapping[str, str]


def id_of(name: str, owner: str) -> str:
    return ulid.make(NOW_S * 1000, f"{owner}/{name}")


@pytest.fixture(scope="module")
def admin(served: Settings, guarded: TestClient, decider: ControlStage) -> dict[str, str]:
    return bearer(new_key(served, guarded, "default", ["admin"]))


@pytest.fixture(scope="module")
def customers(guarded: TestClient, admin: dict[str, str]) -> Ids:
    """acme has every invoice, and the subject `ann`; bolt has one."""
    bodies = ({"key": "acme", "name": "Acme", "usageAttribution": {"subjectKeys": ["ann"]}},
              {"key": "bolt", "name": "Bolt"})  # fmt: skip
    return {
        str(body["key"]): guarded.post("/customers", json=body, headers=admin).json()["id"] for body in bodies
    }


@pytest.fixture(scope="module")
def published(served: Settings, guarded: TestClient, admin: dict[str, str], customers: Ids) -> Ids:
    """The invoices of acme by their names, once the API has read them; one of bolt."""
    found = {
        name: document(made(), id_of(name, "acme"), customers["acme"]) for name, made in INVOICES.items()
    }
    found["of bolt"] = document(INVOICES["small"](), id_of("small", "bolt"), customers["bolt"])
    producer = Producer(kafka.producer_config(served))
    for one in found.values():
        key = document_key(one.namespace, one.customer, one.id)
        producer.produce("invoices", msgspec.json.encode(one), key)
    assert producer.flush(PATIENCE_S) == 0
    for one in found.values():
        assert guarded.app.state.services.bills.wait("invoice", "default", one.id, 0, PATIENCE_S)  # type: ignore[attr-defined]
    return {name: one.id for name, one in found.items()}


@pytest.fixture(scope="module")
def names(published: Ids) -> Mapping[str, str]:
    return {id: name for name, id in published.items()}


def asked(api: TestClient, headers: dict[str, str], path: str) -> Any:
    answer = api.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("name", INVOICES)
def test_one_invoice_is_as_described(
    guarded: TestClient, admin: dict[str, str], published: Ids, name: str
) -> None:
    path = f"{LIST}/{published[name]}"
    for query in (
        "",
        "?expand=preceding",
        "?expand=lines&expand=workflow.apps,preceding",
        "?includeDeletedLines=true",
    ):
        body = asked(guarded, admin, path + query)
        assert not wrong_answer(ONE, 200, "application/json", body)
        assert ("lines" in body) == ("=preceding" not in query and bool(INVOICES[name]().content.lines))
    whole = asked(guarded, admin, path + "?expand=workflow.apps")
    assert whole["workflow"]["apps"]["tax"]["type"] == "sandbox"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("statuses=gathering", {"gathering"}),
        ("statuses=draft&statuses=voided", {"invalid-draft", "voided"}),
        ("statuses=draft,voided", {"invalid-draft", "voided"}),
        ("extendedStatuses=draft.invalid", {"invalid-draft"}),
        ("issuedAfter=2026-12-01T08:00:00Z&issuedBefore=2026-12-01T08:00:00Z", {*ISSUED, "of bolt"}),
        ("issuedAfter=2026-12-02", set()),
        ("periodStartBefore=2026-11-01", {*ISSUED, "of bolt", "gathering"}),
        ("createdAfter=2100-01-01T00:00:00%2B01:00", set()),
    ],
)
def test_a_list_selects(
    guarded: TestClient, admin: dict[str, str], names: Mapping[str, str], query: str, found: set[str]
) -> None:
    body = asked(guarded, admin, f"{LIST}?{query}")
    assert not wrong_answer("GET /api/v1/billing/invoices", 200, "application/json", body)
    assert {names[one["id"]] for one in body["items"]} == found
    assert body["totalCount"] == len(found)
    assert not any("lines" in one for one in body["items"])


def test_a_list_is_of_customers_and_comes_in_pages(
    guarded: TestClient, admin: dict[str, str], published: Ids, customers: Ids
) -> None:
    of_bolt = asked(guarded, admin, f"{LIST}?customers={customers['bolt']}&expand=lines")
    assert [one["id"] for one in of_bolt["items"]] == [published["of bolt"]]
    assert len(of_bolt["items"][0]["lines"]) == 2
    both = asked(guarded, admin, f"{LIST}?customers={customers['bolt']},{customers['acme']}")
    assert both["totalCount"] == len(published)
    pages = [
        asked(guarded, admin, f"{LIST}?orderBy=status&pageSize=3&page={page}")["items"]
        for page in (1, 2, 3, 4)
    ]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    statuses = [one["status"] for page in pages for one in page]
    assert statuses == sorted(statuses)
    down = asked(guarded, admin, f"{LIST}?orderBy=status&order=DESC")["items"]
    assert [one["id"] for one in down] == [one["id"] for page in pages for one in page][::-1]


@pytest.mark.parametrize(
    "query",
    ["statuses=sold", "extendedStatuses=draft", "expand=zz", "orderBy=zz", "issuedAfter=x", "createdBefore=",
     "statuses=", "zz=1", "pageSize=0", "includeDeleted=zz", "page=1&page=2"],
)  # fmt: skip
def test_a_parameter_that_is_wrong_is_refused(guarded: TestClient, admin: dict[str, str], query: str) -> None:
    answer = guarded.get(f"{LIST}?{query}", headers=admin)
    assert answer.status_code == 400 and answer.json()["reason"] in ("bad-query", "bad-request")


@pytest.mark.parametrize("name", INVOICES)
def test_the_page_is_html(guarded: TestClient, admin: dict[str, str], published: Ids, name: str) -> None:
    answer = guarded.get(f"{LIST}/{published[name]}.html", headers=admin)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("name", INVOICES)
def test_lines_are_rows(guarded: TestClient, admin: dict[str, str], published: Ids, name: str) -> None:
    path = f"{LIST}/{published[name]}/lines"
    rows = asked(guarded, admin, path)
    assert not wrong_answer(f"{ONE}/lines", 200, "application/json", rows)
    answer = guarded.get(path, headers=admin | {"accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) == len(rows)


def test_an_invoice_of_another_namespace_is_not_found(
    served: Settings, guarded: TestClient, published: Ids
) -> None:
    other = bearer(new_key(served, guarded, "other", ["admin"]))
    for path in ("", ".html", ".pdf", "/lines"):
        assert guarded.get(f"{LIST}/{published['small']}{path}", headers=other).status_code == 404
    assert asked(guarded, other, LIST)["totalCount"] == 0


def portal(api: TestClient, admin: dict[str, str], **more: object) -> dict[str, str]:
    made = api.post("/portal/tokens", json=more, headers=admin)
    assert made.status_code == 200, made.text
    return bearer(made.json()["token"])


def test_a_portal_token_opens_the_issued_invoices_of_its_customer(
    guarded: TestClient,
    admin: dict[str, str],
    published: Ids,
    names: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)
    for subject in ("ann", "acme"):
        token = portal(guarded, admin, subject=subject)
        body = asked(guarded, token, "/portal/invoices")
        assert not wrong_answer("GET /api/v1/portal/invoices", 200, "application/json", body)
        assert {names[one["id"]] for one in body["items"]} == ISSUED
        pages = {
            name: guarded.get(f"/portal/invoices/{id}.html", headers=token) for name, id in published.items()
        }
        assert {name for name, answer in pages.items() if answer.status_code == 200} == ISSUED
        assert {answer.status_code for answer in pages.values()} == {200, 404}
        assert pages["small"].text == guarded.get(f"{LIST}/{published['small']}.html", headers=admin).text
        assert pages["small"].headers["access-control-allow-origin"] == "*"
        for name, id in published.items():  # without the library for PDF
            answer = guarded.get(f"/portal/invoices/{id}.pdf", headers=token)
            assert answer.status_code == (501 if name in ISSUED else 404)
    paged = asked(guarded, token, "/portal/invoices?pageSize=1&page=2")
    assert (paged["totalCount"], len(paged["items"])) == (4, 1)


def test_a_portal_token_opens_nothing_else(
    guarded: TestClient, admin: dict[str, str], published: Ids
) -> None:
    token = portal(guarded, admin, subject="ann")
    for path in (LIST, f"{LIST}/{published['small']}", f"{LIST}/{published['small']}.html"):
        assert guarded.get(path, headers=token).status_code == 401
    assert guarded.get(f"/portal/invoices/{published['small']}.html", headers=admin).status_code == 401
    stranger = portal(guarded, admin, subject="of no customer")
    assert asked(guarded, stranger, "/portal/invoices")["items"] == []
    assert guarded.get(f"/portal/invoices/{published['small']}.html", headers=stranger).status_code == 404


def test_a_portal_token_for_some_meters_opens_no_invoices(
    guarded: TestClient, admin: dict[str, str], published: Ids
) -> None:
    meter = {"slug": "tokens", "eventType": "prompt", "aggregation": "COUNT"}
    assert guarded.post("/meters", json=meter, headers=admin).status_code == 201
    token = portal(guarded, admin, subject="ann", allowedMeterSlugs=["tokens"])
    for path in ("", f"/{published['small']}.html"):
        assert guarded.get(f"/portal/invoices{path}", headers=token).status_code == 401
