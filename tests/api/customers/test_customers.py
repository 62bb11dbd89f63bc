"""Customers, subjects and features over HTTP, in the shapes that OpenMeter's clients expect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.usefixtures("decider")
ACME: dict[str, Any] = {
    "key": "acme",
    "name": "ACME",
    "usageAttribution": {"subjectKeys": ["prod", "test"]},
    "primaryEmail": "pay@acme.example",
    "currency": "EUR",
    "billingAddress": {"country": "DE", "city": "Bonn"},
    "metadata": {"plan": "gold"},
}


@pytest.fixture(autouse=True)
def nothing_yet(api: TestClient) -> Iterator[None]:
    """Every test begins without them."""
    yield
    for path in ("customers", "features?page=1"):
        for row in api.get(f"/{path}").json()["items"]:
            assert api.delete(f"/{path.partition('?')[0]}/{row['id']}").status_code == 204
    for row in api.get("/subjects").json():
        assert api.delete(f"/subjects/{row['id']}").status_code == 204


def refused(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["reason"]


def test_a_customer_from_creation_to_deletion(api: TestClient) -> None:
    created = api.post("/customers", json=ACME)
    assert created.status_code == 201
    made = created.json()
    assert made | ACME == made and len(made["id"]) == 26 and made["createdAt"] == made["updatedAt"]
    assert api.get("/customers/acme").json() == api.get(f"/customers/{made['id']}").json() == made

    changed = api.put("/customers/acme", json={"key": "acme", "name": "ACME 2"})
    assert changed.status_code == 200
    now = changed.json()
    assert (now["id"], now["name"], now["createdAt"]) == (made["id"], "ACME 2", made["createdAt"])
    assert "primaryEmail" not in now and now["updatedAt"] > made["updatedAt"]

    assert api.delete("/customers/acme").status_code == 204
    assert refused(api.get("/customers/acme")) == (404, "not-found")
    assert api.get(f"/customers/{made['id']}").json()["deletedAt"]
    assert refused(api.delete("/customers/acme")) == (404, "not-found")
    assert api.get("/customers").json()["items"] == []
    assert len(api.get("/customers?includeDeleted=true").json()["items"]) >= 1
    assert api.post("/customers", json=ACME).json()["id"] != made["id"]


def test_a_subject_has_one_customer(api: TestClient) -> None:
    api.post("/customers", json=ACME)
    other = {"name": "Other", "usageAttribution": {"subjectKeys": ["prod"]}}
    assert refused(api.post("/customers", json=other))[0] == 409
    assert refused(api.post("/customers", json={"key": "acme", "name": "Other"}))[0] == 409
    assert refused(api.put("/customers/unknown", json=ACME)) == (404, "not-found")


def test_customers_page_by_page(api: TestClient) -> None:
    for number in (2, 0, 1):
        api.post("/customers", json={"key": f"k{number}", "name": f"Name {number}",
                                     "usageAttribution": {"subjectKeys": [f"Subject-{number}"]}})  # fmt: skip

    def names(query: str) -> list[str]:
        answer = api.get(f"/customers?{query}").json()
        assert set(answer) == {"totalCount", "page", "pageSize", "items"}
        return [row["name"] for row in answer["items"]]

    assert names("") == ["Name 0", "Name 1", "Name 2"]
    assert names("page=2&pageSize=2") == ["Name 2"]
    assert names("orderBy=createdAt&order=DESC") == ["Name 1", "Name 0", "Name 2"]
    assert names("key=K1") == names("name=E%201") == names("subject=SUBJECT-1") == ["Name 1"]
    assert names("primaryEmail=x") == []
    assert api.get("/customers?pageSize=1").json()["totalCount"] == 3
    assert refused(api.get("/customers?page=0"))[0] == 400


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "x", "currency": "euro"}, {"name": "x", "plan": 1}], ids=str
)
def test_a_bad_customer_is_refused(api: TestClient, body: dict[str, Any]) -> None:
    assert refused(api.post("/customers", json=body)) == (400, "bad-customer")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"1", b"", b'{"a":' * 100_000], ids=lambda body: repr(body[:5])
)
def test_what_is_no_object_is_refused(api: TestClient, body: bytes) -> None:
    response = api.post("/customers", content=body, headers={"content-type": "application/json"})
    assert refused(response) == (400, "bad-request")


def test_subjects(api: TestClient) -> None:
    wanted = [
        {"key": "b", "displayName": "B"},
        {"key": "a", "metadata": {"x": "1"}, "stripeCustomerId": "cus_1"},
    ]
    made = api.post("/subjects", json=wanted)
    assert made.status_code == 200 and [row["key"] for row in made.json()] == ["b", "a"]
    listed = api.get("/subjects").json()
    assert [row["key"] for row in listed] == ["a", "b"]
    assert api.get("/subjects/b").json() == api.get(f"/subjects/{listed[1]['id']}").json() == listed[1]

    changed = api.post("/subjects", json=[{"key": "a", "displayName": "A"}]).json()[0]
    assert (changed["id"], changed["displayName"], changed["metadata"]) == (listed[0]["id"], "A", {"x": "1"})
    assert api.delete("/subjects/a").status_code == 204
    assert refused(api.get("/subjects/a")) == (404, "not-found")


def test_a_feature_from_creation_to_archive(api: TestClient) -> None:
    meter = {"slug": "calls", "eventType": "request", "aggregation": "COUNT", "groupBy": {"model": "$.m"}}
    assert api.post("/meters", json=meter).status_code == 201
    wanted = {
        "key": "f1",
        "name": "F",
        "meterSlug": "calls",
        "advancedMeterGroupByFilters": {"model": {"$eq": "a"}},
    }
    created = api.post("/features", json=wanted)
    assert created.status_code == 201
    made = created.json()
    assert made | wanted == made
    assert api.get("/features/f1").json() == api.get(f"/features/{made['id']}").json() == made
    assert refused(api.post("/features", json=wanted))[0] == 409
    assert refused(api.delete("/meters/calls"))[0] == 409
    assert refused(api.post("/features", json={"key": "f2", "name": "F", "meterSlug": "nothing"}))[0] == 400

    api.post("/features", json={"key": "f2", "name": "A"})
    assert [row["key"] for row in api.get("/features").json()] == ["f2", "f1"]
    assert [row["key"] for row in api.get("/features?meterSlug=calls").json()] == ["f1"]
    assert [row["key"] for row in api.get("/features?limit=1&offset=1").json()] == ["f1"]
    assert api.get("/features?page=1&pageSize=1").json()["totalCount"] == 2

    assert api.delete("/features/f1").status_code == 204
    assert refused(api.get("/features/f1")) == (404, "not-found")
    assert api.get(f"/features/{made['id']}").json()["archivedAt"]
    assert len(api.get("/features?includeArchived=true").json()) >= 2
    assert api.delete("/meters/calls").status_code == 204
