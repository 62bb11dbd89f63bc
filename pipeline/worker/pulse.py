"""Whether the event loop of this process runs.

Owns: a beat of the loop, and how long it may be missing. Does not own: the loop (Faust), the response to who asks
(agents.health), or the restart: Kubernetes restarts a worker that is not alive. The consumer has a loop and a thread of
its own, so that a worker whose loop is blocked keeps its partitions and does not work.
"""

from __future__ import annotations

import time
from collections.abc import Callable

BEAT_S = 1.0
MOST_S = 60.0  # longer than any transaction of Kafka may be open


class Pulse:
    """The last beat. `beat` is called in the loop, `stopped` in any thread."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._beat_s: float | None = None

    async def beat(self) -> None:
        """The loop runs."""
        self._beat_s = self._clock_s()

    def stopped(self) -> str:
        """A sentence if the loop ran and has not for MOST_S; otherwise an empty text."""
        if self._beat_s is None:
            return ""
        silent_s = self._clock_s() - self._beat_s
        return f"The event loop has not run for {silent_s:.0f} s." if silent_s > MOST_S else ""
