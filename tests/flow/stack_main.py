"""`python -m tests.flow.stack_main FOLDER WORKERS [STAGE ...]`: the local stack as tests use it.

Owns: free ports, what tests allow, which stages run. Does not own: who starts and ends it (stack_process).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Collection
from pathlib import Path

from pipeline.local import stack

SETTINGS = {
    "TALLYMARK_CLICKHOUSE_SILENCE_S": "60",  # the machine may be slow
    "TALLYMARK_API_TURN_S": "60",
    "TALLYMARK_SESSION_TIMEOUT_S": "5",  # the partitions of a killed worker move sooner
    "TALLYMARK_WEBHOOK_ALLOW_HOSTS": "127.0.0.1:*",  # receivers of tests choose their port later
    "TALLYMARK_WEBHOOK_ALLOW_HTTP": "true",
}


class SomeStages(stack.Stack):
    """The stack with workers of these stages; of all where none is named."""

    def __init__(self, folder: Path, workers: int, stages: Collection[str]) -> None:
        super().__init__(folder, workers, wanted_ports=dict.fromkeys(stack.DEFAULT_PORTS, 0))
        self._stages = stages

    def _choose(self) -> None:
        super()._choose()
        if self._stages:
            self.workers = [worker for worker in self.workers if worker.stage in self._stages]


def end_with_parent() -> None:
    """Ends this process when the other end of its input is closed, however the one who holds it ends."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    os.environ.update(SETTINGS)
    threading.Thread(target=end_with_parent, daemon=True).start()
    stack.run(SomeStages(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
