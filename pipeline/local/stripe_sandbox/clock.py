"""The sandbox's time: that of the machine, moved as far as a test asks.

Owns: the offset. Does not own: what depends on time.
"""

from __future__ import annotations

import time


class SandboxClock:
    """Runs at the machine's speed. Moving it back is refused: Stripe's time only grows."""

    def __init__(self, start_s: int | None = None) -> None:
        self._offset_us = 0 if start_s is None else start_s * 1_000_000 - _machine_us()

    def now_s(self) -> int:
        """Seconds since 1970."""
        return self.now_us() // 1_000_000

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return _machine_us() + self._offset_us

    def set(self, at_us: int) -> None:
        """Run on from an instant, microseconds since 1970: for a sandbox that does again what it did."""
        self._offset_us = at_us - _machine_us()

    def advance(self, seconds: int) -> None:
        """Move forward. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError("the sandbox's clock only moves forward")
        self._offset_us += seconds * 1_000_000


def _machine_us() -> int:
    return time.time_ns() // 1_000
