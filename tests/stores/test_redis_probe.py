"""A Redis that refuses every command is not ready, and its own message says why."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.redis import executable
from pipeline.settings import Settings
from pipeline.stores import redis_probe
from tests.fixtures.absent import absent
from tests.fixtures.patience import PATIENCE_S

OWN_ADDRESS = "192.0.2.1"  # nothing is sent there: it only chooses the interface


@contextmanager
def serving(folder: Path, host: str, *options: str) -> Iterator[str]:
    """A server with these options on a free port; gives its URL."""
    try:
        server = executable()
    except Unavailable as error:
        absent(str(error))
    port = process.free_port()
    running = process.spawn(
        [server, "--port", str(port), "--save", "", "--dir", str(folder), *options],
        folder / "redis.log",
    )
    try:
        yield f"redis://{host}:{port}/0"
    finally:
        process.kill(running)


def refusal(settings: Settings, ask: Callable[[Settings], None]) -> str:
    """The message once the server listens."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with pytest.raises(Unavailable) as caught:
            ask(settings)
        if "Connection refused" not in str(caught.value):
            return str(caught.value)
        assert time.monotonic() < deadline, caught.value


def own_address() -> str:
    """An address of this machine that is not the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((OWN_ADDRESS, 9))
        except OSError as error:
            absent(f"this machine has no network interface: {error}")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("ask", [redis_probe.reads, redis_probe.writes])
def test_protected_mode_is_shown_in_the_servers_words(
    tmp_path: Path, ask: Callable[[Settings], None]
) -> None:
    with serving(tmp_path, own_address(), "--protected-mode", "yes") as url:
        detail = refusal(Settings.model_construct(redis=url), ask)
    assert "DENIED Redis is running in protected mode" in detail


def test_a_missing_password_is_shown_in_the_servers_words(tmp_path: Path) -> None:
    with serving(tmp_path, "127.0.0.1", "--bind", "127.0.0.1", "--requirepass", "hush") as url:
        without = Settings.model_construct(redis=url)
        assert refusal(without, redis_probe.reads).count(
            "HELLO must be called with the client already authenticated"
        )
        redis_probe.writes(without.model_copy(update={"redis_password": SecretStr("hush")}))


def test_a_replica_that_takes_no_writes_is_good_for_reads_only(tmp_path: Path) -> None:
    with serving(tmp_path, "127.0.0.1", "--replicaof", "127.0.0.1", "1") as url:
        settings = Settings.model_construct(redis=url)
        assert "read only replica" in refusal(settings, redis_probe.writes)
        redis_probe.reads(settings)


def test_a_closed_port_is_the_clients_message_without_the_password() -> None:
    settings = Settings.model_construct(redis="redis://:hush@127.0.0.1:1/0")
    with pytest.raises(Unavailable, match=r"^Redis at 127\.0\.0\.1:1: .*Connection refused") as caught:
        redis_probe.reads(settings)
    assert "hush" not in str(caught.value)
