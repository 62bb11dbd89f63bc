"""Keys over HTTP: shown once, hashed at rest, handed out no further than their owner's, ended at once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.core.access import key_text
from pipeline.errors import Rejected
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import direct_key
from tests.fixtures.api_services import bearer, new_key
from tests.fixtures.patience import PATIENCE_S, slowed

Admins = dict[str, dict[str, str]]


def create(api: TestClient, headers: dict[str, str], *scopes: str, **more: Any) -> dict[str, Any]:
    created = api.post("/keys", json={"name": "k", "scopes": list(scopes), **more}, headers=headers)
    assert created.status_code == 201
    assert created.headers["cache-control"] == "no-store"
    found: dict[str, Any] = created.json()
    return found


def test_a_key_from_creation_to_revocation(guarded: TestClient, admins: Admins) -> None:
    made = create(guarded, admins["a"], "query")
    parts = key_text.read(made["key"])
    assert parts is not None and parts.public == made["id"] and made["key"].endswith(made["key"][-6:])
    assert made["last4"] == parts.secret[-4:] and made["namespace"] == "a"
    assert guarded.get("/customers", headers=bearer(made["key"])).status_code == 200

    shown = guarded.get(f"/keys/{made['id']}", headers=admins["a"]).json()
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert shown in guarded.get("/keys", headers=admins["a"]).json()["items"]

    assert guarded.delete(f"/keys/{made['id']}", headers=admins["a"]).status_code == 204
    assert guarded.get("/customers", headers=bearer(made["key"])).status_code == 401
    assert guarded.get(f"/keys/{made['id']}", headers=admins["a"]).json()["revokedAt"]


def test_a_revocation_holds_in_another_process_within_five_seconds(
    guarded: TestClient, served: Settings, admins: Admins
) -> None:
    made = create(guarded, admins["a"], "query")
    settings = served.model_copy(update={"auth": "on", "redis": "redis://127.0.0.1:1/0"})  # Redis is down
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as other:
        assert other.get("/customers", headers=bearer(made["key"])).status_code == 200
        began = time.monotonic()
        assert guarded.delete(f"/keys/{made['id']}", headers=admins["a"]).status_code == 204
        while other.get("/customers", headers=bearer(made["key"])).status_code != 401:
            assert time.monotonic() - began < slowed(5)
            time.sleep(0.01)


def test_a_key_ends_by_itself(guarded: TestClient, admins: Admins) -> None:
    soon = time.time() + slowed(1.0)
    expires_at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(soon)) + f".{int(soon * 1000) % 1000:03d}Z"
    made = create(guarded, admins["a"], "query", expiresAt=expires_at)
    asked_s = time.time()
    while (status := guarded.get("/customers", headers=bearer(made["key"])).status_code) == 200:
        assert asked_s < soon, "a request that was sent after its end"
        time.sleep(0.05)
        asked_s = time.time()
    assert status == 401 and time.time() >= soon


def test_rotation_overlaps(guarded: TestClient, admins: Admins) -> None:
    old = create(guarded, admins["a"], "query")
    url = f"/keys/{old['id']}/rotate"
    new = guarded.post(url, json={"overlapS": 3600}, headers=admins["a"])
    assert new.status_code == 201 and new.json()["replaces"]["rotatedTo"] == new.json()["id"]
    assert new.json()["scopes"] == old["scopes"]
    for text in (old["key"], new.json()["key"]):
        assert guarded.get("/customers", headers=bearer(text)).status_code == 200
    assert guarded.post(url, headers=admins["a"]).status_code == 409

    last = guarded.post(f"/keys/{new.json()['id']}/rotate", json={"overlapS": 0}, headers=admins["a"])
    assert guarded.get("/customers", headers=bearer(new.json()["key"])).status_code == 401
    assert guarded.get("/customers", headers=bearer(last.json()["key"])).status_code == 200


def test_no_key_hands_out_more_than_they_have(guarded: TestClient, served: Settings, admins: Admins) -> None:
    mine = bearer(new_key(served, guarded, "a", ["keys:write", "ingest", "query"]))
    assert create(guarded, mine, "ingest", "query")["scopes"] == ["ingest", "query"]
    for scopes in (["admin"], ["ingest", "meters:write"]):
        refused = guarded.post("/keys", json={"name": "k", "scopes": scopes}, headers=mine)
        assert (refused.status_code, refused.json()["reason"]) == (403, "forbidden")
    stronger = create(guarded, admins["a"], "admin")
    assert guarded.post(f"/keys/{stronger['id']}/rotate", headers=mine).status_code == 403
    assert guarded.delete(f"/keys/{stronger['id']}", headers=mine).status_code == 403
    audited = guarded.get("/audit?kind=key.revoke", headers=admins["a"]).json()["items"][0]
    assert (audited["name"], audited["error"]) == (stronger["id"], "forbidden")
    assert guarded.get("/customers", headers=bearer(stronger["key"])).status_code == 200


def test_the_last_admin_key_goes_by_direct_access_alone(guarded: TestClient, served: Settings) -> None:
    last = bearer(new_key(served, guarded, "lonely", ["admin"]))
    (id,) = [row["id"] for row in guarded.get("/keys", headers=last).json()["items"]]
    refused = guarded.delete(f"/keys/{id}", headers=last)
    assert (refused.status_code, refused.json()["reason"]) == (409, "key-conflict")
    with pytest.raises(Rejected, match="--force"):
        direct_key.revoke(served, "lonely", id, force=False)
    direct_key.revoke(served, "lonely", id, force=True)
    deadline = time.monotonic() + PATIENCE_S
    while guarded.get("/keys", headers=last).status_code != 401:
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "k"},
        {"name": "k", "scopes": []},
        {"name": "k", "scopes": ["root"]},
        {"name": "k", "scopes": "admin"},
        {"name": "k", "scopes": ["query"], "expiresAt": "2001-01-01T00:00:00Z"},
        {"name": "k", "scopes": ["query"], "expiresAt": "soon"},
        {"name": "k", "scopes": ["query"], "namespace": "b"},
    ],
    ids=str,
)
def test_a_bad_body_is_refused(guarded: TestClient, admins: Admins, body: dict[str, Any]) -> None:
    refused = guarded.post("/keys", json=body, headers=admins["a"])
    assert (refused.status_code, refused.json()["reason"]) == (400, "bad-key")


@pytest.mark.parametrize("chosen", [{"id": "AAAAAAAA"}, {"hash": "0" * 64}, {"last4": "0000"}], ids=str)
def test_the_secret_is_the_services_to_choose(
    guarded: TestClient, admins: Admins, chosen: dict[str, str]
) -> None:
    refused = guarded.post("/keys", json={"name": "k", "scopes": ["query"], **chosen}, headers=admins["a"])
    assert (refused.status_code, refused.json()["reason"]) == (400, "bad-key")


def test_no_topic_holds_a_secret(guarded: TestClient, served: Settings, admins: Admins) -> None:
    made = create(guarded, admins["a"], "query", name="canary")
    new = guarded.post(f"/keys/{made['id']}/rotate", headers=admins["a"]).json()
    token = guarded.post("/portal/tokens", json={"subject": "canary"}, headers=admins["a"]).json()["token"]
    written = b"\n".join(everything(served))
    assert b"canary" in written
    for text in (made["key"], new["key"]):
        parts = key_text.read(text)
        assert parts is not None
        assert text.encode() not in written and parts.secret.encode() not in written
    for part in (token, token.rpartition(".")[2]):
        assert part.encode() not in written


def everything(settings: Settings) -> list[bytes]:
    """Keys, values and headers of all records of all topics."""
    config = kafka.client_config(settings) | {"group.id": "dump", "enable.auto.commit": False}
    consumer = Consumer(config | {"enable.partition.eof": True, "auto.offset.reset": "earliest"})
    found: list[bytes] = []
    try:
        names = consumer.list_topics(timeout=PATIENCE_S).topics
        places = [
            TopicPartition(name, partition, OFFSET_BEGINNING)
            for name, topic in names.items()
            if not name.startswith("__")
            for partition in topic.partitions
        ]
        consumer.assign(places)
        ended = 0
        deadline = time.monotonic() + PATIENCE_S
        while ended < len(places):
            assert time.monotonic() < deadline
            for message in consumer.consume(1000, 0.2):
                if message.error() is not None:
                    ended += 1
                    continue
                found += [part for part in (message.key(), message.value()) if isinstance(part, bytes)]
                found += [value for _, value in message.headers() or [] if isinstance(value, bytes)]
    finally:
        consumer.close()
    return found
