"""Idle connections, shared by threads: each is used by one thread at a time.

Owns: handing out, taking back, closing. Does not own: what a connection is or when it is unfit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> object: ...


Connection = TypeVar("Connection", bound=Closable)


class Pool(Generic[Connection]):
    """Makes a connection when none is idle, so its size is the greatest number of threads at once."""

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._make = make
        self._idle: LifoQueue[Connection] = LifoQueue()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for this thread; after an error it is closed and not used again."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._make()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)

    def close(self) -> None:
        """Closes what is idle; the pool can be used on."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return
