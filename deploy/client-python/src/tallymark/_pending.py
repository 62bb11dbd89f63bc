"""The contents of a buffer: events that wait, those in progress, and those that failed.

Owns: limits, when a batch is due, the count of settled events. Does not own: threads, tasks, locks, clocks.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple

from tallymark._batch import MAX_EVENTS, Batch, batches
from tallymark._errors import Failure, NotAccepted
from tallymark._event import Prepared
from tallymark._ingest import Delivered, IngestWarning

MAX_WARNINGS = 1_000  # only the newest are kept


class Bounds(NamedTuple):
    """max_events: of a batch. max_wait_s: how long an event waits for others. capacity*: waiting and in progress."""

    max_events: int
    max_wait_s: float
    capacity: int
    capacity_bytes: int

    def check(self) -> Bounds:
        """Return itself. Raises ValueError for impossible limits."""
        if not 1 <= self.max_events <= MAX_EVENTS:
            raise ValueError(f"max_events must be 1 to {MAX_EVENTS}, not {self.max_events}")
        if self.max_wait_s < 0 or self.capacity < self.max_events or self.capacity_bytes < 1:
            raise ValueError(
                "max_wait_s must be at least 0, capacity at least max_events, capacity_bytes at least 1"
            )
        return self


class Pending:
    """Not safe for threads; the buffer has the lock."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._waiting: deque[tuple[Prepared, float]] = deque()
        self._held = 0  # waiting and in progress
        self._held_bytes = 0
        self._failures: list[Failure] = []
        self._failed_bytes = 0
        self._flush_to = 0
        self.added = 0  # events that were ever added
        self.settled = 0  # the first of those that are accepted or failed
        self.warnings: deque[IngestWarning] = deque(maxlen=MAX_WARNINGS)

    def has_room(self, event: Prepared) -> bool:
        """Whether there is room for the event; an empty buffer always has room."""
        return not self._held or (
            self._held < self._bounds.capacity
            and self._held_bytes + len(event.text) <= self._bounds.capacity_bytes
        )

    def put(self, event: Prepared, now_s: float) -> bool:
        """Add an event. Returns whether to wake the sender: it is the first event, or a batch is full."""
        self._waiting.append((event, now_s))
        self._held += 1
        self._held_bytes += len(event.text)
        self.added += 1
        return len(self._waiting) in (1, self._bounds.max_events)

    def flush(self) -> int:
        """Make all waiting events due. Returns the value that `settled` has when they are done."""
        self._flush_to = self.added
        return self._flush_to

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until the next batch is due, 0: at once, None: no event waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._bounds.max_events or self.settled < self._flush_to:
            return 0.0
        return max(0.0, self._waiting[0][1] + self._bounds.max_wait_s - now_s)

    def take(self) -> Batch:
        """The next batch, which is then in progress; empty if no event waits."""
        first = islice((event for event, _ in self._waiting), self._bounds.max_events)
        batch = next(iter(batches(first)), ())
        for _ in batch:
            self._waiting.popleft()
        return batch

    def settle(self, batch: Batch, delivered: Delivered) -> None:
        """Record the result of a batch."""
        self._held -= len(batch)
        self._held_bytes -= sum(len(event.text) for event in batch)
        self.settled += len(batch)
        self.warnings.extend(delivered.warnings)
        self._failures += delivered.failures
        self._failed_bytes += sum(len(failure.event.text) for failure in delivered.failures)

    def brims(self) -> bool:
        """Whether so many events failed that no more can be added until the failures are raised."""
        return (
            len(self._failures) >= self._bounds.capacity or self._failed_bytes >= self._bounds.capacity_bytes
        )

    def unsettled(self) -> int:
        """Events that wait, are in progress, or have failed and were not raised yet."""
        return self._held + len(self._failures)

    def not_accepted(self, *more: Failure) -> NotAccepted | None:
        """Remove the failures and return them as an error; None if there are none."""
        failures = (*self._failures, *more)
        self._failures, self._failed_bytes = [], 0
        if not failures:
            return None
        error = NotAccepted(failures)
        error.__cause__ = failures[0].error
        return error
