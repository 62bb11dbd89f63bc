"""Rates a key: shared by all processes through Redis, counted here while Redis is unavailable, and shown in headers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.http.auth import Principal
from pipeline.api.http.problem import answer
from pipeline.api.http.rate_limits import INGEST_PATH, STATE, Buckets, RateLimits
from pipeline.core.values.token_bucket import MICRO, Bucket, BucketPolicy, take
from pipeline.errors import Rejected
from pipeline.local import process
from pipeline.local.redis import is_available
from pipeline.settings import Settings
from tests.fixtures.absent import absent
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.redis_server import running


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not is_available():
        absent("there is no redis-server")
    with running(tmp_path_factory.mktemp("redis-limits")) as (server, _):
        yield server.url


def limited(**values: object) -> Settings:
    return Settings.model_construct(**values)  # type: ignore[arg-type]


async def _route(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    response = Response(status_code=204)
    if STATE in scope["state"]:
        try:
            await scope["state"][STATE].take("events", int(request.headers.get("x-events", "1")))
        except Rejected as refusal:
            response = await answer(request, refusal)
    await response(scope, receive, send)


class _Known:
    """Authentication that believes the header x-key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            key = Request(scope).headers.get("x-key", "key-1")
            scope["state"] = {"principal": Principal("default", "someone", frozenset(), key)}
        await self._app(scope, receive, send)


@contextmanager
def client(settings: Settings) -> Iterator[TestClient]:
    async def base(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await _route(scope, receive, send)

    with TestClient(_Known(RateLimits(base, settings))) as made:
        yield made


def test_no_limits_no_headers() -> None:
    with client(limited(redis="")) as api:
        answers = [api.post(INGEST_PATH) for _ in range(50)]
    assert {one.status_code for one in answers} == {204}
    assert not any(name.startswith("ratelimit") for one in answers for name in one.headers)


def test_requests_beyond_the_rate(redis_url: str) -> None:
    with client(limited(redis=redis_url, rate_limit_requests_s=5)) as api:
        answers = [api.get("/x", headers={"x-key": "requests"}) for _ in range(7)]
        other = api.get("/x", headers={"x-key": "another"})
    assert [one.status_code for one in answers] == [204] * 5 + [429] * 2
    assert [one.headers["ratelimit"] for one in answers[:2]] == ['"requests";r=4;t=1', '"requests";r=3;t=1']
    refused = answers[-1]
    assert refused.json()["reason"] == "rate-limited"
    assert refused.headers["ratelimit-policy"] == '"requests";q=5;w=1'
    assert re.fullmatch(r'"requests";r=0;t=\d+', refused.headers["ratelimit"])
    assert refused.headers["retry-after"] == "1"
    assert other.status_code == 204


def test_events_beyond_the_rate(redis_url: str) -> None:
    headers = {"x-key": "events", "x-events": "600"}
    with client(limited(redis=redis_url, rate_limit_events_s=100)) as api:
        first, second = (api.post(INGEST_PATH, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (204, 429)
    assert first.headers["ratelimit"] == '"events";r=400;t=10'
    assert second.headers["retry-after"] == "2"


def test_processes_share_a_bucket(redis_url: str) -> None:
    settings = limited(redis=redis_url, rate_limit_requests_s=4)
    with client(settings) as one, client(settings) as two:
        answers = [api.get("/x", headers={"x-key": "shared"}) for _ in range(4) for api in (one, two)]
    assert [answer.status_code for answer in answers].count(204) == 4


def test_without_redis_ingest_and_reading_go_on_under_a_rate_and_changes_wait() -> None:
    no_redis = f"redis://127.0.0.1:{process.free_port()}/0"
    with client(limited(redis=no_redis, rate_limit_requests_s=20)) as api:
        change = api.post("/api/v1/meters")
        ingest = [api.post(INGEST_PATH).status_code for _ in range(10)]
        read = [api.get("/api/v1/meters").status_code for _ in range(5)]
        query = [api.post("/api/v1/meters/m/query").status_code for _ in range(10)]
    assert (change.status_code, change.json()["reason"]) == (503, "unavailable")
    assert int(change.headers["retry-after"]) > 0
    assert set(ingest + read) == {204}
    assert 429 in query


def test_redis_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    if not is_available():
        absent("there is no redis-server")
    with (
        running(tmp_path) as (server, child),
        client(limited(redis=server.url, rate_limit_requests_s=1000)) as api,
    ):
        assert api.post("/api/v1/meters").status_code == 204
        process.kill(child)
        assert api.post("/api/v1/meters").status_code == 503
        assert api.post(INGEST_PATH).status_code == 204
        again = server.spawn()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while api.post("/api/v1/meters").status_code != 204:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            process.kill(again)


@given(costs=st.lists(st.integers(1, 40), min_size=1, max_size=20))
@settings(max_examples=20)
def test_redis_counts_as_the_core_does(redis_url: str, costs: list[int]) -> None:
    """With a rate so slow that no token comes meanwhile, both leave the same."""
    policy = BucketPolicy(rate=1, burst=100)
    name = f"law:{time.monotonic_ns()}"

    async def ask() -> list[tuple[bool, int]]:
        buckets = Buckets(limited(redis=redis_url))
        found = [await buckets.shared(name, policy, cost) for cost in costs]
        await buckets.close()
        return [(one.allowed, one.left) for one in found]

    began_s = time.monotonic()
    shared = asyncio.run(ask())
    if time.monotonic() - began_s > 0.9:
        return  # a token may have come
    bucket: Bucket | None = None
    here = []
    for cost in costs:
        bucket, standing = take(bucket, policy, cost, MICRO)
        here.append((standing.allowed, standing.left))
    assert shared == here
