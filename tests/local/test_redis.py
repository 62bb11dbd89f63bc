"""The local Redis: what it acknowledged is there after kill -9."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import redis

from pipeline.local import process
from pipeline.local.redis import Redis
from tests.fixtures.patience import PATIENCE_S


def started(server: Redis) -> process.Process:
    child = server.spawn()
    deadline = time.monotonic() + PATIENCE_S
    while not server.is_up():
        assert time.monotonic() < deadline and child.poll() is None, process.last_lines(server.log)
        time.sleep(0.02)
    return child


def test_without_the_password_nothing_is_answered(tmp_path: Path) -> None:
    server = Redis(tmp_path / 'a "b', process.free_port())
    child = started(server)
    try:
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(process.HOST, server.port).ping()
        assert server.password not in Path(f"/proc/{child.pid}/cmdline").read_text()
        assert {path.stat().st_mode & 0o077 for path in server.folder.rglob("*")} == {0}
        assert server.log.stat().st_mode & 0o077 == 0
    finally:
        process.kill(child)


def test_values_survive_a_restart(tmp_path: Path) -> None:
    server = Redis(tmp_path, process.free_port())
    assert not server.is_up()
    child = started(server)
    redis.Redis.from_url(server.url).set("usage", "41.5")
    process.stop(child, 5)
    child = started(server)
    try:
        assert redis.Redis.from_url(server.url).get("usage") == b"41.5"
    finally:
        process.kill(child)
