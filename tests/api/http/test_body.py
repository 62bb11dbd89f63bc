"""Bodies that are packed: events alone may be."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.api.scope_table import NEEDED
from tests.api.test_scopes import NO_KAFKA, Away, Log
from tests.fixtures.api_services import PORTAL_SECRET
from tests.fixtures.asgi_client import AsgiClient

WITH_BODY = sorted(
    (method, path)
    for method, path in NEEDED
    if method in ("POST", "PUT", "DELETE") and path != "/api/v1/events"
)


@pytest.fixture(scope="module")
def client() -> Iterator[AsgiClient]:
    settings = Settings.model_construct(kafka=NO_KAFKA, auth="off", portal_secret=SecretStr(PORTAL_SECRET))
    app = create_app(settings)
    app.state.services = Away(Log(), settings)
    with AsgiClient(app) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), WITH_BODY, ids=lambda part: part)
def test_a_packed_body_is_415_but_for_events(client: AsgiClient, method: str, path: str) -> None:
    for encoding in ("gzip", "x-gzip", "br", "GZIP", "deflate"):
        headers = {"content-encoding": encoding, "content-type": "application/json"}
        answer = client.request(method, path, content=gzip.compress(b"{}", mtime=0), headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (415, "unsupported-encoding")
    plain = {"content-encoding": "identity", "content-type": "application/json"}
    assert client.request(method, path, content=b"{}", headers=plain).status_code != 415
