"""The short way to a route gives the answers that the framework's way gives."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from pipeline.api.app import PREFIX, SHORT, create_app
from pipeline.settings import Settings
from tests.api.test_scopes import NO_KAFKA, Away, Log, known
from tests.fixtures.api_services import PORTAL_SECRET, bearer
from tests.fixtures.asgi_client import AsgiClient

pytestmark = pytest.mark.services  # it takes seconds

# Of a media type that ends so the framework reads JSON too, and the short way reads none.
PLAIN, OTHER = "application/json", "application/vnd.tallymark+json"
BODIES = [b"", b"null", b"{}", b"[]", b"[1]", b"[{}]",
          b'{"checks": []}', b'{"checks": 1}', b'"text"', b"{", b'{"a":1,"a":2}',
          b'{"checks": [{"customer": "a", "feature": "b"}]}', b'{"name": "x"}', b'[{"key": "x"}]']  # fmt: skip
QUERIES = ["", "?unknown=1"]


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


@pytest.fixture(scope="module")
def client(log: Log) -> Iterator[AsgiClient]:
    """An app of which no service answers: a request that is let in gets 503."""
    settings = Settings.model_construct(kafka=NO_KAFKA, portal_secret=SecretStr(PORTAL_SECRET))
    app = create_app(settings)
    app.state.services = Away(log, settings)
    with AsgiClient(app) as client:
        yield client


def outcome(
    client: AsgiClient, method: str, path: str, content_type: str, body: bytes, key: str | None
) -> object:
    headers = {"content-type": content_type, "x-request-id": "one"} | ({} if key is None else bearer(key))
    found = client.request(method, path, content=body, headers=headers)
    named = ("content-type", "www-authenticate", "retry-after", "x-request-id")
    return found.status_code, json.loads(found.content), [found.headers.get(name) for name in named]


@pytest.mark.parametrize("scopes", [["admin"], ["ingest"], None])
@pytest.mark.parametrize("route", [one for one in SHORT if one.takes is not None], ids=lambda one: one.path)
def test_a_body_is_answered_alike(
    client: AsgiClient, log: Log, route: object, scopes: list[str] | None
) -> None:
    key = None if scopes is None else known(log, scopes).text
    method, path = route.method, PREFIX + route.path  # type: ignore[attr-defined]
    for body in BODIES:
        for query in QUERIES:
            plain, other = (outcome(client, method, path + query, one, body, key) for one in (PLAIN, OTHER))
            assert plain == other, (body, query)
