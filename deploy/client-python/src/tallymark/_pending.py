"""What a buffer holds: events that wait, those under way, and those that failed.

Owns: bounds, when a batch is due, the count of what is settled. Does not own: threads, tasks, locks, clocks.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple

from tallymark._batch import MAX_EVENTS, Batch, batches
from tallymark._errors import Failure, NotAccepted
from tallymark._event import Prepared
from tallymark._ingest import Delivered, IngestWarning

MAX_WARNINGS = 1_000  # the newest are kept


class Bounds(NamedTuple):
    """max_events: of a batch. max_wait_s: that an event waits for others. capacity*: waiting and under way."""

    max_events: int
    max_wait_s: float
    capacity: int
    capacity_bytes: int

    def check(self) -> Bounds:
        """Itself. Raises ValueError for bounds that nothing fits in."""
        if not 1 <= self.max_events <= MAX_EVENTS:
            raise ValueError(f"max_events is 1 to {MAX_EVENTS}, not {self.max_events}")
        if self.max_wait_s < 0 or self.capacity < self.max_events or self.capacity_bytes < 1:
            raise ValueError(
                "max_wait_s is at least 0, capacity at least max_events, capacity_bytes at least 1"
            )
        return self


class Pending:
    """Not safe for threads by itself."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._waiting: deque[tuple[Prepared, float]] = deque()
        self._held = 0  # waiting and under way
        self._held_bytes = 0
        self._failures: list[Failure] = []
        self._failed_bytes = 0
        self._flush_to = 0
        self.added = 0  # events ever taken in
        self.settled = 0  # of those, in their order: accepted or failed
        self.warnings: deque[IngestWarning] = deque(maxlen=MAX_WARNINGS)

    def has_room(self, event: Prepared) -> bool:
        """Whether the event may wait here; one alone always may."""
        return not self._held or (
            self._held < self._bounds.capacity
            and self._held_bytes + len(event.text) <= self._bounds.capacity_bytes
        )

    def put(self, event: Prepared, now_s: float) -> bool:
        """Takes the event in. True if the sender should look: it is the first, or a batch is full."""
        self._waiting.append((event, now_s))
        self._held += 1
        self._held_bytes += len(event.text)
        self.added += 1
        return len(self._waiting) in (1, self._bounds.max_events)

    def flush(self) -> int:
        """Makes all that waits due. The result is what `settled` reaches when it is done."""
        self._flush_to = self.added
        return self._flush_to

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until a batch is to be sent, 0 for now, None while nothing waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._bounds.max_events or self.settled < self._flush_to:
            return 0.0
        return max(0.0, self._waiting[0][1] + self._bounds.max_wait_s - now_s)

    def take(self) -> Batch:
        """The next batch, which is then under way; empty while nothing waits."""
        first = islice((event for event, _ in self._waiting), self._bounds.max_events)
        batch = next(iter(batches(first)), ())
        for _ in batch:
            self._waiting.popleft()
        return batch

    def settle(self, batch: Batch, delivered: Delivered) -> None:
        """What became of a batch taken before."""
        self._held -= len(batch)
        self._held_bytes -= sum(len(event.text) for event in batch)
        self.settled += len(batch)
        self.warnings.extend(delivered.warnings)
        self._failures += delivered.failures
        self._failed_bytes += sum(len(failure.event.text) for failure in delivered.failures)

    def brims(self) -> bool:
        """Whether so much failed that no more may be taken in until somebody has taken the failures."""
        return (
            len(self._failures) >= self._bounds.capacity or self._failed_bytes >= self._bounds.capacity_bytes
        )

    def unsettled(self) -> int:
        """Events that wait, are under way, or have failed and were not told to anybody."""
        return self._held + len(self._failures)

    def not_accepted(self, *more: Failure) -> NotAccepted | None:
        """The failures as an error, once: they are no longer held here. None if there are none."""
        failures = (*self._failures, *more)
        self._failures, self._failed_bytes = [], 0
        if not failures:
            return None
        error = NotAccepted(failures)
        error.__cause__ = failures[0].error
        return error
