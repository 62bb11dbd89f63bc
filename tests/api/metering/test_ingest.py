"""`POST /events` against a real broker: what is answered, and that it is answered after the broker has the events."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.api.http.body import MAX_BODY_BYTES
from pipeline.core.metering.http_batch import NAMESPACE_HEADER, TOPIC, split
from pipeline.local import process
from pipeline.settings import Settings
from pipeline.stores.kafka.event_writer import DELIVERY_S
from tests.fixtures.patience import slowed
from tests.flow.accepted_events import read
from tests.foreign.sdks.replay import COUNTED, expected, recorded

ONE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
OF_THE_TRANSPORT = {b"content-length", b"transfer-encoding"}


def line(id: str, **members: object) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": "/s", "type": "t", "subject": "who", **members}


@pytest.fixture(scope="module")
def here(served: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(served), base_url="http://testserver/api/v1") as client:
        yield client


def post(client: TestClient, body: object, kind: str = "application/json", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post("/events", content=content, headers={"content-type": kind, **headers})


def appended(settings: Settings) -> list[list[dict[str, Any]]]:
    """The requests' events on the topic, as they stand there."""
    found = read(settings.kafka, TOPIC)
    for one in found:
        assert one.headers() == [(NAMESPACE_HEADER, b"default")]
    return [[json.loads(item) for item in split(one.value() or b"")] for one in found]


@pytest.mark.parametrize(
    ("body", "kind", "headers"),
    [
        (line("a1"), ONE, {}),
        (line("a2"), "application/json; charset=utf-8", {}),
        ([line("a3"), line("a4")], BATCH, {}),
        ([line("a5")], "application/json", {}),
        (gzip.compress(json.dumps([line("a6")]).encode(), mtime=0), BATCH, {"content-encoding": "gzip"}),
    ],
)
def test_what_is_answered_204_is_in_the_log(
    here: TestClient, served: Settings, body: object, kind: str, headers: dict[str, str]
) -> None:
    before = appended(served)
    answer = post(here, body, kind, **headers)
    assert (answer.status_code, answer.content) == (204, b"")
    after = appended(served)
    sent = body if not isinstance(body, bytes) else json.loads(gzip.decompress(body))
    assert [one for one in after if one not in before] == [sent if isinstance(sent, list) else [sent]]


def test_binary_mode(here: TestClient, served: Settings) -> None:
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": "b1",
        "ce-source": "/s",
        "ce-type": "t",
        "ce-subject": "%C3%A9",
    }
    assert post(here, {"n": 1}, **attributes).status_code == 204
    (found,) = [events for events in appended(served) if events[0]["id"] == "b1"]
    assert found == [line("b1", subject="é", datacontenttype="application/json", data={"n": 1})]


def test_a_parameter_is_refused_since_none_has_an_effect(here: TestClient) -> None:
    answer = here.post("/events?namespace=other", json=line("p1"))
    assert (answer.status_code, answer.json()["detail"]) == (400, "there is no parameter 'namespace'")


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason", "extensions"),
    [
        (line("x"), "text/plain", 400, "invalid-content-type", {"contentType": "text/plain"}),
        (b"", "application/json", 400, "no-events", None),
        (b"[]", "application/json", 400, "no-events", None),
        (b"{", ONE, 400, "bad-json", {"event": 0}),
        ([line("x"), line("y", data="text")], BATCH, 400, "bad-data", {"event": 1}),
        ([line(str(number)) for number in range(1001)], BATCH, 413, "too-many-events", None),
        (b" " * (MAX_BODY_BYTES + 1), ONE, 413, "body-too-large", None),
        (b"[" * 1000, BATCH, 400, "too-deep", None),
    ],
)
def test_a_refused_request_brings_nothing(
    here: TestClient, served: Settings, body: object, kind: str, status: int, reason: str, extensions: object
) -> None:
    before = appended(served)
    answer = post(here, body, kind)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["reason"]) == (status, status, reason)
    assert problem.get("extensions") == extensions
    assert appended(served) == before


@pytest.mark.parametrize(
    ("content", "encoding", "status", "reason"),
    [
        (lambda: gzip.compress(b" " * (MAX_BODY_BYTES + 1), mtime=0), "gzip", 413, "body-too-large"),
        (lambda: gzip.compress(b"0" * (200 << 20), mtime=0), "gzip", 413, "body-too-large"),
        (lambda: b"no gzip", "gzip", 400, "bad-content"),
        (lambda: gzip.compress(b"[]", mtime=0)[:-4], "gzip", 400, "bad-content"),
        (lambda: gzip.compress(b"", mtime=0) * 10_000, "gzip", 400, "bad-content"),
        (lambda: b"[]", "br", 415, "unsupported-encoding"),
    ],
    ids=["large", "bomb", "no gzip", "cut", "many members", "brotli"],
)
def test_packed_bodies(
    here: TestClient, content: Callable[[], bytes], encoding: str, status: int, reason: str
) -> None:
    body = content()
    began_s = time.monotonic()
    answer = post(here, body, BATCH, **{"content-encoding": encoding})
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert time.monotonic() - began_s < slowed(2)


