"""Billing profiles and overrides over HTTP: what lists select, and what is refused with which status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.fixtures.billing_bodies import PLAIN, of_app

pytestmark = pytest.mark.usefixtures("decider")
PROFILES, OVERRIDES = "/billing/profiles", "/billing/customers"


@pytest.fixture(scope="module")
def api(served: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(served), base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture(scope="module")
def made(api: TestClient) -> dict[str, str]:
    """Customers `pinned`, `followed` and `plain`, whose override names a profile, names none, is absent; the profiles.

    By name, the id of each.
    """
    (first,) = api.get(PROFILES).json()["items"]
    app = first["apps"]["invoicing"]["id"]
    ids = {"first": str(first["id"]), "app": str(app)}
    ids["second"] = api.post(PROFILES, json={**PLAIN, "apps": of_app(app)}).json()["id"]
    for key in ("pinned", "followed", "plain"):
        body = {"key": key, "name": key.upper(), "primaryEmail": f"{key}@example.com"}
        ids[key] = api.post("/customers", json=body).json()["id"]
    pinned = api.put(f"{OVERRIDES}/pinned", json={"billingProfileId": ids["second"]})
    assert pinned.json()["customerOverride"]["billingProfileId"] == ids["second"]
    followed = api.put(f"{OVERRIDES}/{ids['followed']}", json={})
    assert followed.json()["baseBillingProfileId"] == ids["first"]
    return ids


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ("", ["pinned", "followed", "plain"]),
        ("order=DESC", ["plain", "followed", "pinned"]),
        ("orderBy=customerKey", ["followed", "pinned", "plain"]),
        ("includeAllCustomers=false", ["pinned", "followed"]),
        ("customersWithoutPinnedProfile=true", ["followed", "plain"]),
        ("customersWithoutPinnedProfile=true&includeAllCustomers=false", ["followed", "plain"]),
        ("billingProfile={second}", ["pinned"]),
        ("billingProfile={first}", ["followed", "plain"]),
        ("billingProfile={first},{second}", ["pinned", "followed", "plain"]),
        ("customerId={plain}&customerId={pinned}", ["pinned", "plain"]),
        ("customerName=IN", ["pinned", "plain"]),
        ("customerKey=oll", ["followed"]),
        ("customerPrimaryEmail=plain@", ["plain"]),
        ("page=2&pageSize=2", ["plain"]),
    ],
)
def test_the_list_selects_customers(
    api: TestClient, made: dict[str, str], asked: str, keys: list[str]
) -> None:
    found = api.get(f"{OVERRIDES}?expand=customer&{asked.format(**made)}")
    assert [one["customer"]["key"] for one in found.json()["items"]] == keys, found.text


def problem(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["reason"]


def test_statuses_of_refusals(api: TestClient, made: dict[str, str]) -> None:
    unknown = f"{PROFILES}/01JZZZZZZZZZZZZZZZZZZZZZZZ"
    for response, expected in (
        (api.get(unknown), (404, "profile_not_found")),
        (api.delete(unknown), (404, "profile_not_found")),
        (api.delete(f"{PROFILES}/{made['first']}"), (400, "default_profile_cannot_be_deleted")),
        (api.delete(f"{PROFILES}/{made['second']}"), (400, "profile_referenced")),
        (api.get(f"{OVERRIDES}/unknown"), (404, "customer_not_found")),
        (api.delete(f"{OVERRIDES}/plain"), (404, "customer_override_not_found")),
        (api.put(f"{OVERRIDES}/plain", json={"billingProfileId": "x"}), (404, "profile_not_found")),
        (api.put(f"{OVERRIDES}/plain", json={"customerId": "x"}), (400, "bad-billing-override")),
        (api.post(PROFILES, json={**PLAIN, "apps": of_app("x")}), (400, "bad-billing-profile")),
        (api.get(f"{OVERRIDES}?orderBy=x"), (400, "bad-query")),
    ):
        assert problem(response) == expected


def test_a_profile_is_shown_with_its_apps_and_sent_back_as_it_was_read(
    api: TestClient, made: dict[str, str]
) -> None:
    path = f"{PROFILES}/{made['first']}"
    read = api.get(path).json()
    assert read["apps"] == {name: {"id": made["app"]} for name in ("tax", "invoicing", "payment")}
    assert api.get(f"{path}?expand=apps").json()["apps"]["payment"]["type"] == "sandbox"
    assert api.put(path, json=read).json() == read


def test_the_override_of_a_deleted_customer_can_be_read_and_not_set(
    api: TestClient, made: dict[str, str]
) -> None:
    gone = api.post("/customers", json={"key": "gone", "name": "Gone"}).json()["id"]
    api.delete(f"/customers/{gone}")
    assert api.get(f"{OVERRIDES}/{gone}").json()["baseBillingProfileId"] == made["first"]
    assert problem(api.put(f"{OVERRIDES}/{gone}", json={})) == (400, "customer_deleted")
