"""A store that takes connections and never answers: what waits for it is refused soon, everything else continues."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from pipeline.api.app import create_app
from pipeline.api.http.services import patience
from pipeline.local import process
from pipeline.local.kafka import Kafka
from pipeline.local.redis import Redis, is_available
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from tests.fixtures.absent import absent
from tests.fixtures.api_server import served_app
from tests.fixtures.control_stage import ControlStage
from tests.fixtures.patience import slowed
from tests.fixtures.silent import SilentServer
from tests.local.test_redis import started
from tests.stores.clickhouse.conftest import real_server, wait_until_up

HUNG = 50
LONG_S = 300.0  # longer than any test waits: a request that is held fails it
# What a user has where nothing is set: a store that is silent is given up soon.
USUAL = {"clickhouse_silence_s": 2.0, "api_turn_s": 2.5, "redis": ""}
SOON_S = 7.0  # on a free machine; without a bulkhead it takes minutes
METER = {"slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens"}
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "s",
    "type": "prompt",
    "subject": "ann",
    "data": {"tokens": 1},
}
MEMORY = ("/meters", "/meters/tokens", "/keys", "/customers", "/subjects", "/features", "/portal/tokens",
          "/customers/acme/entitlements", "/notification/channels", "/notification/rules")  # fmt: skip
USAGE = ("/meters/tokens/query", "/meters/tokens/subjects", "/events", "/events/s/1")
Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


@pytest.fixture(scope="module", autouse=True)
def defined(api: TestClient, decider: ControlStage) -> None:
    assert api.post("/meters", json=METER).status_code == 201
    assert api.post("/customers", json={"key": "acme", "name": "ACME"}).status_code == 201


@contextmanager
def frozen(pid: int | None) -> Iterator[None]:
    """The process stands still meanwhile."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(params=["native", "http", "server"])
def silent_clickhouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ClickHouse that hangs."""
    if request.param == "server":
        with real_server(tmp_path) as url:
            store = connect(url)
            wait_until_up(store)
            store.close()
            pid = int((tmp_path / "data" / "status").read_text().split()[1])
            with frozen(pid):
                yield url
        return
    with SilentServer() as server:
        scheme = "clickhouse" if request.param == "native" else "chdb+http"
        yield f"{scheme}://127.0.0.1:{server.port}/tallymark"


def get(path: str) -> Ask:
    return lambda client: client.get("/api/v1" + path)


def post(path: str, body: object) -> Ask:
    return lambda client: client.post("/api/v1" + path, json=body)


def serve(settings: Settings, story: Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
    """Runs the story with a client of an API with these settings."""

    async def main(url: str) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=LONG_S, limits=limits) as client:
            status = 0
            while status != 200:  # until the control log was read
                status = (await client.get("/api/v1/meters")).status_code
            await story(client)

    with served_app(create_app(settings)) as url:
        asyncio.run(main(url))


async def refused_soon(client: httpx.AsyncClient, asks: list[Ask], *causes: str) -> None:
    """All at once: each gets 503 with a cause within SOON_S."""
    began_s = time.monotonic()
    for answer in asyncio.as_completed([ask(client) for ask in asks]):
        found = await answer
        assert time.monotonic() - began_s < slowed(SOON_S)
        assert (found.status_code, found.headers["content-type"]) == (503, "application/problem+json"), (
            found.text
        )
        assert any(cause in found.json()["detail"] for cause in causes), found.text
        assert "retry-after" in found.headers


async def goes_on_beside(client: httpx.AsyncClient, hung: list[Ask], asks: list[Ask]) -> None:
    """Each of `asks` has its good answer while all of `hung` still wait."""
    waiting = [asyncio.ensure_future(ask(client)) for ask in hung]
    await asyncio.sleep(0.2)  # they are on their way
    for ask in asks:
        answer = await ask(client)
        assert answer.status_code < 300, f"{answer.url}: {answer.text}"
    assert not any(one.done() for one in waiting), (
        "the others had to wait until the first of them was answered"
    )
    for one in waiting:
        one.cancel()


def test_frozen_clickhouse_answers_its_own_queries_soon(served: Settings, silent_clickhouse: str) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        asks = [get(USAGE[place % len(USAGE)]) for place in range(HUNG)]
        for _ in range(2):  # again with what the first round left behind
            await refused_soon(client, asks, "does not answer on 127.0.0.1:")
        began_s = time.monotonic()
        status = (await get("/status")(client)).json()
        assert time.monotonic() - began_s < slowed(SOON_S)
        assert "does not answer on 127.0.0.1:" in status["neighbours"]["clickhouse"]["detail"]
        assert status["neighbours"]["kafka"]["ok"]

    serve(served.model_copy(update={**USUAL, "clickhouse": silent_clickhouse}), story)


@pytest.mark.parametrize("scheme", ["clickhouse", "chdb+http"])
def test_frozen_clickhouse_holds_no_other_route(served: Settings, scheme: str) -> None:
    others = [
        get(path) for path in (*MEMORY, "/healthz", "/ready", "/status", "/audit", "/notification/events")
    ]
    others += [post("/events", EVENT), post("/customers", {"key": scheme[:4], "name": "B"})]

    async def story(client: httpx.AsyncClient) -> None:
        await goes_on_beside(client, [get("/meters/tokens/query")] * HUNG, others)
        server.cut()

    patient = {"clickhouse_silence_s": LONG_S, "api_turn_s": LONG_S, "redis": ""}
    with SilentServer() as server:
        url = f"{scheme}://127.0.0.1:{server.port}/tallymark"
        serve(served.model_copy(update={"clickhouse": url, **patient}), story)


def test_a_query_that_makes_progress_takes_its_time(served: Settings, store: ClickHouse, chdb: str) -> None:
    hasty = connect(chdb, "", patience(Settings.model_construct(clickhouse_silence_s=3)))
    assert hasty.query("SELECT sleepEachRow(0.2) FROM numbers(18) SETTINGS max_block_size = 1") == [(0,)] * 18
    hasty.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The URL and the process of a Redis."""
    if not is_available():
        absent("there is no redis-server")
    server = Redis(tmp_path, process.free_port())
    running = started(server)
    yield server.url, running.pid
    process.kill(running)


