"""The API on a real broker and a real ClickHouse, with a control stage that decides as the real one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.clickhouse import ChDB
from pipeline.local.kafka import Kafka
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.kafka import direct_key
from tests.api.decider import Decider
from tests.conftest import reset_topics

PORTAL_SECRET = "a secret of at least thirty-two characters"


@pytest.fixture(scope="session")
def chdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = ChDB(tmp_path_factory.mktemp("chdb-api"), process.free_port()).start()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def served(kafka: Kafka, chdb: str, store: ClickHouse) -> Settings:
    """Settings of a module's tests: a broker with fresh topics, a ClickHouse with empty tables."""
    settings = Settings.model_construct(kafka=kafka.address, clickhouse=chdb, auth="off")
    reset_topics(settings)
    return settings


@pytest.fixture(scope="module")
def store(chdb: str) -> Iterator[ClickHouse]:
    """Empty tables."""
    store = connect(chdb)
    deadline = time.monotonic() + 30
    while True:
        try:
            store.ensure_schema()
            break
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    for table in ("events", "windows", "uniques"):
        store.query("TRUNCATE TABLE " + table)
    yield store
    store.close()


@pytest.fixture(scope="module")
def decider(served: Settings) -> Iterator[Decider]:
    with Decider(served) as running:
        yield running


@pytest.fixture(scope="module")
def api(served: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(served), base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture(scope="module")
def guarded(served: Settings, decider: Decider) -> Iterator[TestClient]:
    """The API that asks for keys, without one."""
    settings = served.model_copy(update={"auth": "on", "portal_secret": SecretStr(PORTAL_SECRET)})
    with TestClient(create_app(settings), base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture(scope="module")
def admins(served: Settings, guarded: TestClient) -> dict[str, dict[str, str]]:
    """The headers of an admin of each of two namespaces."""
    return {namespace: bearer(new_key(served, guarded, namespace, ["admin"])) for namespace in ("a", "b")}


def new_key(served: Settings, guarded: TestClient, namespace: str, scopes: list[str]) -> str:
    """A key that the guarded API knows."""
    made = direct_key.made("test")
    direct_key.create(served, namespace, made, "test", scopes)
    deadline = time.monotonic() + 10
    while guarded.get("/customers", headers=bearer(made.text)).status_code == 401:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return made.text


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}
