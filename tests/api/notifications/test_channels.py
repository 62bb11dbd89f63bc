"""Channels over HTTP: their secrets are shown once, and sealed on every topic."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.core.notifications.endpoint import place
from pipeline.core.notifications.standard_webhooks import secret_text, signing_key
from pipeline.core.values.sealed import Seal
from pipeline.settings import Settings

pytestmark = pytest.mark.usefixtures("decider")
CHANNEL: dict[str, Any] = {
    "type": "WEBHOOK",
    "name": "billing",
    "url": "https://example.com/hooks",
    "customHeaders": {"x-team": "billing"},
    "metadata": {"a": "b"},
}
PATH = "/notification/channels"
KEY = base64.b64encode(bytes(range(32))).decode()
GIVEN = secret_text(bytes(range(24)))


@pytest.fixture(scope="module")
def api(served: Settings) -> Iterator[TestClient]:
    settings = served.model_copy(update={"secrets_key": SecretStr(KEY)})
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as client:
        yield client


def refused(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["reason"]


def stored(api: TestClient, id: str) -> dict[str, Any]:
    """What stands on the log."""
    log = api.app.state.services.definitions  # type: ignore[attr-defined]
    return dict(log.body("default", "endpoint", id))


def opened(text: str) -> str:
    return Seal.of(KEY).open(text, place("default"))


def test_a_channel_from_creation_to_its_end(api: TestClient) -> None:
    created = api.post(PATH, json=CHANNEL)
    assert created.status_code == 201, created.text
    assert created.headers["cache-control"] == "no-store"
    made = created.json()
    secret = made.pop("signingSecret")
    signing_key(secret)
    assert made | CHANNEL == made and made["disabled"] is False
    assert api.get(f"{PATH}/{made['id']}").json() == made
    assert api.get(PATH).json()["items"] == [made]
    sealed = stored(api, made["id"])["signingSecret"]
    assert sealed.startswith("sealed:v1:") and opened(sealed) == secret

    changed = api.put(f"{PATH}/{made['id']}", json=CHANNEL | {"name": "other", "disabled": True}).json()
    assert (changed["name"], changed["disabled"], "signingSecret" in changed) == ("other", True, False)
    assert stored(api, made["id"])["signingSecret"] == sealed
    assert api.get(PATH).json()["items"] == []
    assert api.get(PATH + "?includeDisabled=true").json()["items"] == [changed]

    assert api.delete(f"{PATH}/{made['id']}").status_code == 204
    assert api.get(PATH + "?includeDisabled=true").json()["items"] == []
    assert api.get(f"{PATH}/{made['id']}").json()["deletedAt"]
    assert stored(api, made["id"])["signingSecret"] == ""
    assert refused(api.put(f"{PATH}/{made['id']}", json=CHANNEL)) == (404, "not-found")
    assert refused(api.get(f"{PATH}/nothing")) == (404, "not-found")


def test_a_given_secret_is_taken_and_turned(api: TestClient) -> None:
    made = api.post(PATH, json=CHANNEL | {"signingSecret": GIVEN}).json()
    assert made["signingSecret"] == GIVEN
    url = f"{PATH}/{made['id']}"
    assert "signingSecret" not in api.put(url, json=CHANNEL | {"signingSecret": GIVEN}).json()
    assert "previousSecret" not in stored(api, made["id"])

    rotated = api.post(f"/endpoints/{made['id']}/rotate", json={"overlapS": 60})
    assert rotated.status_code == 201, rotated.text
    new = rotated.json()["signingSecret"]
    held = stored(api, made["id"])
    assert opened(held["signingSecret"]) == new != GIVEN and opened(held["previousSecret"]["secret"]) == GIVEN
    for body in ({"signingSecret": new}, {"overlapS": -1}, {"secret": "x"}):
        assert refused(api.post(f"/endpoints/{made['id']}/rotate", json=body)) == (400, "bad-endpoint")
    assert refused(api.post("/endpoints/nothing/rotate")) == (404, "not-found")


def test_no_secret_is_in_the_audit_log(api: TestClient) -> None:
    made = api.post(PATH, json=CHANNEL).json()
    text = api.get("/audit?pageSize=1000").text
    assert made["id"] in text and "sealed:" not in text and made["signingSecret"] not in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.com"},
        {"url": ""},
        {"name": ""},
        {"type": "EMAIL"},
        {"signingSecret": "whsec_short"},
        {"signingSecret": ""},
        {"signingSecret": 1},
        {"signingSecret": "sealed:v1:00000000:AAAA"},
        {"signingSecret": "whpk_" + base64.b64encode(bytes(32)).decode()},
        {"customHeaders": {"a b": "c"}},
        {"customHeaders": {"a": "b\r\nc: d"}},
        {"secret": "x"},
    ],
    ids=str,
)
def test_a_wrong_channel_is_refused(api: TestClient, wrong: dict[str, Any]) -> None:
    assert refused(api.post(PATH, json=CHANNEL | wrong)) == (400, "bad-endpoint")


def test_a_channel_that_a_rule_sends_to_stays(api: TestClient) -> None:
    made = api.post(PATH, json=CHANNEL).json()
    rule = api.post(
        "/notification/rules",
        json={"type": "entitlements.reset", "name": "r", "channels": [made["id"]]},
    ).json()
    assert refused(api.delete(f"{PATH}/{made['id']}")) == (409, "endpoint-conflict")
    assert api.delete(f"/notification/rules/{rule['id']}").status_code == 204
    assert api.delete(f"{PATH}/{made['id']}").status_code == 204


@pytest.mark.parametrize(
    "wrong",
    [{}, {"from": "2026-01-01"}, {"from": "x", "to": "2026-01-01"}, {"from": "2026-01-02", "to": "2026-01-01"},
     {"from": "2026-01-01", "to": "2026-01-02", "states": ["LOST"]}, {"from": 1, "to": 2},
     {"from": "2026-01-01", "to": "2026-01-02", "states": []},
     {"from": "2026-01-01", "to": "2026-01-02", "all": True}],
    ids=str,
)  # fmt: skip
def test_a_wrong_replay_is_refused(api: TestClient, wrong: dict[str, Any]) -> None:
    made = api.post(PATH, json=CHANNEL).json()
    status, reason = refused(api.post(f"/endpoints/{made['id']}/replay", json=wrong))
    assert (status, reason) == (400, "bad-replay")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/h", "does not begin with https"),
        ("https://10.0.0.1/h", "10.0.0.1 is private"),
        ("https://127.0.0.1:8890/", "127.0.0.1 is loopback"),
        ("https://[::1]/", "::1 is not global unicast"),
        ("https://[::ffff:10.0.0.1]/", "is private"),
        ("https://2130706433/", "a number"),
        ("https://0x7f.1/", "a number"),
        ("https://192.31.196.1/", "AS112"),
        ("https://localhost/", "inside a network"),
        ("https://user:p@example.com/h", "a user name"),
        ("https://example.com:9999/h", "its port is none of"),
    ],
)
def test_a_url_that_can_never_receive_is_refused_at_its_definition(
    api: TestClient, url: str, why: str
) -> None:
    made = api.post(PATH, json=CHANNEL).json()
    for response in (
        api.post(PATH, json={**CHANNEL, "url": url}),
        api.put(f"{PATH}/{made['id']}", json={**CHANNEL, "url": url}),
    ):
        assert refused(response) == (400, "bad-endpoint")
        assert why in response.json()["detail"] and "webhook_allow_hosts" in response.json()["detail"]
    assert api.get(f"{PATH}/{made['id']}").json()["url"] == CHANNEL["url"]
    audited = api.get("/audit?kind=endpoint.update").json()["items"][0]
    assert (audited["name"], audited["error"]) == (made["id"], "bad-endpoint")


def test_a_receiver_on_this_machine_is_allowed_by_the_settings(served: Settings) -> None:
    allowed = {"webhook_allow_http": True, "webhook_allow_hosts": "127.0.0.1:8890"}
    with TestClient(
        create_app(served.model_copy(update=allowed)), base_url="http://testserver/api/v1"
    ) as api:
        made = api.post(PATH, json={**CHANNEL, "url": "http://127.0.0.1:8890/"})
        assert made.status_code == 201
        assert refused(api.post(PATH, json={**CHANNEL, "url": "http://127.0.0.1:8891/"})) == (
            400,
            "bad-endpoint",
        )
        ours = f"http://127.0.0.1:{served.kafka.rpartition(':')[2]}/"
        assert refused(api.post(PATH, json={**CHANNEL, "url": ours})) == (400, "bad-endpoint")
