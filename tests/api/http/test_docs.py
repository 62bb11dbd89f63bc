"""The page for a browser: complete without any other host, and nothing but its own files."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.api.changes import ROUTES

client = TestClient(create_app(Settings.model_construct()))  # without its services: none is asked


def test_the_page_and_all_that_it_names_come_from_here() -> None:
    page = client.get("/docs")
    assert page.status_code == 200 and "script-src 'self'" in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 4 and all(one.startswith("/docs/") for one in named)
    for one in named:
        answer = client.get(one)
        assert answer.status_code == 200 and len(answer.content) > 50
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_other_file_is_to_be_had() -> None:
    for name in ("redoc.standalone.js", "..%2Fcore.py", "__init__.py", "%2e%2e%2fcore.py"):
        assert client.get(f"/docs/{name}").status_code == 404


def test_the_document_says_that_calls_need_a_key() -> None:
    document = client.get("/openapi.json").json()
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["paths"]


def test_every_change_takes_an_idempotency_key() -> None:
    client.get("/openapi.json")
    named = {
        (method, path): [one["name"] for one in operation.get("parameters", [])].count("Idempotency-Key")
        for path, item in client.get("/openapi.json").json()["paths"].items()
        for method, operation in item.items()
    }
    assert {place for place, times in named.items() if times} == {
        (method.lower(), path) for method, path in ROUTES
    }
    assert set(named.values()) == {0, 1}
