"""Unknown members at every level of every body that OpenAPI shows: refused with 400, and nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.api.billing_changes import stripe_of
from tests.api.changes import ROUTES, Change, World
from tests.api.scope_table import CUSTOMERS, METERS
from tests.core.test_inputs import changed, objects
from tests.fixtures.api_services import PORTAL_SECRET
from tests.fixtures.bill_desk import BillDesk
from tests.fixtures.control_stage import ControlStage
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox

RETRY, IMPORTS = "/api/v1/billing/stripe/retry", "/api/v1/imports"
CHECK, QUERY = "/api/v1/entitlements/check", METERS + "/{idOrSlug}/query"
SIMULATE = "/api/v1/billing/customers/{customerIdOrKey}/invoices/simulate"
QUESTIONS: dict[tuple[str, str], Any] = {
    ("POST", CHECK): {"checks": [{"customer": "acme", "feature": "tokens"}]},
    ("POST", RETRY): {"customer": "acme", "meter": "tokens", "accept": "stripe"},
    ("POST", QUERY): {"from": "2026-01-01T00:00:00Z", "groupBy": ["model"], "subject": ["a"]},
    ("POST", SIMULATE): {
        "currency": "EUR",
        "lines": [
            {
                "name": "Fee",
                "period": {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"},
                "invoiceAt": "2026-02-01T00:00:00Z",
                "rateCard": {"price": {"type": "flat", "amount": "10"}},
            }
        ],
    },
    ("POST", "/api/v1/billing/replay"): {
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-02-01T00:00:00Z",
        "rateCards": [{"key": "tokens", "price": {"type": "unit", "amount": "1"}}],
    },
    ("POST", "/api/v1/stripe/checkout/sessions"): {
        "customer": {"key": "acme"},
        "options": {"successURL": "https://a.example"},
    },
    ("POST", "/api/v1/customers/{customerIdOrKey}/stripe/portal"): {"returnUrl": "https://a.example"},
}


@pytest.fixture(scope="module")
def with_stripe(served: Settings) -> Iterator[tuple[Settings, ServedSandbox]]:
    with stripe_of(served) as made:
        yield made


@pytest.fixture(scope="module")
def api(with_stripe: tuple[Settings, ServedSandbox], decider: ControlStage) -> Iterator[TestClient]:
    settings = with_stripe[0].model_copy(update={"portal_secret": SecretStr(PORTAL_SECRET)})
    with (
        BillDesk(settings),
        TestClient(create_app(settings), base_url="http://testserver/api/v1") as client,
    ):
        yield client


@pytest.fixture(scope="module")
def world(api: TestClient, with_stripe: tuple[Settings, ServedSandbox]) -> World:
    return World(api, *with_stripe)


def with_body(api: TestClient) -> set[tuple[str, str]]:
    """The operations whose body OpenAPI shows, but for events, which are CloudEvents."""
    paths = api.get("http://testserver/openapi.json").json()["paths"]
    return {
        (method.upper(), path)
        for path, item in paths.items()
        for method, operation in item.items()
        if "requestBody" in operation and path != "/api/v1/events"
    }


def request(world: World, method: str, path: str) -> Change:
    """One that succeeds, or is a good question."""
    if (method, path) in QUESTIONS:
        named = path.replace("{idOrSlug}", world.meter()["slug"]) if path == QUERY else path
        named = named.replace("{customerIdOrKey}", world.customer()["key"]) if path == SIMULATE else named
        return Change(method, named, QUESTIONS[method, path])
    return world.change(method, path)


def test_every_body_is_tried(api: TestClient, world: World) -> None:
    known = with_body(api)
    assert known <= {*ROUTES, *QUESTIONS}
    for method, path in sorted(known):
        assert request(world, method, path).body is not None, (method, path)
    for method, path in sorted(set(ROUTES) - known):
        assert request(world, method, path).body is None, (method, path)


@pytest.mark.parametrize(("method", "path"), sorted({*ROUTES, *QUESTIONS}), ids=lambda part: part)
def test_an_unknown_member_is_refused_at_every_level(
    api: TestClient, world: World, decider: ControlStage, method: str, path: str
) -> None:
    change = request(world, method, path)
    if change.body is None or path == IMPORTS:  # each item of an import has a refusal of its own
        return
    revision = decider.revision
    for place, _ in objects(change.body):
        if set(place) & {"filterGroupBy"}:
            continue
        answer = Change(method, change.path, changed(change.body, (*place, "zz"), 1)).send(api)
        assert answer.status_code == 400, (place, answer.text)
        assert "zz" in answer.json()["detail"], (place, answer.text)
    assert decider.revision == revision


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_a_body_cannot_name_another_thing_than_its_path(
    api: TestClient, world: World, decider: ControlStage, method: str, path: str
) -> None:
    change = world.change(method, path)
    if not isinstance(change.body, dict) or "{" not in path or "/entitlements" in path or "/rules" in path:
        return
    revision = decider.revision
    for member in ("id", "slug", "customerId", "subject", "entitlementId"):
        answer = Change(method, change.path, {**change.body, member: "another"}).send(api)
        assert answer.status_code in (400, 404, 409), (member, answer.text)
    assert decider.revision == revision


def test_what_was_read_can_be_changed_and_sent_back(api: TestClient, world: World) -> None:
    for made in (world.customer(), world.meter()):
        path = f"{CUSTOMERS}/{made['key']}" if "usageAttribution" in made else f"{METERS}/{made['slug']}"
        url = "http://testserver" + path
        answer = api.put(url, json={**api.get(url).json(), "name": "New"})
        assert answer.status_code == 200 and answer.json()["name"] == "New", answer.text
        stale = {**made, "name": "Old"}
        refused = api.put(url, json=stale)  # changed meanwhile
        assert refused.status_code == 400 and "updatedAt is written by the server" in refused.json()["detail"]
    channel = world.channel()
    url = f"http://testserver/api/v1/notification/channels/{channel['id']}"
    read = api.get(url).json()
    assert api.put(url, json={**read, "disabled": True}).json()["disabled"] is True