def test_a_body_without_declared_length_has_the_same_limit(here: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    answer = here.post("/events", content=endless(), headers={"content-type": ONE})
    assert (answer.status_code, answer.json()["reason"]) == (413, "body-too-large")


def test_the_limit_holds_for_every_route(here: TestClient) -> None:
    answer = here.post("/meters", content=b" " * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["reason"]) == (413, "body-too-large")


def test_warnings_stand_in_a_header_or_in_the_body(here: TestClient) -> None:
    events = [line("w1", type="unmetered/\u00e9"), line("w2", time="2001-01-01T00:00:00Z")]
    answer = post(here, events, BATCH)
    assert answer.status_code == 204
    warnings = json.loads(answer.headers["tallymark-warnings"])
    assert [(one["code"], one["events"]) for one in warnings][-1] == ("beyond-horizon", 1)
    assert "no meter found for event type: unmetered/\u00e9" in [one["detail"] for one in warnings]
    full = post(here, [line("w3")], BATCH, prefer="return=representation")
    assert (full.status_code, full.json()["accepted"]) == (200, 1)
    assert full.json()["warnings"] == [
        {"code": "no-meter", "detail": "no meter found for event type: t", "events": 1, "first": 0}
    ]


def test_a_request_says_nothing_of_its_namespace(here: TestClient, served: Settings) -> None:
    """Whatever header, path or body claims: `appended` sees that the record says default."""
    claims = {"tallymark_namespace": "other", "x-namespace": "other"}
    assert post(here, [line("n1", namespace="other")], BATCH, **claims).status_code == 204
    assert [line("n1", namespace="other")] in appended(served)


def test_a_broker_that_is_unavailable_is_reported_in_time(served: Settings) -> None:
    without_kafka = served.model_copy(update={"kafka": f"127.0.0.1:{process.free_port()}"})
    with TestClient(create_app(without_kafka), base_url="http://testserver/api/v1") as client:
        began_s = time.monotonic()
        answer = post(client, line("gone"), ONE)
        assert time.monotonic() - began_s < DELIVERY_S + slowed(3)
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_a_key_has_its_rate_of_events(served: Settings) -> None:
    limited = served.model_copy(update={"redis": "", "rate_limit_events_s": 1})
    with TestClient(create_app(limited), base_url="http://testserver/api/v1") as client:
        answers = [post(client, [line(f"r{n}") for n in range(size)], BATCH) for size in (600, 400, 900)]
    assert [answer.status_code for answer in answers] == [204, 204, 429]
    assert answers[-1].json()["reason"] == "rate-limited"
    assert 800 < int(answers[-1].headers["retry-after"]) <= 900


def test_a_key_has_its_rate_of_requests(served: Settings) -> None:
    limited = served.model_copy(update={"redis": "", "rate_limit_requests_s": 1})
    with TestClient(create_app(limited), base_url="http://testserver/api/v1") as client:
        began_s = time.monotonic()
        statuses = [post(client, b"{", ONE).status_code for _ in range(30)]
        seconds = time.monotonic() - began_s
    assert set(statuses) <= {400, 429}
    assert 1 <= statuses.count(400) <= 2 + seconds


def test_the_route_is_in_the_document(here: TestClient) -> None:
    operation = here.get("http://testserver/openapi.json").json()["paths"]["/api/v1/events"]["post"]
    assert {ONE, BATCH, "application/json"} == set(operation["requestBody"]["content"])


def test_what_the_sdks_send(here: TestClient, served: Settings) -> None:
    """204 for what is counted and 400 with the reason for all else; what was answered 204 is in the log."""
    # TestClient writes headers in UTF-8, so the bytes of Latin-1 in the case `latin` would not arrive.
    sent = [one for one in recorded() if one.binding == "http" and one.case != "latin"]
    before = len(appended(served))
    found: dict[str, str] = {}
    for one in sent:
        headers = [(name, value) for name, value in one.http_headers if name not in OF_THE_TRANSPORT]
        answer = here.post("/events", content=one.value, headers=headers)
        assert answer.status_code in (204, 400)
        found[f"{one.sdk}, {one.case}, {one.way}"] = COUNTED if answer.is_success else answer.json()["reason"]
    assert found == {f"{one.sdk}, {one.case}, {one.way}": expected(one) for one in sent}
    assert len(appended(served)) - before == sum(expected(one) == COUNTED for one in sent)
