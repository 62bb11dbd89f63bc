"""The API answers as it was recorded. `python -m tests.api.recording --record` writes the records again.

The sentence of a refusal (`detail`) is for people and may be reworded: only its reason is compared.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.api.http.problem import MEDIA_TYPE
from pipeline.contracts import ROOT
from pipeline.core.access import api_key
from pipeline.core.values.token_bucket import BucketPolicy
from pipeline.local.redis import is_available
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.limits import SandboxLimits
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka import direct_key
from tests.api.openapi import wrong_answer
from tests.api.recording import (
    billing,
    catalog,
    credits,
    customers,
    generated,
    invoices,
    metering,
    notifications,
    operation,
    parameters,
    profiles,
    quota,
    recorder,
    refusals,
    subscriptions,
)
from tests.api.recording.recorder import Exchange, Recorder
from tests.api.recording.world import World
from tests.api.scope_table import INVOICES, LISTINGS, NEEDED, NO_KEY, PORTAL, PORTAL_INVOICES
from tests.fixtures.absent import absent
from tests.fixtures.api_services import PORTAL_SECRET
from tests.fixtures.bill_desk import BillDesk, now_ms
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.redis_server import running
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox, account
from tests.local.stripe_sandbox.test_meter_events import METER

BEGIN = datetime(2026, 1, 15, 12, tzinfo=UTC)
SCOPES = {"admin": ["admin"], "ingest": ["ingest"], "query": ["query"], "keys": ["keys:write"]}
# They answer 501: there is no broker between an installation and Stripe.
NEVER_DONE = {f"GET {LISTINGS}/{{listingType}}/install/{path}" for path in ("oauth2", "oauth2/authorize")}
# What they answer is bytes of a library that need not be installed; tests/api/invoices/test_pdf.py asks for them.
PAGES_AS_PDF = {f"GET {path}/{{invoiceId}}.pdf" for path in (INVOICES, PORTAL_INVOICES)}
OPERATIONS = sorted(f"{method} {path}" for method, path in NEEDED)
SENTENCE = re.compile(r"\S[^\n]*", re.DOTALL).fullmatch  # of one line
UNDESCRIBED = "no description has this"
DOCUMENT = json.loads((ROOT / "schemas/openapi.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(BEGIN, tick=False) as traveller:
        yield traveller


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not is_available():
        absent("there is no redis-server")
    with running(tmp_path_factory.mktemp("redis-recorded")) as (server, _):
        yield server.url


@pytest.fixture(scope="module")
def stripe(clock: time_machine.Traveller) -> Iterator[ServedSandbox]:
    """A Stripe with a meter `tokens` and a customer, whose limits stand still with the clock."""
    most = BucketPolicy(1_000_000, 1_000_000)
    sandbox = StripeSandbox(account(), SandboxClock(), SandboxLimits(most, most, most))
    for name in ("tokens", "calls"):
        sandbox.account.create_meter({**METER, "event_name": name}, sandbox.clock.now_s())
    sandbox.account.create_customer({"name": "ACME"}, sandbox.clock.now_s())
    with ServedSandbox(sandbox) as served:
        yield served


@pytest.fixture(scope="module")
def world(
    served: Settings,
    store: ClickHouse,
    redis_url: str,
    clock: time_machine.Traveller,
    stripe: ServedSandbox,
) -> Iterator[World]:
    """Everything that is recorded, asked again."""
    settings = served.model_copy(
        update={
            "auth": "on",
            "portal_secret": SecretStr(PORTAL_SECRET),
            "redis": redis_url,
            "secrets_key": SecretStr(base64.b64encode(bytes(32)).decode()),
            "stripe_address": stripe.url,
        }
    )
    without = settings.model_copy(update={"redis": "", "portal_secret": SecretStr("")})
    apps = {
        "usual": settings,
        "without_redis": without,
        "limited": without.model_copy(update={"rate_limit_events_s": 1, "rate_limit_requests_s": 0}),
        "without_kafka": without.model_copy(update={"kafka": "127.0.0.1:1"}),
    }
    with ExitStack() as stack:
        decider = stack.enter_context(ControlStage(settings, now_ms))
        stack.enter_context(BillDesk(settings, now_ms))
        served_apps = {
            name: stack.enter_context(TestClient(create_app(one), raise_server_exceptions=False))
            for name, one in apps.items()
        }
        keys = _keys(settings)
        asking = Recorder(served_apps["usual"], keys, lambda: clock.shift(1))
        admin = api_key.parse(keys["admin"]).public
        world = World(asking, settings, store, decider, served_apps, keys, admin, clock.shift, DOCUMENT)
        _ask_all(world)
        yield world


@pytest.fixture(scope="module")
def exchanges(world: World) -> dict[str, list[Exchange]]:
    return world.recorder.exchanges


def _keys(settings: Settings) -> dict[str, str]:
    """Keys by name, the same in every run."""
    made = {
        name: api_key.make("live", bytes([number]) * api_key.RANDOM_BYTES)
        for number, name in enumerate(SCOPES, 1)
    }
    for name, key in made.items():
        direct_key.create(settings, "default", key, name, SCOPES[name])
    return {name: key.text for name, key in made.items()}


def _ask_all(world: World) -> None:
    metering.meters(world)
    customers.customers(world)
    customers.subjects(world)
    customers.features(world)
    world.shift(3600)
    world.rows()
    metering.ingest(world)
    metering.events(world)
    metering.usage(world)
    metering.backfill(world)
    quota.entitlements(world)
    quota.values(world)
    metering.deleted_meters(world)
    notifications.channels(world)
    notifications.rules(world)
    notifications.events(world)
    notifications.deliveries(world)
    metering.portal(world)
    customers.keys(world)
    operation.operation(world)
    operation.audit(world)
    billing.marketplace(world)
    billing.apps(world)
    billing.mappings(world)
    billing.customers(world)
    billing.reports(world)
    profiles.profiles(world)
    invoices.invoices(world)
    refusals.refusals(world, DOCUMENT)
    catalog.plans(world)
    invoices.upcoming(world)
    credits.credits(world)
    subscriptions.subscriptions(world)
    quota.imports(world)


def test_the_answers_are_those_recorded(
    exchanges: dict[str, list[Exchange]], request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--record"):
        recorder.save(exchanges)
    found = {
        name: recorder.exact(recorder.text_of(name, asked))["exchanges"] for name, asked in exchanges.items()
    }
    recorded = recorder.stored()
    assert sorted(found) == sorted(recorded)
    for name, asked in found.items():
        for now, then in zip(asked, recorded[name], strict=True):
            assert _wire(now) == _wire(then), (name, then["name"])


def _wire(exchange: dict[str, Any]) -> dict[str, Any]:
    """An exchange without the sentences of a refusal."""
    answer = exchange["answer"]
    if answer.get("content_type") != MEDIA_TYPE:
        return exchange
    body = {name: value for name, value in answer["body"].items() if name not in ("detail", "extensions")}
    return {**exchange, "answer": {**answer, "body": body}}


def test_every_operation_is_recorded_with_a_success() -> None:
    recorded = recorder.stored()
    assert sorted(recorded) == OPERATIONS
    for name, exchanges in recorded.items():
        statuses = {one["answer"]["status"] for one in exchanges}
        is_left_out = (name in NEVER_DONE and 501 in statuses) or name in PAGES_AS_PDF
        assert min(statuses) < 300 or is_left_out, name


def test_openapi_shows_what_is_recorded() -> None:
    assert recorder.EXAMPLES.read_text("utf-8") == recorder.examples_text()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_refusals_that_an_operation_has_are_recorded(operation: str) -> None:
    method, path = operation.split()
    described = DOCUMENT["paths"][path][method.lower()]
    statuses = {one["answer"]["status"] for one in recorder.stored()[operation]}
    scope = NEEDED[method, path]
    wanted = set() if scope == NO_KEY else {401} if scope == PORTAL else {401, 403}
    if "requestBody" in described or any(one["in"] == "query" for one in described.get("parameters", [])):
        wanted.add(400)
    if "{" in path and scope != PORTAL:
        wanted.add(404)
    if any(one["name"] == "Idempotency-Key" for one in described.get("parameters", [])):
        wanted.add(422)
    assert wanted <= statuses


@pytest.mark.parametrize(
    ("operation", "name", "description"), list(parameters.query_parameters()), ids=lambda part: part[:40]
)
def test_every_query_parameter_acts(world: World, operation: str, name: str, description: str) -> None:
    if name in parameters.ELSEWHERE and not operation.startswith("GET"):
        assert f"{name}=" in (ROOT / parameters.ELSEWHERE[name]).read_text("utf-8")
    elif name == "wait_s":
        assert world.answer("GET", "/api/v1/reconcile?wait_s=-1", None)[0] == 400
    else:
        without = parameters.WITHOUT_EFFECT.get(name, UNDESCRIBED) in description
        assert parameters.acts(world, operation, name, description) != without


@pytest.mark.parametrize("name", list(parameters.question_members()))
def test_every_member_of_a_question_acts(world: World, name: str) -> None:
    if name not in parameters.WITHOUT_EFFECT:
        assert parameters.question_acts(world, name)


def test_generated_requests_are_answered_or_refused_as_the_document_says(
    world: World, clock: time_machine.Traveller
) -> None:
    clock.shift(3600)  # no worker is live any more: no change waits for one

    @hypothesis(max_examples=200 if os.environ.get("CI") else 100, suppress_health_check=list(HealthCheck))
    @given(generated.requests())
    def ask(sent: generated.Sent) -> None:
        clock.shift(1)
        method = sent.operation.split()[0]
        response = world.recorder.send(method, sent.path, sent.content_type, sent.body)
        assert response.status_code < 500, response.text
        content_type = response.headers.get("content-type", "")
        body = recorder.exact(response.text) if "json" in content_type else response.text or None
        why = wrong_answer(sent.operation, response.status_code, content_type, body)
        assert not why, (response.status_code, why, response.text[:500])
        if response.status_code >= 400:
            assert content_type == MEDIA_TYPE and SENTENCE(body["detail"]), body

    ask()
