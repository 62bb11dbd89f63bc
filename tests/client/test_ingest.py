"""Ingest over real HTTP, with a server that misbehaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tallymark import BadEvent, Broken, Event, Refused, Unauthorized, Unavailable

from tests.client.conftest import Ask, event
from tests.client.server import Server, Turn, problem
from tests.fixtures.patience import slowed

pytestmark = pytest.mark.services  # it takes seconds

AWAY = problem(503, "unavailable", "The broker is down.")


def test_one_event(ask: Ask, server: Server) -> None:
    found = ask("ingest", event("a1", data={"cost": Decimal("0.10")}))
    assert found.accepted == 1 and found.warnings == ()
    (seen,) = server.seen
    assert b'"data":{"cost":0.10}' in seen.body
    assert seen.headers["authorization"] == "Bearer um_test"
    assert seen.headers["content-type"] == "application/cloudevents-batch+json"
    assert server.stored["/app", "a1"]["time"].endswith("Z")


@pytest.mark.parametrize(
    "given", [event("a"), Event(id="a", source="/app", type="t", subject="s"), [event("a")]]
)
def test_one_or_several(ask: Ask, server: Server, given: Any) -> None:
    assert ask("ingest", given).accepted == 1
    assert list(server.stored) == [("/app", "a")]


def test_several_of_any_kind_from_an_iterator(ask: Ask, server: Server) -> None:
    def several() -> Iterator[Any]:
        yield event("a")
        yield Event(id="b", source="/app", type="t", subject="s")

    assert ask("ingest", several()).accepted == 2
    assert ask("ingest", []).accepted == 0
    assert len(server.seen) == 1


def test_large_calls_go_in_batches(ask: Ask, server: Server) -> None:
    events = [event(str(n)) for n in range(2_001)]
    assert ask("ingest", events).accepted == 2_001
    assert [len(seen.events) for seen in server.seen] == [1_000, 1_000, 1]
    large = [event(f"large-{n}", data={"x": "y" * 400_000}) for n in range(3)]
    assert ask("ingest", large).accepted == 3
    assert [len(seen.events) for seen in server.seen[3:]] == [2, 1]
    assert all(len(seen.body) <= 1_048_576 for seen in server.seen)


@pytest.mark.parametrize(
    "fault", [AWAY, problem(429, "slow-down", "Wait."), Turn(502), Turn(504), Turn(cut=True)]
)
def test_a_retry_keeps_ids_and_times(ask: Ask, server: Server, fault: Turn) -> None:
    server.then(fault, fault)
    assert ask("ingest", [event(), event()]).accepted == 2
    bodies = [seen.body for seen in server.seen]
    assert len(bodies) == 3 and len(set(bodies)) == 1
    assert len(server.stored) == 2 and server.repeats == 0


@pytest.mark.parametrize("lost", [Turn(take=True, cut=True), Turn(504, take=True), Turn(503, take=True)])
def test_a_batch_that_was_taken_while_the_answer_got_lost_counts_once(
    ask: Ask, server: Server, lost: Turn
) -> None:
    server.then(lost)
    assert ask("ingest", [event() for _ in range(5)]).accepted == 5
    assert (len(server.stored), server.repeats, server.conflicts) == (5, 5, 0)


@pytest.mark.services  # it measures the time, 1 s; test_retry has the rules
def test_retry_after_is_honoured(ask: Ask, server: Server) -> None:
    server.then(problem(429, "rate-limit", "Too fast.", **{"retry-after": "1"}))
    begun_s = time.monotonic()
    ask("ingest", event())
    assert 1.0 <= time.monotonic() - begun_s < slowed(5.0)


def test_too_large_for_the_server_goes_in_halves(ask: Ask, server: Server) -> None:
    server.then(problem(413, "too-large", "At most 500."))
    events = [event(str(n)) for n in range(1_000)]
    assert ask("ingest", events).accepted == 1_000
    assert [len(seen.events) for seen in server.seen] == [1_000, 500, 500]
    assert [id for _, id in server.stored] == [str(n) for n in range(1_000)]


def test_one_that_is_too_large_is_refused(ask: Ask, server: Server) -> None:
    server.then(problem(413, "too-large", "At most 10 bytes."))
    with pytest.raises(Refused, match="413 too-large: At most 10 bytes") as caught:
        ask("ingest", event("a"))
    assert [one.members()["id"] for one in caught.value.unaccepted] == ["a"]


def test_a_refused_batch_says_what_is_left(ask: Ask, server: Server) -> None:
    server.poison.add("1500")
    with pytest.raises(Refused) as caught:
        ask("ingest", [event(str(n)) for n in range(2_500)])
    error = caught.value
    assert (error.status, error.reason, error.detail, error.accepted) == (
        400,
        "bad-data",
        "An event is bad.",
        1_000,
    )
    assert [one.members()["id"] for one in error.unaccepted] == [str(n) for n in range(1_000, 2_500)]
    assert len(server.stored) == 1_000


def test_what_is_left_can_be_ingested_again(ask: Ask, server: Server) -> None:
    server.then(Turn(take=True, cut=True))
    server.down = False
    with pytest.raises(Unavailable) as caught:
        server.then(*[Turn(503)] * 20)
        ask("ingest", [event(data={"x": 1e16, "y": Decimal("1.0")}) for _ in range(3)], deadline_s=0.5)
    server.turns.clear()
    assert ask("ingest", caught.value.unaccepted).accepted == 3
    assert (len(server.stored), server.repeats, server.conflicts) == (3, 3, 0)


def test_the_deadline_is_kept(ask: Ask, server: Server) -> None:
    server.down = True
    begun_s = time.monotonic()
    with pytest.raises(Unavailable, match="503: The broker is down"):
        ask("ingest", event(), deadline_s=0.5)
    assert time.monotonic() - begun_s < slowed(2.0)
    assert len(server.seen) > 1


def test_silence_is_no_answer(ask: Ask, server: Server) -> None:
    server.gate.clear()
    with pytest.raises(Unavailable, match="ReadTimeout"):
        ask("ingest", event(), deadline_s=0.3)


def test_a_closed_port(ask: Ask, server: Server) -> None:
    server.__exit__()
    with pytest.raises(Unavailable, match="ConnectError"):
        ask("ingest", event(), deadline_s=0.3)


def test_a_wrong_key_is_not_tried_again(ask: Ask, server: Server) -> None:
    server.then(problem(401, "unauthorized", "No such key."))
    with pytest.raises(Unauthorized, match="No such key"):
        ask("ingest", event())
    assert len(server.seen) == 1


def test_nothing_is_sent_if_one_is_bad(ask: Ask, server: Server) -> None:
    with pytest.raises(BadEvent, match="subject"):
        ask("ingest", [*(event() for _ in range(1_500)), event(subject="")])
    assert server.seen == []


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"[]", b'{"accepted": 0}', b"{}"])
def test_another_good_answer_is_no_acknowledgement(ask: Ask, server: Server, body: bytes) -> None:
    server.then(Turn(200, body))
    with pytest.raises(Broken, match="no acknowledgement") as caught:
        ask("ingest", event("a"))
    assert len(caught.value.unaccepted) == 1


def test_warnings_are_reachable(ask: Ask, server: Server) -> None:
    server.warnings = [{"code": "no-meter", "detail": "No meter wants prompt.", "events": 2, "first": 3}]
    found = ask("ingest", [event(str(n)) for n in range(1_004)])
    assert [(one.code, one.events, one.first) for one in found.warnings] == [
        ("no-meter", 2, 3),
        ("no-meter", 2, 1_003),
    ]
    assert found.warnings[0].json == server.warnings[0]


def test_warnings_of_the_header(ask: Ask, server: Server) -> None:
    warnings_text = '[{"code": "future", "detail": "Tomorrow.", "events": 1}]'
    server.then(Turn(204, headers={"Tallymark-Warnings": warnings_text}, take=True))
    (warning,) = ask("ingest", event()).warnings
    assert (warning.code, warning.detail, warning.events, warning.first) == ("future", "Tomorrow.", 1, None)
