"""Both stores that Tallymark knows: a chDB process, and clickhouse-server (Debian's 18.16 or newer).

A server that is not installed skips its tests, and fails them where CI=true.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.clickhouse import ChDB
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from tests.fixtures.absent import absent

CONFIG = """<yandex>
<logger><level>warning</level><log>{folder}/server.log</log><errorlog>{folder}/errors.log</errorlog></logger>
<tcp_port>{port}</tcp_port><http_port>{http_port}</http_port><listen_host>127.0.0.1</listen_host>
<path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path><users_config>{folder}/users.xml</users_config>
<mark_cache_size>268435456</mark_cache_size>
</yandex>"""
USERS = """<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default>
<password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
</default></users></yandex>"""
_namespaces = itertools.count()


def wait_until_up(store: ClickHouse, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            store.ensure_schema()
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="session")
def chdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = ChDB(tmp_path_factory.mktemp("chdb"), process.free_port()).start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@contextmanager
def real_server(folder: Path) -> Iterator[str]:
    """A clickhouse-server with its data under `folder`/data; its URL. Skips, or fails in CI, where there is none."""
    if shutil.which("clickhouse-server") is None:
        absent("clickhouse-server is not installed")
    port = process.free_port()
    (folder / "users.xml").write_text(USERS)
    config = CONFIG.format(folder=folder, port=port, http_port=process.free_port())
    (folder / "config.xml").write_text(config)
    server = process.spawn(
        ["clickhouse-server", f"--config-file={folder}/config.xml"], Path(folder / "out.log")
    )
    try:
        yield f"clickhouse://127.0.0.1:{port}/tallymark"
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    process.stop(server, 10)


@pytest.fixture(scope="session", params=["chdb", "clickhouse_server"])
def store(request: pytest.FixtureRequest) -> Iterator[ClickHouse]:
    """One store of each kind, with the tables made. Tests share it, so each takes a namespace of its own."""
    store = connect(request.getfixturevalue(request.param))
    wait_until_up(store)
    yield store
    store.close()


@pytest.fixture
def namespace() -> str:
    return f"tenant-{next(_namespaces)}"
