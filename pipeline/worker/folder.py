"""The folder of one worker: its lock, and the end of the process that used it before.

Owns: which folder a worker takes, and that the membership of a killed predecessor ends at once. It imports little,
because it runs before the modules of the stage are loaded. Does not own: what is in the folder (engine), or the process
(worker.process).
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.engine import membership
from pipeline.engine.credentials import credentials
from pipeline.errors import Broken
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.consumer_groups import group_of

MOST_WORKERS = 1024  # workers of one stage that may share a state folder


@dataclass(frozen=True, slots=True)
class WorkerFolder:
    """A folder that belongs to this process for as long as its lock is held."""

    path: Path
    _lock: IO[str]

    def release(self) -> None:
        self._lock.close()


def claim(state_dir: Path, stage: str) -> WorkerFolder:
    """Lock the first folder `stage-N` that no running worker uses. Raises Broken if MOST_WORKERS are in use."""
    for number in range(MOST_WORKERS):
        path = state_dir / f"{stage}-{number}"
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return WorkerFolder(path, lock)
    raise Broken(f"{MOST_WORKERS} workers of {stage} use folders in {state_dir}, and that is the limit.")


def end_predecessor(settings: Settings, stage: str, folder: WorkerFolder) -> threading.Thread | None:
    """Leave the group for the process that used the folder before, from a thread of its own.

    Its lock is free, so it is dead. A process that stopped in good order has left the group; a second request then
    changes nothing.

    Returns:
        The thread, or None if no process has used the folder.
    """
    member_id = membership.former(folder.path)
    if member_id is None:
        return None

    def end() -> None:
        # Credentials that cannot be used end the process with a sentence, where it asks Kafka first.
        with contextlib.suppress(OSError, ValueError):
            security = credentials(kafka.client_config(settings))
            membership.end(settings.kafka, security, group_of(stage), member_id)

    thread = threading.Thread(target=end, name="predecessor", daemon=True)
    thread.start()
    return thread
