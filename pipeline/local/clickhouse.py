"""ClickHouse of the local stack: one process that runs chDB and serves it on the loopback address.

Owns: the process, its secret, its start and stop. Does not own: its HTTP interface (clickhouse_front), tables or
queries (stores). Only one process can open a chDB folder, so the sink and the API use it over HTTP.
Run: python -m pipeline.local.clickhouse --data DIR --port N --secret FILE
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import time
from pathlib import Path

from pipeline.errors import Rejected, Unavailable
from pipeline.local import private, process
from pipeline.stores.clickhouse.http import HttpClickHouse

SECRET = "clickhouse.secret"
_PAUSE_S = 0.05


class ChDB(process.OwnProcess):
    """The process: data under `folder`/clickhouse, listening on `port` of the loopback address."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder.absolute() / "clickhouse"
        self.port = port
        self.log = folder.absolute() / "logs" / "clickhouse.log"
        self._secret = folder.absolute() / SECRET

    @property
    def password(self) -> str:
        """The password of the process: created on the first call, stored in a file that only its owner can read."""
        self._secret.parent.mkdir(parents=True, exist_ok=True)
        return private.secret(self._secret, lambda: secrets.token_urlsafe(32))

    @property
    def url(self) -> str:
        """The value of the setting `clickhouse`, which includes the password."""
        return f"chdb+http://tallymark:{self.password}@{process.HOST}:{self.port}/tallymark"

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process on existing data or an empty folder, and return at once."""
        assert self.password, "the process reads it from the file"
        argv: list[str | Path] = [sys.executable, "-m", "pipeline.local.clickhouse"]
        argv += ["--data", self.folder, "--port", str(self.port), "--secret", self._secret]
        self._process = process.spawn(argv, self.log)
        return self._process

    def start(self, timeout_s: float = 180.0) -> ChDB:
        """Start the process and return when it responds. Raises Unavailable with the end of its log."""
        self.spawn()
        self.wait_until_up(timeout_s)
        return self

    def ping(self) -> None:
        """Return when the process responds. Raises Unavailable."""
        store = HttpClickHouse(process.HOST, self.port, "system", self.password)
        try:
            store.ping()
        finally:
            store.close()

    def is_up(self) -> bool:
        """Whether the process responds."""
        try:
            self.ping()
        except Unavailable:
            return False
        return True

    def wait_until_up(self, timeout_s: float = 180.0) -> None:
        """Return when the process responds. Raises Unavailable when it exits or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self.has_ended:
                raise Unavailable(
                    f"ClickHouse (chDB) exited; {self.log} ends:\n{process.last_lines(self.log)}"
                )
            try:
                return self.ping()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)


def main() -> None:
    """The command line of the process."""
    parser = argparse.ArgumentParser(description="Serves a chDB folder on the loopback address over HTTP.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--secret", type=Path, required=True, help="file with the required password")
    arguments = parser.parse_args()
    password = private.read(arguments.secret)
    if password is None:
        raise Rejected("no-secret", f"{arguments.secret} holds no password.")

    from pipeline.local.clickhouse_front import serve

    serve(arguments.data, arguments.port, password)


if __name__ == "__main__":
    main()
