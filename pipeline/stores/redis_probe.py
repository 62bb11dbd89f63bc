"""Checks that Redis serves commands, since an open port and even a healthy process may refuse every command.

Owns: the command and the server's message on failure. Does not own: the data in Redis (redis_balances).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import redis

from pipeline.errors import Unavailable
from pipeline.settings import Settings

TIMEOUT_S = 2.0
KEY = "tallymark:probe"
KEPT_S = 60


def reads(settings: Settings) -> None:
    """Return when Redis answers a read. Raises Unavailable with its message."""
    _run(settings, lambda client: client.get(KEY))


def writes(settings: Settings) -> None:
    """Return when Redis accepts a write. Raises Unavailable with its message."""
    _run(settings, lambda client: client.set(KEY, "1", ex=KEPT_S))


def _run(settings: Settings, command: Callable[[redis.Redis], object]) -> None:
    password = settings.redis_password.get_secret_value() or None
    options = {"password": password} if password else {}
    client = redis.Redis.from_url(
        settings.redis, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, **options
    )
    try:
        command(client)
    except redis.RedisError as error:
        raise Unavailable(f"Redis at {_place(settings.redis)}: {error}") from error
    finally:
        client.close()


def _place(url: str) -> str:
    """The address of the server, without the password."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
