"""Hostile bytes at every entry of the API: a problem of the client's, never a crash, never an answer in plain text.

The routes come from the OpenAPI document. `TALLYMARK_TESTS_ALL=1` tries all inputs; else each route gets a share.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.api import foreign_requests as foreign
from tests.api.foreign_requests import Answered, Asked, Route
from tests.fixtures.api_services import PORTAL_SECRET
from tests.fixtures.control_stage import ControlStage

ALL = os.environ.get("TALLYMARK_TESTS_ALL") == "1"
NEEDS_REDIS = ("/value", "/access", "/entitlements/check")
PARTS = 6
pytestmark = pytest.mark.usefixtures("billing_stage")


@pytest.fixture(scope="module")
def client(served: Settings, decider: ControlStage) -> Iterator[TestClient]:
    settings = served.model_copy(update={"portal_secret": SecretStr(PORTAL_SECRET), "redis": ""})
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture(scope="module")
def known(client: TestClient) -> dict[str, str]:
    """One thing of each kind, by the name of the path parameter that it is for."""

    def made(path: str, body: object) -> dict[str, Any]:
        answer = client.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found

    meter = {"slug": "calls", "eventType": "x", "aggregation": "SUM", "valueProperty": "$.n"}
    made("/meters", meter | {"groupBy": {"model": "$.model"}})
    made("/features", {"key": "calls", "name": "Calls", "meterSlug": "calls"})
    made("/customers", {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["ann"]}})
    client.post("/subjects", json=[{"key": "ann"}])
    entitlement = {"type": "metered", "featureKey": "calls", "usagePeriod": {"interval": "DAY"}}
    made("/customers/acme/entitlements", entitlement)
    grant = made(
        "/customers/acme/entitlements/calls/grants", {"amount": 1, "effectiveAt": "2090-01-01T00:00:00Z"}
    )
    channel = made("/notification/channels", {"type": "WEBHOOK", "name": "n", "url": "https://example.com/"})
    rule = {"type": "entitlements.reset", "name": "n", "channels": [channel["id"]]}
    return {
        **dict.fromkeys(
            ("meterIdOrSlug", "idOrSlug", "slug", "meterSlug", "featureKey", "featureId"), "calls"
        ),
        "entitlementIdOrFeatureKey": "calls",
        "customerIdOrKey": "acme",
        "subjectIdOrKey": "ann",
        "grantId": grant["id"],
        "channelId": channel["id"],
        "ruleId": made("/notification/rules", rule)["id"],
        "keyId": made("/keys", {"name": "n", "scopes": ["query"]})["id"],
        "key": "model",
    }


@pytest.fixture(scope="module")
def token(client: TestClient) -> str:
    """Opens the portal's routes, which take nothing else."""
    made = client.post("/portal/tokens", json={"subject": "ann"})
    assert made.status_code == 200, made.text
    return str(made.json()["token"])


def answers(client: TestClient, asked: list[Asked], token: str) -> list[Answered]:
    assert client.portal is not None
    app = client.app
    assert isinstance(app, FastAPI)
    return client.portal.call(foreign.ask_all, app, asked, token)


def wrong(answer: Answered) -> str:
    """What is wrong with an answer; empty: nothing."""
    if answer.error is not None:
        return f"raised {answer.error!r}"
    if answer.status < 400:
        return "was taken" if answer.asked.refused else ""
    away = answer.status == 503 and answer.asked.path.endswith(NEEDS_REDIS)
    if answer.status >= 500 and not away:
        return "is a fault of ours"
    if answer.content_type != "application/problem+json":
        return "is no problem"
    body = json.loads(answer.body)
    whole = body["status"] == answer.status and body["reason"] and body["detail"]
    return "" if whole else "lacks members"


def tried(
    client: TestClient,
    known: dict[str, str],
    token: str,
    kind: Callable[[Route], Iterator[Asked]],
    part: int,
    every: int,
) -> None:
    """Asks every route, and fails with the first wrong answers."""
    app = client.app
    assert isinstance(app, FastAPI)
    asked = [
        one
        for number, route in enumerate(foreign.routes(app, known))
        if number % PARTS == part
        for one in foreign.share(kind(route), number, 1 if ALL else every)
    ]
    found = answers(client, asked, token)
    statuses = Counter(answer.status for answer in found)
    print(f"{kind.__name__}: {len(found)} requests, {dict(sorted(statuses.items()))}")
    bad = [(why, answer) for answer in found if (why := wrong(answer))]
    shown = [
        f"{one.status} {one.asked.method} {one.asked.path[:80]}?{one.asked.query[:80]} ({one.asked.what}) {why}: "
        f"{one.asked.body[:80]!r} -> {one.body[:200]!r}"
        for why, one in bad[:20]
    ]
    assert not bad, f"{len(bad)} of {len(found)}:\n" + "\n".join(shown)


@pytest.mark.parametrize("part", range(PARTS))
def test_bodies(client: TestClient, known: dict[str, str], token: str, part: int) -> None:
    tried(client, known, token, foreign.bodies, part, 2)


@pytest.mark.parametrize("part", range(PARTS))
def test_queries(client: TestClient, known: dict[str, str], token: str, part: int) -> None:
    tried(client, known, token, foreign.queries, part, 4)


@pytest.mark.parametrize("part", range(PARTS))
def test_paths(client: TestClient, known: dict[str, str], token: str, part: int) -> None:
    tried(client, known, token, foreign.paths, part, 2)


@pytest.mark.parametrize("part", range(PARTS))
def test_headers(client: TestClient, known: dict[str, str], token: str, part: int) -> None:
    tried(client, known, token, foreign.headers, part, 8)
