"""Meters, events, usage and backfills."""

from __future__ import annotations

import time

from tests.api.recording.world import World

METERS, EVENTS = "/api/v1/meters", "/api/v1/events"
FOLLOWED_TRIES, FOLLOWED_POLL_S = 4_800, 0.05
TOKENS = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
    "name": "Tokens",
    "description": "Tokens of prompts and answers.",
    "metadata": {"team": "ai"},
}
CALLS = {"slug": "calls", "eventType": "prompt", "aggregation": "COUNT"}
USERS = {"slug": "users", "eventType": "prompt", "aggregation": "UNIQUE_COUNT", "valueProperty": "$.user"}
EVENT = {
    "specversion": "1.0",
    "id": "5c10fade-1c9e-4d6c-8275-c52c36731d3c",
    "source": "gateway",
    "type": "prompt",
    "subject": "acme-prod",
    "time": "2026-01-15T12:00:00Z",
    "data": {"tokens": "1250", "model": "gpt-4"},
}


def meters(world: World) -> None:
    """Makes the meters `tokens`, `calls` and `users`."""
    ask = world.recorder.ask
    post, apply = f"POST {METERS}", f"POST {METERS}/apply"
    world.meters["tokens"] = ask(post, "a meter is created", METERS, TOKENS)
    ask(post, "a slug is taken", METERS, TOKENS)
    ask(post, "an unknown member", METERS, {**CALLS, "zz": 1})
    ask(post, "a member is missing", METERS, {"slug": "other"})
    ask(post, "no JSON", METERS, content=b"{", headers={"content-type": "application/json"})
    ask(post, "a body that is packed", METERS, CALLS, headers={"content-encoding": "gzip"})
    ask(post, "a body that is too large", METERS, content=b" " * (2 << 20))
    ask(post, "a wait that is no number", f"{METERS}?wait_s=long", CALLS)
    ask(post, "an Idempotency-Key that is none", METERS, CALLS, headers={"idempotency-key": "\x7f"})
    found = ask(apply, "meters are created and changed", f"{METERS}/apply", [TOKENS, CALLS, USERS])
    world.meters |= {one["slug"]: one for one in found["meters"]}
    ask(apply, "an unknown member", f"{METERS}/apply", [{**CALLS, "zz": 1}])
    ask(apply, "what a meter counts is changed", f"{METERS}/apply", [{**CALLS, "aggregation": "SUM"}])
    ask(apply, "a body that is no list", f"{METERS}/apply", {})

    get_all, get, put = f"GET {METERS}", f"GET {METERS}/{{meterIdOrSlug}}", f"PUT {METERS}/{{meterIdOrSlug}}"
    ask(get_all, "all meters", METERS)
    ask(get_all, "one a page, the last first", f"{METERS}?pageSize=1&order=DESC&orderBy=createdAt")
    ask(get_all, "an unknown order", f"{METERS}?orderBy=zz")
    ask(get, "by slug", f"{METERS}/tokens")
    ask(get, "by id", f"{METERS}/{world.meters['calls']['id']}")
    change = {"name": "Tokens used", "groupBy": {"model": "$.model", "kind": "$.kind"}}
    ask(put, "a meter is changed", f"{METERS}/tokens", change)
    world.meters["tokens"]["groupBy"] = change["groupBy"]
    ask(put, "an unknown member", f"{METERS}/tokens", {"zz": 1})
    ask(put, "another slug", f"{METERS}/tokens", {"slug": "other"})


def deleted_meters(world: World) -> None:
    ask, delete = world.recorder.ask, f"DELETE {METERS}/{{meterIdOrSlug}}"
    ask(f"POST {METERS}", "a meter that is deleted later", METERS, {**CALLS, "slug": "old"})
    ask(delete, "a meter is deleted", f"{METERS}/old")


