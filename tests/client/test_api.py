"""What each call asks, and what it makes of the answer; both clients alike."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from tallymark import Broken, Client, Conflict, Meter, NotFound, Refused, Unavailable, Usage

from tests.client.conftest import Ask
from tests.client.server import Server, Turn, problem

METER = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
    "eventFrom": "2026-01-01T00:00:00Z",
    "id": "7",
}


def test_a_query(ask: Ask, server: Server) -> None:
    rows = (
        b'{"data":[{"value":"123456789012345678901234567890.12","count":3,"windowStart":"2026-01-01T00:00:00Z",'
        b'"windowEnd":"2026-01-02T00:00:00.5Z","subject":"ann","customerId":null,"groupBy":{"model":null}},'
        b'{"value":0.10,"windowStart":null,"windowEnd":null,"groupBy":{}},{"value":7}]}'
    )
    server.then(Turn(200, rows))
    found = ask(
        "query",
        "tokens",
        from_=datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        to=date(2026, 2, 1),
        window="DAY",
        tz="Europe/Berlin",
        subject=["ann", "b&c"],
        customers="acme",
        group_by=["model"],
        filters={"model": ["x", "y"], "region": "eu"},
    )
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert found[0] == Usage(
        Decimal("123456789012345678901234567890.12"),
        at,
        at + timedelta(days=1, milliseconds=500),
        "ann",
        None,
        {"model": ""},
        3,
    )
    assert str(found[1].value) == "0.10" and found[1].window_start is None
    assert found[2] == Usage(Decimal(7), None, None)
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("GET", "/api/v1/meters/tokens/query")
    assert seen.params == [
        ("from", "2026-01-01T00:00:00Z"),
        ("to", "2026-02-01"),
        ("windowSize", "DAY"),
        ("windowTimeZone", "Europe/Berlin"),
        ("subject", "ann"),
        ("subject", "b&c"),
        ("filterCustomerId", "acme"),
        ("groupBy", "model"),
        ("filterGroupBy[model]", "x"),
        ("filterGroupBy[model]", "y"),
        ("filterGroupBy[region]", "eu"),
    ]


def test_a_long_query_goes_as_a_body(ask: Ask, server: Server) -> None:
    server.then(Turn(503), Turn(200, {"data": []}))
    subjects = [f"subject-{n:060}" for n in range(100)]
    assert ask("query", "tokens", subject=subjects, window="HOUR", filters={"model": "x"}) == []
    seen = server.seen[1]
    assert (seen.method, seen.params) == ("POST", [])
    assert json.loads(seen.body) == {
        "windowSize": "HOUR",
        "subject": subjects,
        "filterGroupBy": {"model": ["x"]},
    }


@pytest.mark.parametrize("named", [{"from_": datetime(2026, 1, 1)}, {"to": datetime(2026, 1, 1)}])
def test_a_time_without_zone_is_not_guessed(ask: Ask, server: Server, named: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no zone"):
        ask("query", "tokens", **named)
    with pytest.raises(ValueError, match="empty"):
        ask("query", "")
    assert server.seen == []


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", {"data": [{}]}, {"data": [{"value": "x"}]}, {"data": None}]
)
def test_an_answer_that_is_none(ask: Ask, server: Server, body: object) -> None:
    server.then(Turn(200, body))
    with pytest.raises(Broken, match="not a response of Tallymark"):
        ask("query", "tokens")


def test_errors_are_typed(ask: Ask, server: Server) -> None:
    with pytest.raises(NotFound, match="404 not-found: There is no /api/v1/meters/no"):
        ask("meters.get", "no")
    server.then(problem(400, "bad-query", "from must be before to"))
    with pytest.raises(Refused) as caught:
        ask("query", "tokens")
    assert (caught.value.reason, caught.value.problem["title"]) == ("bad-query", "No")


def test_meters(ask: Ask, server: Server) -> None:
    server.then(Turn(200, [METER]), Turn(200, METER), Turn(201, METER), Turn(200, METER), Turn(204))
    (listed,) = ask("meters.list")
    assert listed == ask("meters.get", "tokens")
    assert listed == Meter(
        "tokens",
        "prompt",
        "SUM",
        "$.tokens",
        {"model": "$.model"},
        event_from=datetime(2026, 1, 1, tzinfo=UTC),
        id="7",
    )
    assert listed.json == METER
    ask("meters.create", "tokens", "prompt", "SUM", "$.tokens", event_from=datetime(2026, 1, 1, tzinfo=UTC))
    ask("meters.update", "tokens", group_by={"model": "$.model"})
    assert ask("meters.delete", "tokens") is None
    *_, created, updated, deleted = server.seen
    assert json.loads(created.body) == {name: METER[name] for name in METER if name not in ("groupBy", "id")}
    assert (updated.method, json.loads(updated.body)) == ("PUT", {"groupBy": {"model": "$.model"}})
    assert (deleted.method, deleted.path) == ("DELETE", "/api/v1/meters/tokens")


def test_a_create_is_not_done_twice(ask: Ask, server: Server) -> None:
    server.then(Turn(cut=True))
    with pytest.raises(Unavailable, match="unknown whether it was applied"):
        ask("meters.create", "tokens", "prompt", "COUNT")
    server.then(problem(429, "slow-down", "Wait."), problem(409, "meter-conflict", "It exists."))
    with pytest.raises(Conflict):
        ask("meters.create", "tokens", "prompt", "COUNT")
    assert len(server.seen) == 3


def test_dimensions_and_subjects(ask: Ask, server: Server) -> None:
    server.then(Turn(200, ["ann"]), Turn(200, ["x", ""]))
    assert ask("meters.subjects", "tokens", from_=date(2026, 1, 1)) == ["ann"]
    assert ask("meters.values", "tokens", "model") == ["x", ""]
    assert server.seen[0].params == [("from", "2026-01-01")]
    assert server.seen[1].path == "/api/v1/meters/tokens/group-by/model/values"


def test_events(ask: Ask, server: Server) -> None:
    row = b'{"event":{"id":"a","data":{"x":0.10}},"fate":"counted","reason":"","meters":["tokens"],"stored_at":"s"}'
    server.then(Turn(200, b"[" + row + b"]"), Turn(200, row))
    (listed,) = ask("events.list", subject="ann", fate="counted", to="2026-01-01T00:00:00Z", limit=5)
    assert str(listed.event["data"]["x"]) == "0.10"
    assert (listed.fate, listed.meters, listed.json["stored_at"]) == ("counted", ("tokens",), "s")
    assert ask("events.get", "/app/x", "a b") == listed
    assert server.seen[0].params == [
        ("subject", "ann"),
        ("fate", "counted"),
        ("limit", "5"),
        ("to", "2026-01-01T00:00:00Z"),
    ]
    assert server.seen[1].path == "/api/v1/events/%2Fapp%2Fx/a%20b"


def test_listings_come_whole(ask: Ask, server: Server) -> None:
    items = [{"key": str(n)} for n in range(2_500)]
    pages = [{"items": items[at : at + 1_000], "totalCount": 2_500} for at in (0, 1_000, 2_000)]
    server.then(*(Turn(200, page) for page in pages))
    assert ask("customers.list", name="ac", includeDeleted=True) == items
    assert server.seen[2].params == [
        ("name", "ac"),
        ("includeDeleted", "true"),
        ("page", "3"),
        ("pageSize", "1000"),
    ]


@pytest.mark.parametrize("number", [0, 999, 1_000, 1_001])
def test_a_listing_without_pages_comes_once(ask: Ask, server: Server, number: int) -> None:
    items = [{"key": str(n)} for n in range(number)]
    server.then(Turn(200, items), Turn(200, items))
    assert ask("subjects.list") == items


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str, str, object]] = [
    ("customers.get", ("a/b",), {}, "GET", "/customers/a%2Fb", None),
    ("customers.upcoming", ("a/b",), {}, "GET", "/customers/a%2Fb/billing/upcoming", None),
    ("customers.credits", ("acme",), {}, "GET", "/customers/acme/credits/balance", None),
    (
        "customers.grant_credits",
        ("a/b", "Pack", "EUR", "100"),
        {"priority": 1},
        "POST",
        "/customers/a%2Fb/credits/grants",
        {"name": "Pack", "currency": "EUR", "amount": "100", "priority": 1},
    ),
    ("customers.void_credits", ("acme", "g"), {}, "POST", "/customers/acme/credits/grants/g/void", None),
    (
        "customers.create",
        ("acme", "ACME"),
        {"subjects": ["x"], "currency": "EUR"},
        "POST",
        "/customers",
        {"key": "acme", "name": "ACME", "usageAttribution": {"subjectKeys": ["x"]}, "currency": "EUR"},
    ),
    ("customers.update", ("acme", {"name": "B"}), {}, "PUT", "/customers/acme", {"name": "B"}),
    ("customers.delete", ("acme",), {}, "DELETE", "/customers/acme", None),
    ("features.get", ("calls",), {}, "GET", "/features/calls", None),
    (
        "features.create",
        ("calls", "Calls"),
        {"meter": "calls"},
        "POST",
        "/features",
        {"key": "calls", "name": "Calls", "meterSlug": "calls"},
    ),
    ("features.delete", ("calls",), {}, "DELETE", "/features/calls", None),
    ("subjects.get", ("ann",), {}, "GET", "/subjects/ann", None),
    (
        "subjects.upsert",
        ({"key": "ann"}, {"key": "bob"}),
        {},
        "POST",
        "/subjects",
        [{"key": "ann"}, {"key": "bob"}],
    ),
    ("subjects.delete", ("..",), {}, "DELETE", "/subjects/%2E%2E", None),
    (
        "portal_tokens.create",
        ("ann",),
        {"meters": ["tokens"]},
        "POST",
        "/portal/tokens",
        {"subject": "ann", "allowedMeterSlugs": ["tokens"]},
    ),
    (
        "portal_tokens.invalidate",
        (),
        {"subject": "ann"},
        "POST",
        "/portal/tokens/invalidate",
        {"subject": "ann"},
    ),
]


@pytest.mark.parametrize(("call", "given", "named", "method", "path", "body"), CALLS)
def test_thin_calls(
    ask: Ask,
    server: Server,
    call: str,
    given: tuple[Any, ...],
    named: dict[str, Any],
    method: str,
    path: str,
    body: object,
) -> None:
    empty = method == "DELETE" or call.endswith("invalidate")
    server.then(Turn(204) if empty else Turn(200, {"id": "1"}))
    assert ask(call, *given, **named) == (None if empty else {"id": "1"})
    (seen,) = server.seen
    assert (seen.method, seen.path) == (
        method,
        ("/api/v3/openmeter" if "credits" in call else "/api/v1") + path,
    )
    assert (json.loads(seen.body) if seen.body else None) == body


def test_no_key_and_no_url() -> None:
    for url in ("localhost:8888", "", "ftp://x"):
        with pytest.raises(ValueError, match="URL"):
            Client(url)


def test_the_key_is_not_shown(server: Server) -> None:
    with Client(server.url + "/", "um_secret") as client:
        assert "um_secret" not in repr(client) + repr(vars(client)["_wire"])


def test_an_http_client_of_ones_own(server: Server) -> None:
    import httpx

    server.then(Turn(200, []))
    with httpx.Client(headers={"x-proxy": "yes"}) as http:
        with Client(server.url, "um_key", http=http) as client:
            client.meters.list()
        assert not http.is_closed
    assert server.seen[0].headers["x-proxy"] == "yes"
    assert server.seen[0].headers["authorization"] == "Bearer um_key"
