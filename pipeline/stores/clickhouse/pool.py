"""Idle connections shared by threads; each connection is used by one thread at a time.

Owns: lending connections, taking them back, closing them. Does not own: what a connection is, or when it is broken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Generic, Protocol, TypeVar


class Poolable(Protocol):
    """The members of a connection that a pool uses."""

    def close(self) -> object:
        """Close it; called by the thread that uses it."""
        ...

    def interrupt(self) -> None:
        """Close it while another thread waits for a response, which then gets an error; no effect if not open."""
        ...


Connection = TypeVar("Connection", bound=Poolable)


class Pool(Generic[Connection]):
    """Creates a connection when none is idle, so its size is the largest number of concurrent threads."""

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._make = make
        self._idle: LifoQueue[Connection] = LifoQueue()
        self._lock = threading.Lock()
        self._in_use: list[Connection] = []
        self.interruptions = 0

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for this thread; after an error it is closed and not reused."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._make()
        with self._lock:
            self._in_use.append(connection)
        try:
            yield connection
        except BaseException:
            self._release(connection)
            connection.close()
            raise
        self._release(connection)
        self._idle.put(connection)

    def interrupt(self) -> None:
        """Close every connection that is in use."""
        with self._lock:
            self.interruptions += 1
            for connection in self._in_use:
                connection.interrupt()

    def _release(self, connection: Connection) -> None:
        with self._lock:
            self._in_use = [one for one in self._in_use if one is not connection]

    def close(self) -> None:
        """Close idle connections; the pool stays usable."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return