def ingest(world: World) -> None:
    ask, post = world.recorder.ask, f"POST {EVENTS}"
    one, batch = "application/cloudevents+json", "application/cloudevents-batch+json"
    ask(post, "one event", EVENTS, EVENT, headers={"content-type": one})
    ask(post, "a batch", EVENTS, [EVENT, {**EVENT, "id": "2"}], headers={"content-type": batch})
    ask(post, "as JSON", EVENTS, EVENT)
    strange = [
        {**EVENT, "type": "unknown"},
        {**EVENT, "data": {"tokens": "many", "model": "gpt-4"}},
        {**EVENT, "time": "2025-01-01T00:00:00Z"},
        {**EVENT, "time": "2026-02-15T00:00:00Z"},
    ]
    ask(post, "warnings in a header", EVENTS, strange, headers={"content-type": batch})
    prefer = {"content-type": batch, "prefer": "return=representation"}
    ask(post, "warnings in the answer", EVENTS, strange, headers=prefer)
    ask(post, "no event", EVENTS, {}, headers={"content-type": one})
    ask(
        post,
        "the second event has no id",
        EVENTS,
        [EVENT, {**EVENT, "id": ""}],
        headers={"content-type": batch},
    )
    ask(post, "another content type", EVENTS, content=b"a", headers={"content-type": "text/plain"})
    ask(post, "no JSON", EVENTS, content=b"{", headers={"content-type": one})
    packed = {"content-type": one, "content-encoding": "br"}
    ask(post, "another encoding", EVENTS, content=b"a", headers=packed)
    ask(post, "not gzip", EVENTS, content=b"a", headers={**packed, "content-encoding": "gzip"})
    ask(post, "a body that is too large", EVENTS, content=b" " * (2 << 20), headers={"content-type": one})
    many = [{**EVENT, "id": str(number)} for number in range(1001)]
    ask(post, "too many events", EVENTS, many, headers={"content-type": batch})
    whole = [{**EVENT, "id": str(number)} for number in range(1000)]  # all that the bucket holds
    for name in ("as many as the key may send at once", "beyond the rate of the key"):
        ask(post, name, EVENTS, whole, headers={"content-type": batch}, api=world.limited)


def events(world: World) -> None:
    ask, get, get_v2 = world.recorder.ask, f"GET {EVENTS}", "GET /api/v2/events"
    ask(get, "the newest events", EVENTS)
    ask(
        get, "those of a customer that a meter refused", f"{EVENTS}?customerId=acme&meter=tokens&refused=true"
    )
    ask(get, "by id and fate", f"{EVENTS}?id=id1&fate=counted&source=src&type=prompt&subject=acme-prod")
    ask(get, "a range", f"{EVENTS}?from=2026-01-15&to=2026-01-15T12:40:00Z&ingestedAtFrom=2026-01-01&limit=1")
    ask(get, "an unknown fate", f"{EVENTS}?fate=zz")
    ask(get, "a limit that is too large", f"{EVENTS}?limit=1000")
    ask(get, "an unknown customer", f"{EVENTS}?customerId=nothing")
    v2 = "/api/v2/events"
    page = ask(get_v2, "the first page", f"{v2}?limit=2")
    ask(get_v2, "the next page", f"{v2}?limit=100&cursor={page['nextCursor']}")
    ask(get_v2, "filtered", v2 + '?filter={"subject":{"$in":["acme-prod"]},"refused":{"$exists":true}}')
    ask(get_v2, "an unknown filter", v2 + '?filter={"zz":{"$eq":"a"}}')
    ask(get_v2, "a filter that is no JSON", v2 + "?filter={")
    ask(get_v2, "a cursor that is none", v2 + "?cursor=zz")
    one = f"GET {EVENTS}/{{source}}/{{id}}"
    ask(one, "an event that meters counted", f"{EVENTS}/src/id1")
    ask(one, "an event that one meter refused", f"{EVENTS}/src/id4")
    ask(one, "an event that was sent twice", f"{EVENTS}/src/id2")
    ask(one, "an event that was refused", f"{EVENTS}/src/broken")


