"""A TCP proxy before ClickHouse that can lose what matters most: the answer to an insert that was done.

Owns: passing bytes, cutting the answer to the next inserts, cutting the request in the middle. Does not own: when.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter

HOST = "127.0.0.1"
INSERT = b"INSERT"
_BYTES = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets


class Proxy:
    """Listens on `port`; passes everything to `target` (host port), once that is set. Use as a context manager.

    `reply(n)`: the next n inserts are carried out, and their answers are lost.
    `request(n)`: of the next n inserts only the first half arrives.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server((HOST, 0), backlog=128)
        self.port = int(self._listening.getsockname()[1])
        self.target = 0
        self.cut: Counter[str] = Counter()
        self._wanted: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def reply(self, number: int) -> None:
        with self._lock:
            self._wanted["reply"] += number

    def request(self, number: int) -> None:
        with self._lock:
            self._wanted["request"] += number

    def _take(self, what: str) -> bool:
        with self._lock:
            if not self._wanted[what]:
                return False
            self._wanted[what] -= 1
            self.cut[what] += 1
            return True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), name="proxied", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            server = socket.create_connection((HOST, self.target))
        except OSError:
            _reset(client)
            return
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inserting = threading.Event()
        threading.Thread(target=self._answers, args=(server, client, inserting), daemon=True).start()
        try:
            while data := client.recv(_BYTES):
                if INSERT in data.split(b"\r\n", 1)[0] and data.startswith(b"POST"):
                    inserting.set()
                    if self._take("request"):
                        server.sendall(data[: len(data) // 2])
                        break
                elif data.startswith(b"POST"):
                    inserting.clear()
                server.sendall(data)
        except OSError:
            pass
        _reset(client)
        _reset(server)

    def _answers(self, server: socket.socket, client: socket.socket, inserting: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_BYTES):
                if inserting.is_set() and self._take("reply"):
                    break
                client.sendall(data)
        _reset(client)
        _reset(server)


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
