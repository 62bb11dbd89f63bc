"""`tallymark api` as a process of its own on a free port, without authentication; raw sockets to it.
And an app of a test, served in a thread.

Owns: starting and ending them, and reading one plain answer. Does not own: what is asked.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import FastAPI

from pipeline.local import process
from pipeline.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
UP_S = 60.0


@contextmanager
def served_app(app: FastAPI) -> Iterator[str]:
    """The address of an app that this process serves in a thread."""
    port = process.free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


class Serving:
    """Use as a context manager. `more`: further settings."""

    def __init__(self, settings: Settings, folder: Path, processes: int = 1, **more: object) -> None:
        self.port = process.free_port()
        self.log = folder / "api.log"
        self._processes = processes
        values = {
            "kafka": settings.kafka,
            "clickhouse": settings.clickhouse,
            "redis": "",
            "auth": "off",
            "api_port": self.port,
            **more,
        }
        self._environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._environment |= {PREFIX + name.upper(): str(value) for name, value in values.items()}
        self.process: process.Process | None = None

    @property
    def url(self) -> str:
        """Where /api/v1 is."""
        return f"http://{process.HOST}:{self.port}/api/v1"

    def start(self) -> Self:
        """Returns when it answers."""
        command = [sys.executable, "-m", "pipeline.cli", "api", "--processes", str(self._processes)]
        self.process = process.spawn(command, self.log, environment=self._environment)
        deadline = time.monotonic() + UP_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the API did not start:\n" + process.last_lines(self.log, 40))
            time.sleep(0.05)
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        process.stop(self.process, 20)

    def kill(self) -> None:
        """kill -9, all of it."""
        assert self.process is not None
        process.kill(self.process)

    def children(self) -> list[int]:
        """The pids of the processes that serve."""
        assert self.process is not None
        words = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
        return [int(line.split()[0]) for line in words if "spawn_main" in line]

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the first process."""
        assert self.process is not None
        self.process.send_signal(number)

    def connect(self) -> socket.socket:
        """A raw connection."""
        made = socket.create_connection((process.HOST, self.port), timeout=30)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _answers(self) -> bool:
        try:
            with self.connect() as connection:
                connection.sendall(b"GET /api/v1/healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                return status(connection) == 200
        except OSError:
            return False


def status(connection: socket.socket) -> int:
    """The status of the next answer, which has to come in one piece; 0 when the connection ends without one."""
    answer = connection.recv(65536)
    return int(answer.split(b" ", 2)[1]) if answer else 0
