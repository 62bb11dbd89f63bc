"""From a request to a decided command of billing: its record, its reply, and that the change can be read at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.api.http.auth import needs
from pipeline.api.http.paths import ChangesBills, Router
from pipeline.api.http.services import Services
from pipeline.api.http.submit_billing import (
    bills,
    bills_loaded,
    read_changed,
    submit_billing,
    submit_billing_in_turn,
)
from pipeline.core.definitions import idempotency
from pipeline.core.metering.identity import customer_hash
from pipeline.errors import Rejected, Unavailable
from pipeline.records import BillDocument, BillingWork, Reply
from pipeline.settings import Settings
from tests.fixtures.billing_stage import BillingStage, DecidedBill
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.invoices_to_print import small
from tests.fixtures.patience import PATIENCE_S

BILLS = "/bills/{customer}"
router = Router(prefix="/api/v1", route_class=ChangesBills)


@router.post(BILLS, dependencies=[Depends(needs("billing:write"))])
def change(request: Request, customer: str) -> dict[str, Any]:
    reply = submit_billing(
        request, "invoice.update", customer, {"id": f"i-{customer}", "sent": {"a": 1}}, added={"at": "z"}
    )
    found = bills(request).invoice("default", f"i-{customer}")
    return {"revision": reply.revision, "read": found and found.revision, "body": reply.body}


@router.put(BILLS, dependencies=[Depends(needs("billing:write"))])
async def change_in_turn(request: Request, customer: str) -> list[str]:
    await submit_billing_in_turn(request, "subscription.edit", customer, {"id": "s1", "sent": None})
    view = await bills_loaded(request)
    return [one.id for one in view.subscriptions_of("default", customer)]


def decide(work: BillingWork, offset: int) -> DecidedBill:
    assert work.command is not None
    if work.customer == "refused":
        raise Rejected("not-found", "There is no such invoice.")
    kind: Any = work.command.kind.partition(".")[0]
    id = str(work.command.body["id"])
    made = msgspec.json.encode(small()) if kind == "invoice" else b"{}"
    document = BillDocument("default", work.customer, id, offset, 0, msgspec.Raw(made))
    body: dict[str, object] = {f"{kind}s": [id], "customer": work.customer}
    return DecidedBill(body, [(kind, document)])


@pytest.fixture(scope="module")
def stage(served: Settings, decider: ControlStage) -> Iterator[BillingStage]:
    with BillingStage(served, decide) as running:
        yield running


@pytest.fixture(scope="module")
def api(served: Settings, stage: BillingStage) -> Iterator[TestClient]:
    app: FastAPI = create_app(served)
    app.include_router(router)
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        yield client


def test_a_change_can_be_read_when_its_answer_comes_and_goes_to_its_customer(
    api: TestClient, stage: BillingStage
) -> None:
    made = api.post("/customers", json={"key": "ann", "name": "Ann"})
    assert made.status_code == 201
    revision = api.app.state.services.definitions.revision  # type: ignore[attr-defined]
    for customer in ("ann", "bob", "cy"):
        answer = api.post(f"/bills/{customer}").json()
        assert answer["read"] == answer["revision"]
        assert answer["body"] == {"invoices": [f"i-{customer}"], "customer": customer}
        partition, work = stage.seen[-1]
        assert partition == customer_hash("default", customer) % 4
        assert (work.kind, work.customer, work.revision) == ("command", customer, revision)
        assert work.command is not None and work.command.request == ""
        assert work.command.body == {"customer": customer, "id": f"i-{customer}", "sent": {"a": 1}, "at": "z"}
    assert api.put("/bills/ann").json() == ["s1"]


def test_a_refusal_is_the_answer(api: TestClient) -> None:
    answer = api.post("/bills/refused")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such invoice.")


def test_the_idempotency_key_belongs_to_the_customer_and_names_the_request_of_the_client_alone(
    api: TestClient, stage: BillingStage
) -> None:
    commands = []
    for customer in ("ann", "ann", "bob"):
        assert api.post(f"/bills/{customer}", headers={"idempotency-key": "k"}).is_success
        commands.append(stage.seen[-1][1].command)
    one, two, other = commands
    assert one is not None and two is not None and other is not None and one.attempt != two.attempt
    assert one.id == two.id == idempotency.command_id("ann/k")
    assert other.id == idempotency.command_id("bob/k")
    asked = {"customer": "ann", "id": "i-ann", "sent": {"a": 1}}
    assert one.request == two.request == idempotency.request_of("invoice.update", asked)


def test_an_answer_waits_for_the_documents_of_its_reply(api: TestClient, stage: BillingStage) -> None:
    before, answers = len(stage.seen), list[Any]()
    asking = threading.Thread(target=lambda: answers.append(api.post("/bills/dan").json()))
    stage.holding.set()
    try:
        asking.start()
        deadline = time.monotonic() + PATIENCE_S
        while len(stage.seen) == before:  # the reply is there, and its document is not
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        stage.holding.clear()
    asking.join()
    assert answers[0]["read"] == answers[0]["revision"]


def test_a_document_that_does_not_come_is_named(api: TestClient) -> None:
    services: Services = api.app.state.services  # type: ignore[attr-defined]
    reply = Reply("a", 1 << 40, body={"invoices": ["i-ann"], "subscriptions": []})
    with pytest.raises(Unavailable, match="did not read the invoice i-ann back"):
        read_changed(services, "default", reply, 0.05)
    booked = Reply("a", 1, body={"ledger": ["t1"]})  # a balance is read from the ledger too
    with pytest.raises(Unavailable, match="did not read the transaction t1 back"):
        read_changed(services, "default", booked, 0.05)


def test_commands_that_wait_for_billing_use_no_turn_of_the_control_stage(
    api: TestClient, stage: BillingStage
) -> None:
    turns = api.app.state.services.bulkheads  # type: ignore[attr-defined]
    before, free = len(stage.seen), (turns.billing._free, turns.commands._free)
    asking = threading.Thread(target=api.post, args=("/bills/eve",))
    stage.holding.set()
    try:
        asking.start()
        deadline = time.monotonic() + PATIENCE_S
        while len(stage.seen) == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (turns.billing._free, turns.commands._free) == (free[0] - 1, free[1])
    finally:
        stage.holding.clear()
    asking.join()
