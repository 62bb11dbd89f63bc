"""How fast each worker is, from its heartbeats.

Owns: events a second over the last seconds. Does not own: the heartbeats or their view.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

from pipeline.records import Worker

RATE_SPAN_MS = 10_000


class Rates:
    """Events a second of each worker, from the heartbeats of the last RATE_SPAN_MS."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[int, int]]] = {}
        self._lock = threading.Lock()

    def add(self, changes: Mapping[str, Worker | None]) -> None:
        """Takes note of heartbeats by worker id; None: the worker left."""
        with self._lock:
            for id, worker in changes.items():
                if worker is None:
                    self._seen.pop(id, None)
                    continue
                beats = self._seen.setdefault(id, deque())
                if beats and worker.events_in < beats[-1][1]:
                    beats.clear()  # the worker was restarted
                beats.append((worker.at_ms, worker.events_in))
                while len(beats) > 2 and beats[1][0] <= worker.at_ms - RATE_SPAN_MS:
                    beats.popleft()

    def of(self, worker: str) -> float:
        """Events a second of one worker; 0 with fewer than two heartbeats."""
        with self._lock:
            beats = self._seen.get(worker)
            if not beats or beats[-1][0] <= beats[0][0]:
                return 0.0
            (first_ms, first), (last_ms, last) = beats[0], beats[-1]
        return (last - first) * 1000 / (last_ms - first_ms)