def usage(world: World) -> None:
    ask = world.recorder.ask
    query = f"{METERS}/{{idOrSlug}}/query"
    get, post = f"GET {query}", f"POST {query}"
    tokens = f"{METERS}/tokens/query"
    ask(get, "in all", tokens)
    grouped = (
        "windowSize=HOUR&windowTimeZone=Europe/Berlin&groupBy=model&groupBy=subject&filterCustomerId=acme"
    )
    ask(get, "by hour, dimension and customer", f"{tokens}?from=2026-01-15&to=2026-01-16&{grouped}")
    ask(get, "as CSV", f"{tokens}?groupBy=model&csvSafe=true", headers={"accept": "text/csv"})
    ask(get, "an unknown window", f"{tokens}?windowSize=zz")
    ask(get, "an unknown customer", f"{tokens}?filterCustomerId=nothing")
    body = {"from": "2026-01-15T00:00:00Z", "to": "2026-01-16T00:00:00Z", "windowSize": "DAY", "groupBy": ["model"],
            "subject": ["acme-prod"], "filterGroupBy": {"model": ["gpt-4", "gpt-4o"]}}  # fmt: skip
    ask(post, "by day and dimension", tokens, body)
    ask(post, "as CSV", tokens, {"groupBy": ["model"]}, headers={"accept": "text/csv"})
    ask(post, "an unknown member", tokens, {"zz": 1})
    ask(post, "a zone that is none", tokens, {"windowTimeZone": "zz"})
    subjects, values = (
        f"GET {METERS}/{{idOrSlug}}/subjects",
        f"GET {METERS}/{{idOrSlug}}/group-by/{{key}}/values",
    )
    ask(subjects, "all of them", f"{METERS}/tokens/subjects")
    ask(subjects, "a range that is empty", f"{METERS}/tokens/subjects?from=2026-01-02&to=2026-01-01")
    ask(values, "all of them", f"{METERS}/tokens/group-by/model/values?search=gpt")
    ask(values, "an unknown dimension", f"{METERS}/tokens/group-by/nothing/values")
    ask(values, "an instant that is none", f"{METERS}/tokens/group-by/model/values?from=zz")


def backfill(world: World) -> None:
    ask, get = world.recorder.ask, f"GET {METERS}/{{slug}}/backfill"
    world.backfill()
    for _ in range(FOLLOWED_TRIES):  # the API reads the topic in its own time
        if len(world.answer("GET", f"{METERS}/users/backfill", None)[1].get("shards", ())) == 2:
            break
        time.sleep(FOLLOWED_POLL_S)
    ask(get, "under way", f"{METERS}/users/backfill")
    ask(get, "nothing to copy", f"{METERS}/calls/backfill")
    progress, of = "GET /api/v1/info/progress/{meterIdOrSlug}", "/api/v1/info/progress"
    ask(progress, "a task in progress", f"{of}/users")
    ask(progress, "a meter without a task", f"{of}/calls")
    ask("GET /api/v1/debug/metrics", "by subject", "/api/v1/debug/metrics")


def portal(world: World) -> None:
    ask, tokens = world.recorder.ask, "/api/v1/portal/tokens"
    post, invalidate = f"POST {tokens}", f"POST {tokens}/invalidate"
    query = "GET /api/v1/portal/meters/{meterSlug}/query"
    made = ask(
        post, "a token for one meter", tokens, {"subject": "acme-prod", "allowedMeterSlugs": ["tokens"]}
    )
    world.keys["portal"] = made["token"]
    second = ask(post, "a token for all meters", tokens, {"subject": "acme-test"})
    ask(post, "an unknown member", tokens, {"subject": "acme-prod", "zz": 1})
    ask(post, "an unknown meter", tokens, {"subject": "acme-prod", "allowedMeterSlugs": ["nothing"]})
    ask(post, "no portal here", tokens, {"subject": "acme-prod"}, api=world.without_redis)
    ask(
        query,
        "the usage of the token's subject",
        "/api/v1/portal/meters/tokens/query?groupBy=model",
        key="portal",
    )
    csv = {"accept": "text/csv"}
    ask(query, "as CSV", "/api/v1/portal/meters/tokens/query", key="portal", headers=csv)
    ask(query, "a meter that the token is not for", "/api/v1/portal/meters/calls/query", key="portal")
    ask(query, "another customer", "/api/v1/portal/meters/tokens/query?filterCustomerId=acme", key="portal")
    ask(query, "no token", "/api/v1/portal/meters/tokens/query", key="")
    ask(query, "an API key", "/api/v1/portal/meters/tokens/query")
    ask(invalidate, "one token", f"{tokens}/invalidate", {"id": second["id"]})
    ask(invalidate, "an unknown token", f"{tokens}/invalidate", {"id": "01KF0000000000000000000000"})
    ask(invalidate, "an unknown member", f"{tokens}/invalidate", {"zz": 1})
    ask(f"GET {tokens}", "the newest first", tokens)
    ask(f"GET {tokens}", "a limit that is too large", f"{tokens}?limit=1000")
