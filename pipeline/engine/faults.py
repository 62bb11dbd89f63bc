"""Named crash points: places where a kill is most likely to tear something, hit on purpose by the torture run.

`CRASH_AT=name:nth` makes the process kill itself with SIGKILL when the point `name` is reached for the nth time.
Owns: the registry. Does not own: what is right afterwards (tests).
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "assign.begin",
    "assign.fenced",
    "restore.half",
    "restore.done",
    "revoke",
    "chunk.begin",
    "produce.before",
    "produce.after",
    "offsets.before",
    "offsets.after",
    "commit.before",
    "commit.after",
    "table.after",
    "sink.before-insert",
    "sink.after-insert",
)

_name, _, _nth = os.environ.get("CRASH_AT", "").partition(":")
_left = int(_nth or 1)
if _name and _name not in POINTS:
    raise SystemExit(f"CRASH_AT names {_name!r}; known crash points: {', '.join(POINTS)}")


def reach(point: str) -> None:
    """Say that `point` is reached. Costs one comparison unless CRASH_AT is set."""
    global _left  # noqa: PLW0603 - one process, one countdown
    if point != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
