"""Drift over HTTP: ten planted differences are named, what cannot be read is shown; reports that Stripe sends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import stripe as stripe_package
from confluent_kafka import Consumer, TopicPartition
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.timestamp import ms_of
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.meter_events import ErrorReport
from pipeline.records import BillingWork, StripeWork
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.kafka import client as cluster
from tests.api.billing.stripe_world import APP, HOUR_S, SECRET, StripeWorld
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import PATIENCE_S
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox, account

BIG = 999_999_999_999_999  # the most of one event


@pytest.fixture(scope="module")
def stripe() -> Iterator[ServedSandbox]:
    with ServedSandbox(StripeSandbox(account(), SandboxClock())) as served:
        yield served


@pytest.fixture(scope="module")
def world(
    served: Settings, store: ClickHouse, decider: ControlStage, stripe: ServedSandbox
) -> Iterator[StripeWorld]:
    settings = served.model_copy(update={"stripe_address": stripe.url, "stripe_timeout_s": 10.0})
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as api:
        world = StripeWorld(settings, store, api, stripe)
        world.prepare()
        plant(world)
        yield world


def plant(world: StripeWorld) -> None:
    """One difference an hour, and an hour without one."""
    now_ms = time.time_ns() // 1_000_000
    world.use("acme", 2, 5), world.state("acme", 2, 5), world.at_stripe("acme", 2, 5)  # equal
    world.use("acme", 3, 5), world.state("acme", 3, 5, confirmed=0, pending=5)  # pending
    (
        world.use("acme", 4, 5),
        world.state("acme", 4, 5, confirmed=0, unsendable=5, cause="refused", message="No."),
    )
    (
        world.use("acme", 5, 5),
        world.state("acme", 5, 5, confirmed=0, unsendable=5, cause="too_old", message="Old."),
    )
    world.use("acme", 6, 5), world.state("acme", 6, 5, at_ms=now_ms)  # not yet visible
    world.use("acme", 7, 10 * BIG + 1), world.state("acme", 7, 10 * BIG + 1, requests=11)  # precision
    world.at_stripe("acme", 7, *[BIG] * 10)
    world.use("acme", 8, 5), world.state("acme", 8, 5), world.at_stripe("acme", 8, 5, 7)  # another sender
    world.use("acme", 9, 5), world.state("acme", 9, 5), world.at_stripe("acme", 9, 5, 5)  # sent twice
    (
        world.use("acme", 10, 9),
        world.state("acme", 10, 9, confirmed=5, unsendable=4, cause="blocked", message="8?"),
    )
    world.at_stripe("acme", 10, 5)
    world.use("globex", 3, 1_700, "calls"), world.at_stripe("globex", 3, 1, meter="calls")  # the remainder
    world.state("globex", 3, 1, "calls", exact="1700")
    world.use("hooli", 3, 5), world.state("hooli", 3, 5, confirmed=0)  # no id at Stripe


def test_each_of_ten_planted_differences_is_named(world: StripeWorld) -> None:
    found = world.drift()
    named = {
        (item["customerKey"], item["meter"], hours_ago(world, item)): [
            (part["cause"], part["difference"]) for part in item["causes"]
        ]
        for item in found["items"]
    }
    assert named == {
        ("acme", "tokens", 3): [("pending", "-5")],
        ("acme", "tokens", 4): [("refused", "-5")],
        ("acme", "tokens", 5): [("too_old", "-5")],
        ("acme", "tokens", 6): [("not_yet_visible", "-5")],
        ("acme", "tokens", 7): [("precision", "-1")],
        ("acme", "tokens", 8): [("foreign", "7")],
        ("acme", "tokens", 9): [("repeated", "5")],
        ("acme", "tokens", 10): [("blocked", "-4")],
        ("globex", "calls", 3): [("remainder", "-0.7")],
        ("hooli", "tokens", 3): [("unknown_customer", "-5")],
    }
    assert found["ok"] and not found["unread"] and found["totalCount"] == 3
    assert found["causes"] == dict.fromkeys(
        sorted(cause for parts in named.values() for cause, _ in parts), 1
    )
    (remainder,) = [item for item in found["items"] if item["meter"] == "calls"]
    assert (remainder["counted"], remainder["exact"], remainder["wanted"], remainder["stripe"]) == (
        "1700", "1700", "1", "1",
    )  # fmt: skip


def hours_ago(world: StripeWorld, item: dict[str, Any]) -> int:
    return (world.hour - ms_of(item["start"]) // 1_000) // HOUR_S


def test_usage_that_was_lost_is_unexplained(world: StripeWorld) -> None:
    world.use("globex", 5, 4)
    found = world.drift(customer="globex", meter="tokens")
    assert not found["ok"] and found["causes"] == {"unexplained": 1}
    world.state("globex", 5, 4), world.at_stripe("globex", 5, 4)
    assert world.drift(customer="globex", meter="tokens")["items"] == []


def test_customer_meter_and_time_choose_what_is_compared(world: StripeWorld) -> None:
    def instant(hours: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(world.hour - hours * HOUR_S))

    found = world.drift(customer="acme", meter="tokens", **{"from": instant(4), "to": instant(2)})
    assert (found["windows"], sorted(found["causes"])) == (2, ["pending", "refused"])
    assert world.drift(meter="calls")["causes"] == {"remainder": 1}
    pages = [world.drift(page=page, pageSize=1) for page in (1, 2, 3, 4)]
    assert [len({item["customerKey"] for item in page["items"]}) for page in pages] == [1, 1, 1, 0]
    assert {page["totalCount"] for page in pages} == {3}


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"customer": "none"}, 404),
        ({"meter": "none"}, 404),
        ({"from": "yesterday"}, 400),
        ({"from": "2026-02-01", "to": "2026-01-01"}, 400),
        ({"from": "2026-01-01", "to": "2026-03-01"}, 400),
        ({"to": "1960-01-01"}, 400),
        ({"pageSize": 101}, 400),
        ({"window": "DAY"}, 400),
    ],
)
def test_other_questions_are_refused(world: StripeWorld, params: dict[str, Any], status: int) -> None:
    assert world.api.get("/billing/stripe/drift", params=params).status_code == status


def test_what_stripe_does_not_answer_is_shown_with_its_own_message(world: StripeWorld) -> None:
    httpx.post(f"{world.stripe.url}/sandbox/faults", json={"rules": [{"kinds": ["unavailable"]}]})
    try:
        found = world.drift(customer="acme")
    finally:
        httpx.post(f"{world.stripe.url}/sandbox/faults", json={"rules": []})
    assert not found["ok"] and found["items"] == []
    assert ["upstream connect error" in one["detail"] for one in found["unread"]] == [True, True]


def test_a_refused_key_and_a_live_key_at_a_sandbox_are_shown(world: StripeWorld) -> None:
    try:
        for key, sentence in (("sk_test_wrong", "Invalid API Key"), ("sk_live_1", "A live key is not used")):
            world.app(sealed_api_key=key)
            found = world.drift(customer="acme", meter="tokens")
            assert not found["ok"] and sentence in found["unread"][0]["detail"]
        assert world.drift(customer="hooli")["causes"] == {
            "unknown_customer": 1
        }  # nothing has to be read for it
    finally:
        world.app()


def test_status_shows_each_app(world: StripeWorld) -> None:
    found = world.api.get("/billing/stripe/status").json()
    (app,) = found["apps"]
    assert (app["status"], app["maskedAPIKey"], app["mappings"]) == ("ready", "sk_test_***box", 2)
    assert app["pendingUnits"] == "5"
    assert app["unsendableUnits"] == {"blocked": "4", "refused": "5", "too_old": "5"}
    assert app["messages"] == ["8?", "No.", "Old."]
    assert app["waitingWindows"] == 5 and app["oldestWaiting"].endswith(":00:00.000Z")
    world.app(status="unauthorized", status_reason="Expired API Key.")
    found = world.api.get("/billing/stripe/status").json()
    world.app()
    assert (found["apps"][0]["status"], found["apps"][0]["detail"]) == ("unauthorized", "Expired API Key.")


HOOK = f"/apps/{APP}/stripe/webhook"


def event(world: StripeWorld, id: str = "", type: str = "v1.billing.meter.error_report_triggered") -> bytes:
    """A thin event, whose content the sandbox has."""
    (meter,) = [one.id for one in world.stripe.sandbox.account.meters.values() if one.event_name == "tokens"]
    report = ErrorReport(meter)
    report.add("meter_event_customer_not_found", "tm1:a")
    made = world.stripe.sandbox.webhooks.report(report, int(time.time()))
    return msgspec.json.encode(made | {"id": id or made["id"], "type": type})


def signature(body: bytes, secret: str = SECRET, at_s: int | None = None) -> str:
    return stripe_package.WebhookSignature.generate_signature_header(body.decode(), secret, at_s)


def post(world: StripeWorld, body: bytes, header: str | None = None, path: str = HOOK) -> httpx.Response:
    signed = signature(body) if header is None else header
    return world.api.post(path, content=body, headers={"stripe-signature": signed})


def raw(world: StripeWorld, topic: str) -> list[list[bytes]]:
    """The values on a topic, by partition."""
    settings = world.settings
    consumer = Consumer(cluster.client_config(settings) | {"group.id": "test", "enable.auto.commit": False})
    places = consumer.list_topics(topic).topics[topic].partitions
    found: list[list[bytes]] = []
    for place in sorted(places):
        ends = consumer.get_watermark_offsets(TopicPartition(topic, place))
        consumer.assign([TopicPartition(topic, place, 0)])
        found.append([])
        for _ in range(ends[1]):
            message = consumer.poll(10)
            assert message is not None
            found[-1].append(message.value() or b"")
    consumer.close()
    return found


def work(world: StripeWorld) -> list[list[StripeWork]]:
    """What is on `stripe-work`, by partition."""
    read = msgspec.json.Decoder(StripeWork).decode
    return [[read(one) for one in each] for each in raw(world, "stripe-work")]


def reported(world: StripeWorld) -> list[str]:
    """Identifiers on `stripe-work`, the same in each partition."""
    found = [[one.identifier for one in each if one.kind == "reported"] for each in work(world)]
    assert all(each == found[0] for each in found)
    return found[0]


def test_a_retry_shows_what_is_tried_and_is_in_the_audit_log_and_where_the_customer_is(
    world: StripeWorld,
) -> None:
    id = world.customers["acme"]
    app, (tokens, calls) = world.connect("tokens", "calls")
    refused = {"confirmed": 0, "unsendable": 5, "cause": "refused", "message": "No."}
    world.state("acme", 4, 5, app=app, mapping=tokens, **refused)
    world.state("acme", 10, 9, app=app, mapping=tokens, **refused | {"unsendable": 4, "cause": "blocked"})
    answer = world.api.post("/billing/stripe/retry", json={"customer": "acme", "meter": "tokens"})
    assert (answer.status_code, answer.json()) == (202, {
        "customerId": id, "accept": None, "items": [{
            "appId": app, "mappingId": tokens, "meter": "tokens", "refusedWindows": 1, "refusedUnits": "5",
            "blockedWindows": 1, "blockedUnits": "4",
        }],
    })  # fmt: skip
    answer = world.api.post("/billing/stripe/retry", json={"customer": id, "accept": "stripe"})
    assert {one["meter"] for one in answer.json()["items"]} == {"tokens", "calls"}
    places = work(world)
    found = [one for one in places[customer_hash("default", id) % len(places)] if one.kind == "retry"]
    assert [(one.mapping, one.accept) for one in found[:1]] == [(tokens, "")]
    assert sorted((one.mapping, one.accept) for one in found[1:]) == [(tokens, "stripe"), (calls, "stripe")]
    assert all((one.namespace, one.customer) == ("default", id) for one in found)
    logged = world.api.get("/audit", params={"kind": "stripe.retry"}).json()["items"]
    assert [(one["kind"], one["error"]) for one in logged[:2]] == [("stripe.retry", None)] * 2
    world.command("app.uninstall", id=app)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"customer": "none"}, 404),
        ({"customer": "acme", "meter": "none"}, 404),
        ({"customer": "acme", "accept": "ours"}, 400),
        ({"customer": "acme", "window": "x"}, 400),
        ({"meter": "tokens"}, 400),
        ([], 400),
    ],
)
def test_other_requests_to_retry_are_refused(world: StripeWorld, body: object, status: int) -> None:
    assert world.api.post("/billing/stripe/retry", json=body).status_code == status


def test_a_customer_is_compared_with_all_ids_that_it_had(world: StripeWorld) -> None:
    world.use("globex", 6, 9), world.state("globex", 6, 9, requests=2)
    world.at_stripe("globex", 6, 4)  # before it got another id
    world.rename("globex")
    world.at_stripe("globex", 6, 5)
    span = {"customer": "globex", "meter": "tokens", "from": world.at(6), "to": world.at(5)}
    assert world.drift(**span)["items"] == []


def test_a_report_ends_in_the_drift_table_once_however_often_it_comes(world: StripeWorld) -> None:
    world.use("globex", 2, 5), world.state("globex", 2, 5, at_ms=time.time_ns() // 1_000_000)
    world.at_stripe("globex", 2, 2)
    params = {"customer": "globex", "meter": "tokens"}
    assert world.drift(**params)["causes"] == {"not_yet_visible": 1}
    first, second = event(world), event(world)
    before = world.api.get("/billing/stripe/status").json()["reports"]
    for body in (second, first, second):  # out of order, and one twice
        answer = post(world, body)
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert "tm1:a" in reported(world)
    deadline = time.monotonic() + PATIENCE_S
    while (found := world.drift(**params))["causes"] != {"unknown_customer": 1}:
        assert time.monotonic() < deadline, found
    assert "meter_event_customer_not_found" in found["items"][0]["causes"][0]["detail"]
    assert world.api.get("/billing/stripe/status").json()["reports"] == before + 2


def test_other_events_are_taken_and_not_kept(world: StripeWorld) -> None:
    answer = post(world, event(world, type="v1.billing.meter.created"))
    assert (answer.status_code, answer.json()) == (200, {"received": False})


def of_invoice(app: str = APP, customer: str = "01CUSTOMER") -> bytes:
    """A snapshot event about an invoice."""
    metadata = {"tm_invoice_id": "01INVOICE", "tm_app_id": app, "tm_customer_id": customer}
    shown = {"id": "in_1", "status": "paid", "total": 500, "number": "INV-1", "metadata": metadata}
    body = {"id": "evt_1", "type": "invoice.paid", "created": 1_800_000_000, "data": {"object": shown}}
    return msgspec.json.encode(body)


def test_an_event_of_an_invoice_that_we_made_reaches_billing_by_its_customer(world: StripeWorld) -> None:
    assert post(world, of_invoice()).json() == {"received": True}
    places = raw(world, "billing-work")
    there = places[customer_hash("default", "01CUSTOMER") % len(places)]
    records = [msgspec.json.decode(one, type=BillingWork) for one in there if b'"stripe"' in one]
    (found,) = [msgspec.to_builtins(one.stripe) for one in records]
    assert (found["app"], found["at_s"], found["type"]) == (APP, 1_800_000_000, "invoice.paid")
    assert found["found"] == {"id": "in_1", "status": "paid", "total": 500, "number": "INV-1"}
    for body in (of_invoice("01OTHER"), of_invoice(customer="")):
        assert post(world, body).json() == {"received": False}
    assert post(world, of_invoice(), signature(of_invoice(), "whsec_other")).status_code == 400


@pytest.mark.parametrize("header", ["", "t=1,v1=00", "now"])
def test_a_wrong_signature_is_refused(world: StripeWorld, header: str) -> None:
    answer = post(world, event(world), header)
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad-signature")


def test_the_signature_is_of_the_bytes_that_were_sent_within_five_minutes(world: StripeWorld) -> None:
    body = event(world)
    spaced = body.replace(b":", b": ")
    assert post(world, spaced).status_code == 200  # read as JSON it is the same
    assert post(world, spaced, signature(body)).status_code == 400
    assert post(world, body, signature(body, at_s=int(time.time()) - 301)).status_code == 400
    assert post(world, body, signature(body, "whsec_other")).status_code == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"id":1}', b'{"id":"e","id":"f"}', b"\xff"])
def test_a_body_that_is_no_event_is_refused(world: StripeWorld, body: bytes) -> None:
    header = signature(body) if body.isascii() else "t=1,v1=00"
    assert post(world, body, header).status_code == 400


def test_an_unknown_app_is_not_found_and_a_body_that_is_too_large_is_refused(world: StripeWorld) -> None:
    body = event(world)
    assert post(world, body, path="/apps/none/stripe/webhook").status_code == 404
    large = b" " * (1 << 20) + body
    assert post(world, large).status_code == 413
    world.app(deleted_at="2026-01-02T00:00:00.000Z")
    assert post(world, body).status_code == 404
    world.app()


def test_stripe_has_to_deliver_again_while_the_content_cannot_be_read(world: StripeWorld) -> None:
    body = event(world)
    httpx.post(
        f"{world.stripe.url}/sandbox/faults", json={"rules": [{"kinds": ["unavailable"], "path": "/v2"}]}
    )
    answer = post(world, body)
    httpx.post(f"{world.stripe.url}/sandbox/faults", json={"rules": []})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert post(world, body).status_code == 200
