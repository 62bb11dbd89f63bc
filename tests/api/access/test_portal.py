"""The portal over HTTP: one subject's usage for a short while."""

from __future__ import annotations

from datetime import datetime

import pytest
from fastapi.testclient import TestClient

from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from tests.fixtures.api_services import bearer, new_key
from tests.fixtures.stored_rows import write

METER = {"slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens",
         "groupBy": {"model": "$.model"}}  # fmt: skip


@pytest.fixture(scope="module")
def admin(served: Settings, guarded: TestClient, store: ClickHouse) -> dict[str, str]:
    """An admin of the namespace whose usage is written; it begins with the meter, whose revision is 1."""
    from pipeline.stores.kafka.commands import Commands
    from pipeline.stores.kafka.definitions import Replies, WorkersView

    with Replies(served) as replies:
        Commands(served, replies, WorkersView(served)).run("meter.create", "default", {"meters": [METER]})
    write(store, [("acme", 0, "a"), ("acme", 1, "b"), ("globex", 0, "a")])
    return bearer(new_key(served, guarded, "default", ["admin"]))


def token(api: TestClient, admin: dict[str, str], **more: object) -> str:
    made = api.post("/portal/tokens", json={"subject": "acme", **more}, headers=admin)
    assert made.status_code == 200
    return str(made.json()["token"])


def test_it_shows_the_subject_of_the_token_alone(guarded: TestClient, admin: dict[str, str]) -> None:
    headers = bearer(token(guarded, admin))
    for query in ("", "subject=globex", "subject=globex&subject=acme", "groupBy=subject"):
        answer = guarded.get(f"/portal/meters/tokens/query?{query}", headers=headers)
        assert answer.status_code == 200
        (row,) = answer.json()["data"]
        assert (str(row["value"]).rstrip("0").rstrip("."), row["subject"]) == ("3", "acme")
    as_csv = guarded.get("/portal/meters/tokens/query", headers=headers | {"accept": "text/csv"})
    assert "globex" not in as_csv.text and "acme" in as_csv.text


def test_what_a_token_is(guarded: TestClient, admin: dict[str, str]) -> None:
    made = guarded.post(
        "/portal/tokens", json={"subject": "acme", "allowedMeterSlugs": ["tokens"]}, headers=admin
    ).json()
    assert made["expired"] is False and made["allowedMeterSlugs"] == ["tokens"]
    life = datetime.fromisoformat(made["expiresAt"]) - datetime.fromisoformat(made["createdAt"])
    assert life.total_seconds() == 3600
    listed = guarded.get("/portal/tokens?limit=1", headers=admin).json()
    assert listed == [{name: value for name, value in made.items() if name != "token"}]


def test_a_meter_that_was_made_again_is_not_the_one_that_a_token_names(
    guarded: TestClient, admin: dict[str, str]
) -> None:
    meter = {"slug": "brief", "eventType": "brief", "aggregation": "COUNT"}
    assert guarded.post("/meters", json=meter, headers=admin).status_code == 201
    named = bearer(token(guarded, admin, allowedMeterSlugs=["brief"]))
    every = bearer(token(guarded, admin))
    query = "/portal/meters/brief/query"
    assert guarded.get(query, headers=named).status_code == 200
    assert guarded.delete("/meters/brief", headers=admin).status_code == 204
    assert guarded.post("/meters", json=meter, headers=admin).status_code == 201
    refused = guarded.get(query, headers=named)
    assert refused.status_code == 401 and "earlier meter" in refused.json()["detail"]
    another = bearer(token(guarded, admin, allowedMeterSlugs=["brief"]))
    assert [guarded.get(query, headers=one).status_code for one in (another, every)] == [200, 200]


def test_bodies_that_are_refused(guarded: TestClient, admin: dict[str, str]) -> None:
    for more in ({}, {"subject": ""}, {"subject": "a", "allowedMeterSlugs": ["nothing"]},
                 {"subject": "a", "expiresAt": "2099-01-01T00:00:00Z"}):  # fmt: skip
        assert guarded.post("/portal/tokens", json=more, headers=admin).status_code == 400
    assert guarded.post("/portal/tokens/invalidate", json={}, headers=admin).status_code == 400
    assert guarded.post("/portal/tokens/invalidate", json={"id": "x"}, headers=admin).status_code == 404


def test_invalidation_by_id_and_by_subject(guarded: TestClient, admin: dict[str, str]) -> None:
    url = "/portal/meters/tokens/query"
    first, second, other = (token(guarded, admin, subject=name) for name in ("s", "s", "t"))
    id = guarded.get("/portal/tokens?limit=3", headers=admin).json()[-1]["id"]
    assert guarded.post("/portal/tokens/invalidate", json={"id": id}, headers=admin).status_code == 204
    open_now = [guarded.get(url, headers=bearer(text)).status_code for text in (first, second, other)]
    assert sorted(open_now) == [200, 200, 401]
    assert guarded.post("/portal/tokens/invalidate", json={"subject": "s"}, headers=admin).status_code == 204
    open_now = [guarded.get(url, headers=bearer(text)).status_code for text in (first, second, other)]
    assert open_now == [401, 401, 200]
    ended = [row["subject"] for row in guarded.get("/portal/tokens", headers=admin).json() if row["expired"]]
    assert set(ended) == {"s"}


def test_without_a_secret_there_is_no_portal(api: TestClient, admin: dict[str, str]) -> None:
    refused = api.post("/portal/tokens", json={"subject": "acme"})
    assert (refused.status_code, refused.json()["reason"]) == (501, "portal-off")
    assert api.get("/portal/meters/tokens/query", headers=bearer("x")).status_code == 401
