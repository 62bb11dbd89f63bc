"""Large answers, one at a time: what makes them from rows takes CPU and memory, and must not take it from all at once.

Owns: whose turn it is to make a large answer. Does not own: the largest answer (stores.clickhouse.client.Patience), how
many requests ask at once (http.bulkheads).

Several threads that compute at once would each keep the interpreter from the event loop, which answers everybody else,
and each large answer is a million objects meanwhile.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.stores.clickhouse.client import Parameters, Queries, Rows, Sized

LARGE_BYTES = 1 << 20


class LargeAnswers:
    """The turn of one process."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    @contextmanager
    def within(self, store: Queries) -> Iterator[Queries]:
        """The store for one request; ends when its answer is made. The first large answer of it waits for the turn."""
        asked = _Asked(store, self._turn)
        try:
            yield asked
        finally:
            asked.end()


class _Asked:
    """A store as one thread asks it."""

    def __init__(self, store: Queries, turn: threading.Lock) -> None:
        self._store = store
        self._turn = turn
        self._mine = False

    def query(self, sql: str, parameters: Parameters | None = None, sized: Sized | None = None) -> Rows:
        """As ClickHouse.query."""
        return self._store.query(sql, parameters, self._begin)

    def _begin(self, size: int) -> None:
        if size >= LARGE_BYTES and not self._mine:
            self._turn.acquire()
            self._mine = True
            gc.disable()  # rows hold no cycles, and a collection of so many objects stops every thread

    def end(self) -> None:
        """Gives the turn back."""
        if self._mine:
            self._mine = False
            gc.enable()
            self._turn.release()
