"""`python -m tests.flow.stripe_worker`: a worker of stripe-sync whose clock a test moves.

The file that STRIPE_CLOCK names holds how many milliseconds the clock is ahead of the machine's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.settings import Settings, load
from pipeline.stores.kafka.topic import Topic
from pipeline.worker import process, wiring
from pipeline.worker.folder import claim

READ_EVERY_S = 0.02


class MovedClock:
    """ms since 1970, ahead of the machine's clock by what a file holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_s = 0.0
        self._ahead_ms = 0

    def __call__(self) -> int:
        now_s = time.monotonic()
        if now_s - self._read_s > READ_EVERY_S:
            self._read_s, self._ahead_ms = now_s, int(self._path.read_text() or self._ahead_ms)
        return time.time_ns() // 1_000_000 + self._ahead_ms


def main() -> None:
    clock = MovedClock(Path(os.environ["STRIPE_CLOCK"]))

    def wired(stage: str, settings: Settings, declared: Mapping[str, Topic]) -> wiring.StageWiring:
        assert stage == "stripe-sync"
        return wiring.stripe_sync(settings, declared, clock)

    settings = load()
    process.main("stripe-sync", settings, claim(settings.state_dir, "stripe-sync"), wired)


if __name__ == "__main__":
    main()
