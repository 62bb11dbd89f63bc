"""Keys and ids in paths: whatever they hold, they reach their own route whole, and no other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.types import Message, Scope

from pipeline.api.app import create_app
from pipeline.api.http.paths import canonical, decoded
from pipeline.errors import Rejected
from pipeline.settings import Settings
from tests.api.scope_table import NEEDED
from tests.api.test_scopes import NO_KAFKA, Away, Log, portal
from tests.fixtures.api_services import PORTAL_SECRET
from tests.fixtures.asgi_client import AsgiClient
from tests.fixtures.control_stage import ControlStage

pytestmark = pytest.mark.services  # it takes seconds

HOSTILE = ["a/b", "acme/access", "../x", "..", ".", "a%2Fb", "100%", "a?b=c", "a#b", "a b", "a+b", "ä/ö", "🙂", "a;b",
           "a\\b", "a:b@c", "//", "%", "%00", "apply", "check", "tokens/x", "x/entitlements/f/value"]  # fmt: skip
WITH_PARAMETERS = sorted((method, path) for method, path in NEEDED if "{" in path)
SHARE = (
    1 if os.environ.get("CI") else 3
)  # outside CI a route gets every third text, and the next route the next ones


def made(auth: str, log: Log) -> FastAPI:
    settings = Settings.model_construct(kafka=NO_KAFKA, auth=auth, portal_secret=SecretStr(PORTAL_SECRET))
    app = create_app(settings)
    app.state.services = Away(log, settings)
    return app


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


@pytest.fixture(scope="module")
def app(log: Log) -> Iterator[AsgiClient]:
    """An app of which no service answers: a request gets as far as its route."""
    with AsgiClient(made("off", log)) as client:
        yield client


@pytest.fixture(scope="module")
def token(log: Log) -> str:
    return portal(log)


def routed(app: AsgiClient, token: str, method: str, path: str) -> tuple[object, dict[str, str]]:
    """The endpoint that answers and its path parameters; no endpoint where none does. path: as a client sends it."""
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": "/decoded by the server",
        "raw_path": path.encode("ascii"),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + token.encode())],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("testserver", 80),
        "client": ("testclient", 1),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        return None

    app.call(scope, receive, send)
    return scope.get("endpoint"), scope.get("path_params", {})


def filled(path: str, texts: dict[str, str]) -> str:
    """The path of a request, each text as one encoded segment."""
    for name, text in texts.items():
        segment = "%2E" * len(text) if text in (".", "..") else quote(text, safe="")
        path = path.replace("{" + name + "}", segment)
    return path


@pytest.mark.parametrize("place", range(len(WITH_PARAMETERS)), ids=lambda n: " ".join(WITH_PARAMETERS[n]))
def test_every_route_takes_every_key_whole(app: AsgiClient, token: str, place: int) -> None:
    method, path = WITH_PARAMETERS[place]
    names = re.findall(r"\{(\w+)\}", path)
    expected, _ = routed(app, token, method, filled(path, {name: f"plain-{name}" for name in names}))
    assert expected is not None
    for name in names:
        for text in HOSTILE[place % SHARE :: SHARE]:
            texts = {other: text if other == name else "plain" for other in names}
            if text in ("apply", "check") and _is_route(path, name, text):
                continue
            assert routed(app, token, method, filled(path, texts)) == (expected, texts), text


def _is_route(path: str, name: str, text: str) -> bool:
    """Whether the path with this text is a route of its own, such as /meters/apply."""
    return any(other == path.replace("{" + name + "}", text) for _, other in NEEDED)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4))
def test_a_path_keeps_its_segments(texts: list[str]) -> None:
    raw = "/".join(quote(text, safe="") for text in texts)
    path = canonical(raw.encode())
    assert [decoded(segment) for segment in path.split("/")] == texts
    assert canonical(path.encode()) == path


def test_one_path_has_one_spelling() -> None:
    spellings = (
        b"/api/v1/customers/a-b%2Fc",
        b"/%61pi/v1/customers/a%2db%2fc",
        b"/api/v1/customers/a%2Db%2Fc",
    )
    assert {canonical(raw) for raw in spellings} == {"/api/v1/customers/a-b%2Fc"}
    assert canonical("/ä/%C3%A4".encode()) == "/%C3%A4/%C3%A4"


@pytest.mark.parametrize("raw", [b"/a%", b"/a%2", b"/a%zz", b"/%ff", b"/%C3", b"/\xff", b"/%ed%a0%80"])
def test_what_is_no_percent_encoded_utf8_is_refused(raw: bytes) -> None:
    with pytest.raises(Rejected) as found:
        canonical(raw)
    assert found.value.reason == "bad-path"


def test_a_wrong_path_is_a_problem(app: AsgiClient) -> None:
    for path in ("/api/v1/customers/%ff", "/api/v1/customers/100%25/%zz"):
        response = app.get(path)
        assert (response.status_code, response.json()["reason"]) == (400, "bad-path")
    assert "sent as %2F" in app.get("/api/v1/customers/a/b").json()["detail"]


def test_no_spelling_of_a_path_goes_past_authentication() -> None:
    client = TestClient(made("on", Log()))
    for path in ("/%61pi/v1/customers", "/docs%2F/../api/v1/customers", "/docs/..%2Fapi%2Fv1%2Fcustomers",
                 "/api/v1/healthz%2F..%2Fcustomers", "/api/v1/portal%2Fmeters/x/query"):  # fmt: skip
        assert client.get(path).status_code in (401, 404), path
    assert client.get("/%61pi/v1/healthz").status_code == 200


@pytest.mark.parametrize("key", [key for key in HOSTILE if key not in ("apply", "check")])
def test_a_customer_is_reached_by_any_key(api: TestClient, decider: ControlStage, key: str) -> None:
    url = "/customers/" + filled("{key}", {"key": key})
    made = api.post("/customers", json={"key": key, "name": "K"}).json()
    assert api.get(url).json() == made
    assert api.put(url, json={"key": key, "name": "L"}).json()["name"] == "L"
    assert api.get(url + "/entitlements").json()["items"] == []
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


@pytest.mark.parametrize("key", HOSTILE)
def test_a_subject_is_reached_by_any_key(api: TestClient, decider: ControlStage, key: str) -> None:
    url = "/subjects/" + filled("{key}", {"key": key})
    (made,) = api.post("/subjects", json=[{"key": key}]).json()
    assert api.get(url).json() == made
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


def test_an_encoded_slash_reaches_no_other_resource(api: TestClient, decider: ControlStage) -> None:
    made: dict[str, Any] = {}
    for key in ("acme", "acme/access", "acme/entitlements/fa"):
        made[key] = api.post("/customers", json={"key": key, "name": key}).json()
    api.post("/features", json={"key": "fa", "name": "F"})
    entitled = api.post("/customers/acme/entitlements", json={"type": "boolean", "featureKey": "fa"}).json()
    assert api.get("/customers/acme%2Faccess").json() == made["acme/access"]
    assert api.delete("/customers/acme%2Fentitlements%2Ffa").status_code == 204
    assert api.get("/customers/acme/entitlements/fa").json()["id"] == entitled["id"]