def test_frozen_redis_refuses_balances_soon_and_nothing_else(
    served: Settings, redis: tuple[str, int]
) -> None:
    url, pid = redis
    checks = {"checks": [{"customer": "acme", "feature": "f"}]}

    async def story(client: httpx.AsyncClient) -> None:
        await post("/entitlements/check", checks)(client)  # the topic was looked up
        with frozen(pid):
            asks = [post("/entitlements/check", checks), get("/customers/acme/access")] * HUNG
            refused = asyncio.ensure_future(refused_soon(client, asks, "Redis does not answer"))
            for path in (*MEMORY, *USAGE[:3], "/healthz", "/ready", "/audit"):
                assert (await get(path)(client)).status_code == 200, path
            assert (await post("/events", EVENT)(client)).status_code == 204
            assert not refused.done() or refused.exception() is None
            await refused
            began_s = time.monotonic()
            status = (await get("/status")(client)).json()
            assert time.monotonic() - began_s < slowed(SOON_S)
            assert "Timeout" in status["neighbours"]["redis"]["detail"]

    serve(served.model_copy(update={**USUAL, "redis": url}), story)


def test_frozen_kafka_holds_no_route_that_reads_memory(served: Settings, kafka: Kafka) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        with frozen(kafka.pid):
            await goes_on_beside(
                client,
                [post("/customers", {"key": f"k{n}", "name": "K"}) for n in range(2 * HUNG)],
                [get(path) for path in (*MEMORY, *USAGE[:3], "/healthz")],
            )
            reads = [get("/audit"), get("/notification/events"), get("/deliveries"), get("/reconcile")]
            await refused_soon(client, reads, "Kafka")
            began_s = time.monotonic()
            status = (await get("/status")(client)).json()
            assert time.monotonic() - began_s < slowed(2 * SOON_S) and not status["neighbours"]["kafka"]["ok"]
            assert (await get("/ready")(client)).status_code == 503

    serve(served.model_copy(update={**USUAL, "api_turn_s": LONG_S}), story)
