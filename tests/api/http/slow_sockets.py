"""Sockets that send a byte every ten seconds, and an honest client beside them: `python -m
tests.api.http.slow_sockets`.

Owns: both, and the figures. Does not own: the server (tests.fixtures.api_server).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fixtures.api_server import ApiServer, status

HEAD = b"POST /api/v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\n"
BEGINNINGS = (b"", HEAD[:40], HEAD + b"x-slow: ", HEAD + b"content-length: 5000\r\n\r\n{")


class Taken(NamedTuple):
    """The honest client's calls. cut: slow sockets that the server ended."""

    calls: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cut: int


class SlowSockets:
    """Use as a context manager: `count` connections, each sends a byte every `pause_s`, and comes again when cut."""

    def __init__(self, connect: Callable[[], socket.socket], count: int, pause_s: float = 10.0) -> None:
        self._connect = connect
        self._count = count
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._open = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.cut = 0

    def __enter__(self) -> SlowSockets:
        self._thread.start()
        self._open.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]

    def _one_more(self, number: int) -> None:
        made = self._connect()
        made.sendall(BEGINNINGS[number % len(BEGINNINGS)])
        made.setblocking(False)
        self._selector.register(made, selectors.EVENT_READ)

    def _run(self) -> None:
        for number in range(self._count):
            self._one_more(number)
        self._open.set()
        next_s = time.monotonic() + self._pause_s
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                self._selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                self.cut += 1
                self._one_more(self.cut)
            if time.monotonic() >= next_s:
                next_s += self._pause_s
                for key in list(self._selector.get_map().values()):
                    with contextlib.suppress(OSError):  # cut: the next look at it says so
                        key.fileobj.send(b"a")  # type: ignore[union-attr]


def measure(api: ApiServer, slow: int, seconds: float, pause_s: float = 0.01) -> Taken:
    """One honest client sends single events, each after the answer to the one before."""
    taken: list[float] = []
    with SlowSockets(api.connect, slow) as sockets, api.connect() as honest:
        end_s = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end_s:
            number += 1
            event = {
                "specversion": "1.0",
                "id": f"{end_s}/{number}",
                "source": "/s",
                "type": "t",
                "subject": "who",
            }
            body = json.dumps(event).encode()
            began_s = time.perf_counter()
            honest.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
            assert status(honest) == 204
            taken.append((time.perf_counter() - began_s) * 1000)
            time.sleep(pause_s)
        cut = sockets.cut
    taken.sort()
    p99_ms = taken[int(len(taken) * 0.99)]
    return Taken(len(taken), statistics.median(taken), p99_ms, taken[-1], cut)


def main() -> None:
    from pipeline.local import process
    from pipeline.local.kafka import Kafka
    from pipeline.settings import Settings
    from pipeline.stores.kafka import topics

    parser = argparse.ArgumentParser(prog="python -m tests.api.http.slow_sockets", description=__doc__)
    parser.add_argument("--sockets", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        broker = Kafka(Path(folder) / "kafka", process.free_port())
        settings = Settings.model_construct(
            kafka=broker.address, clickhouse=f"chdb+http://127.0.0.1:{process.free_port()}/tallymark"
        )
        broker.start()
        try:
            topics.apply(settings)
            with ApiServer(settings, Path(folder)) as api:
                measure(api, 0, 2)
                for sockets in (0, arguments.sockets):
                    print(sockets, "slow sockets:", measure(api, sockets, arguments.seconds))
        finally:
            broker.kill()


if __name__ == "__main__":
    main()
