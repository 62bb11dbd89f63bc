"""The header Idempotency-Key at every route that changes something: done once, answered alike, refused for another."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.settings import Settings
from tests.api.billing_changes import stripe_of
from tests.api.changes import CHANGES, ROUTES, Change, World
from tests.api.scope_table import CHANNELS, ENDPOINTS, KEYS, SUBSCRIPTIONS
from tests.fixtures.api_server import ApiServer
from tests.fixtures.api_services import PORTAL_SECRET
from tests.fixtures.bill_desk import BillDesk
from tests.fixtures.control_stage import ControlStage
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox

SECRETS = {KEYS: "key", KEYS + "/{keyId}/rotate": "key", CHANNELS: "signingSecret",
           ENDPOINTS + "/{channelId}/rotate": "signingSecret"}  # fmt: skip
PATH = "/customers"


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


def at_once(number: int, send: Any) -> list[Any]:
    """What so many threads get that send at the same time."""
    start, found = threading.Barrier(number), list[Any]()

    def run() -> None:
        start.wait()
        found.append(send())

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_every_route_that_changes_something_is_tried() -> None:
    assert sorted(CHANGES) == ROUTES


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_a_change_is_done_once_under_its_key(
    api: TestClient, world: World, decider: ControlStage, method: str, path: str
) -> None:
    one, change = world.change(method, path), world.change(method, path)
    headers = {"idempotency-key": world.name()}
    revisions = [decider.revision]
    once = one.send(api, {"idempotency-key": world.name()})
    revisions.append(decider.revision)
    answers = [*at_once(4, lambda: change.send(api, headers)), change.send(api, headers)]
    revisions.append(decider.revision)
    assert once.is_success and "idempotent-replayed" not in once.headers
    assert {answer.status_code for answer in answers} == {once.status_code}, answers[0].text
    assert revisions[2] - revisions[1] == revisions[1] - revisions[0]  # as often as one request alone

    secret = SECRETS.get(path)
    assert len({answer.text for answer in answers if secret not in members(answer)}) == 1
    first = [answer for answer in answers if "idempotent-replayed" not in answer.headers]
    assert len(first) == 1 and (secret is None) == (secret not in members(first[0]))
    assert sum(secret in members(answer) for answer in answers) == (secret is not None)

    refused = another(change).send(api, headers)
    assert (refused.status_code, refused.json()["reason"]) == (422, "idempotency-key-reused")


def members(answer: Any) -> dict[str, Any]:
    found = answer.json() if answer.content else {}
    return found if isinstance(found, dict) else {}


def another(change: Change) -> Change:
    """A request that asks for something else, at the same route where that takes a body."""
    if change.body is None and change.path.startswith(SUBSCRIPTIONS):  # the key belongs to the customer
        return Change("POST", f"{'/'.join(change.path.split('/')[:5])}/cancel")
    if change.body is None:
        invoice = re.match(r"/api/v1/billing/invoices/[^/]+", change.path)
        if invoice:  # a key of the billing stage is one of its customer
            return Change("PUT", invoice[0], {"description": "another"})
        if "/credits/" in change.path:
            return Change("POST", change.path.partition("/credits/")[0] + "/credits/adjustments", {})
        return Change("POST", "/api/v1/subjects", [])
    if change.path == "/api/v1/imports":  # a key holds for each item
        return Change("POST", change.path, [{"subject": {"key": "another"}}])
    body = [*change.body, {}] if isinstance(change.body, list) else {**change.body, "more": 1}
    return Change(change.method, change.path, body)


def test_two_processes_give_one_answer(served: Settings, decider: ControlStage, tmp_path: Path) -> None:
    with ApiServer(served, tmp_path, processes=2) as serving:
        url = serving.url + PATH
        for number in (2, 4, 8):
            name = f"at-once-{number}"
            send = lambda name=name: httpx.post(  # noqa: E731
                url, json={"key": name, "name": name}, headers={"idempotency-key": name}, timeout=60
            )
            answers = at_once(number, send)
            assert {answer.status_code for answer in answers} == {201}
            assert len({answer.text for answer in answers}) == 1
            assert len(httpx.get(url, params={"key": name}).json()["items"]) == 1


def test_a_top_up_is_given_once_however_its_numbers_are_spelled(api: TestClient, world: World) -> None:
    path, _ = world.entitled("/api/v2/customers/{customerIdOrKey}/entitlements")
    key = {"idempotency-key": "order-1", "content-type": "application/json"}
    answers = [
        api.post(f"http://testserver{path}/grants", content=text, headers=key)
        for text in ('{"amount": 50}', '{"amount":50.0}', '{"amount": 5e1 }')
    ]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.text for answer in answers}) == 1
    other = '{"amount": 50, "effectiveAt": "' + world.minute(60) + '"}'
    refused = api.post(f"http://testserver{path}/grants", content=other, headers=key)
    assert (refused.status_code, refused.json()["reason"]) == (422, "idempotency-key-reused")


def test_a_refused_change_can_be_mended_under_its_key(api: TestClient) -> None:
    key = {"idempotency-key": "mended"}
    assert api.post(PATH, json={"key": "mended"}, headers=key).status_code == 400
    assert api.post(PATH, json={"key": "mended", "name": "M"}, headers=key).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\u00e9"])
def test_a_key_that_is_none_is_refused(api: TestClient, key: str) -> None:
    answer = api.post(PATH, json={"name": "N"}, headers={"idempotency-key": key.encode("latin-1")})
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad-idempotency-key")


def test_two_keys_are_refused(api: TestClient) -> None:
    answer = api.post(PATH, json={"name": "N"}, headers=[("idempotency-key", "a"), ("idempotency-key", "b")])
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad-idempotency-key")
