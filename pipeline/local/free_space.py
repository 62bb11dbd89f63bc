"""Free disk space of the local ClickHouse: reserved by the engine, watched here.

Owns: how much stays free, and ending the process when the disk is full nevertheless. Does not own: inserts.
chDB ignores a failed write(2): a part or a table's definition that it writes on a full disk is damaged, and the version
that it replaces is removed. So the engine reserves KEPT_BYTES; when other programs use those too, the process ends at
once, as if by kill -9. At its next start ClickHouse sets damaged parts aside and continues with the parts from which
they were merged, which it keeps for some minutes.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

KEPT_BYTES = 64 << 20  # the engine starts neither an insert nor a merge that would leave less
FULL_BYTES = 8 << 20
LOOK_EVERY_S = 0.05
EXIT_FULL = 75  # EX_TEMPFAIL
CONFIG = (
    "<clickhouse><storage_configuration><disks><default><keep_free_space_bytes>{bytes}</keep_free_space_bytes>"
    "</default></disks></storage_configuration></clickhouse>"
)


def config() -> str:
    """The engine's configuration, which keeps KEPT_BYTES free."""
    return CONFIG.format(bytes=KEPT_BYTES)


def is_full(folder: Path) -> bool:
    """Whether so little space is left that a write may have failed."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < FULL_BYTES


class SpaceWatch:
    """Checks the folder's disk from a thread, and calls `when_full` each time that it becomes full."""

    def __init__(self, folder: Path, when_full: Callable[[], None]) -> None:
        self._folder = folder
        self._when_full = when_full
        self._over = threading.Event()
        self._full = is_full(folder)  # nothing is written yet, so no data is damaged
        threading.Thread(target=self._run, name="free-space", daemon=True).start()

    @property
    def has_room(self) -> bool:
        """Whether the disk was not full at the last check."""
        return not self._full

    def close(self) -> None:
        """Stop checking."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            full, before = is_full(self._folder), self._full
            self._full = full
            if full and not before:
                self._when_full()


def end_process(folder: Path) -> None:
    """End this process at once, since a clean shutdown would write."""
    print(
        f"The disk of {folder} has less than {FULL_BYTES >> 20} MiB free. chDB ignores failed writes, so this process "
        "ends; its next start sets damaged parts aside. Run `tallymark reconcile` to see whether rows are missing.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(EXIT_FULL)
