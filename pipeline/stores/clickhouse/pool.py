"""Idle connections, shared by threads: each is used by one thread at a time.

Owns: handing out, taking back, closing. Does not own: what a connection is or when it is unfit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Generic, Protocol, TypeVar


class Poolable(Protocol):
    """What a pool needs of a connection."""

    def close(self) -> object:
        """Gives it up; called by the thread that uses it."""
        ...

    def interrupt(self) -> None:
        """Cuts it under the thread that waits on it, which gets an error; does nothing while it is not open."""
        ...


Connection = TypeVar("Connection", bound=Poolable)


class Pool(Generic[Connection]):
    """Makes a connection when none is idle, so its size is the greatest number of threads at once."""

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._make = make
        self._idle: LifoQueue[Connection] = LifoQueue()
        self._lock = threading.Lock()
        self._in_use: list[Connection] = []
        self.interruptions = 0

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for this thread; after an error it is closed and not used again."""
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
        """Cuts every connection that is in use."""
        with self._lock:
            self.interruptions += 1
            for connection in self._in_use:
                connection.interrupt()

    def _release(self, connection: Connection) -> None:
        with self._lock:
            self._in_use = [one for one in self._in_use if one is not connection]

    def close(self) -> None:
        """Closes what is idle; the pool can be used on."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return
