"""`tallymark api` as a process: slow sockets beside an honest client, several processes, ends good and bad."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.metering.http_batch import TOPIC
from pipeline.local import process
from pipeline.settings import Settings
from tests.api.http.slow_sockets import HEAD, measure
from tests.fixtures.api_server import ApiServer, status
from tests.fixtures.patience import PATIENCE_S, slowed
from tests.flow.accepted_events import read

EVENT = b'{"specversion":"1.0","id":"%d","source":"/server","type":"t","subject":"who"}'


@pytest.fixture
def settings(fresh_topics: Settings) -> Settings:
    """Nothing here asks ClickHouse."""
    return fresh_topics.model_copy(
        update={"clickhouse": f"chdb+http://127.0.0.1:{process.free_port()}/tallymark"}
    )


def request(number: int, spaces: int = 0) -> bytes:
    """An event of HTTP ingest. spaces: after it, which make it larger."""
    body = EVENT % number + b" " * spaces
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_slow_sockets_do_not_slow_an_honest_client(settings: Settings, tmp_path: Path) -> None:
    with ApiServer(settings, tmp_path) as api:
        measure(api, 0, 1)  # the first calls meet a producer that knows no broker
        taken = measure(api, 500, 6)
    assert taken.calls > 50
    assert taken.p99_ms < slowed(200), taken


def test_a_connection_too_many_is_refused_by_setting(settings: Settings, tmp_path: Path) -> None:
    with ApiServer(settings, tmp_path, api_connections_per_ip=3) as api:
        held = [api.connect() for _ in range(3)]
        for connection in held:
            connection.sendall(b"GET /api/v1/healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert status(connection) == 200
        with api.connect() as further:
            assert status(further) == 429
        for connection in held:
            connection.close()


def test_a_request_under_way_is_answered_before_the_end(settings: Settings, tmp_path: Path) -> None:
    with ApiServer(settings, tmp_path) as api, api.connect() as connection:
        whole = request(1, spaces=100_000)  # a small body that takes more than 5 s is refused as too slow
        connection.sendall(whole[:-10])
        time.sleep(min(slowed(0.2), 2))  # the API has read it
        api.signal(signal.SIGTERM)
        wait_until(lambda: refuses(api))
        connection.sendall(whole[-10:])
        assert status(connection) == 204
        assert api.process is not None and api.process.wait(PATIENCE_S) in (0, -signal.SIGTERM)
    assert [one.value() for one in read(settings.kafka, TOPIC)] == [
        b"[" + whole.partition(b"\r\n\r\n")[2] + b"]"
    ]


def refuses(api: ApiServer) -> bool:
    try:
        api.connect().close()
    except OSError:
        return True
    return False


def test_processes_share_the_port_and_are_replaced(settings: Settings, tmp_path: Path) -> None:
    with ApiServer(settings, tmp_path, processes=2) as api:
        wait_until(lambda: len(api.children()) == 2)
        first = api.children()
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: len(set(api.children()) - set(first)) == 1)
        answered = 0
        for number in range(20):  # one that is served by a process that is still starting waits for another
            with api.connect() as connection:
                connection.sendall(request(number))
                answered += status(connection) == 204
        assert answered == 20
        children = api.children()
        assert api.process is not None
        os.kill(api.process.pid, signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    assert len(read(settings.kafka, TOPIC)) == 20


def test_processes_end_together(settings: Settings, tmp_path: Path) -> None:
    with ApiServer(settings, tmp_path, processes=2) as api:
        wait_until(lambda: len(api.children()) == 2)
        children = api.children()
        api.signal(signal.SIGTERM)
        assert api.process is not None and api.process.wait(PATIENCE_S) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_port_that_is_taken_is_reported(settings: Settings) -> None:
    with socket.create_server((process.HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = os.environ | {"TALLYMARK_API_PORT": port, "TALLYMARK_KAFKA": settings.kafka}
        ended = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "api"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use." in ended.stderr
