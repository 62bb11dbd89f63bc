"""Named crash points: places where a crash is most likely to leave a torn state, for the torture run to hit.

`CRASH_AT=name:nth` makes the process kill itself with SIGKILL when the point `name` is reached for the nth time.
`CRASH_DIR=folder` arms running processes: the first process that reaches `name` and removes the file `folder/name` adds
a line to `folder/hits` and stops itself, with SIGSTOP if the file contains `stop`, else with SIGKILL.
Owns: the engine's points, the registry and the stop. Does not own: the points of stages, which are defined where they
are reached, or the expected state after a crash (tests).
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
    "table.before",
    "table.after",
    "markers.before",
    "markers.after",
)
HITS = "hits"  # file in the folder: one line `name how pid` per stop

_name, _, _nth = os.environ.get("CRASH_AT", "").partition(":")
_left = int(_nth or 1)
_folder = os.environ.get("CRASH_DIR", "")
_defined = list(POINTS)


def define(*points: str) -> tuple[str, ...]:
    """Register the crash points of a stage, and return them."""
    _defined.extend(point for point in points if point not in _defined)
    return points


def require_known() -> None:
    """Raise SystemExit if CRASH_AT names an unknown point. Call it after the stage's modules are imported."""
    if _name and _name not in _defined:
        raise SystemExit(f"CRASH_AT names {_name!r}; known crash points: {', '.join(_defined)}")


def reach(point: str) -> None:
    """Mark that `point` is reached. It costs two comparisons unless a variable is set."""
    global _left  # noqa: PLW0603 - one process, one countdown
    if _folder:
        _stop_if_armed(point)
    if point != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def _stop_if_armed(point: str) -> None:
    path = os.path.join(_folder, point)
    try:
        with open(path, encoding="ascii") as armed:
            how = armed.read().strip() or "kill"
        os.unlink(path)  # only one of several processes succeeds in this
    except FileNotFoundError:
        return
    line = f"{point} {how} {os.getpid()}\n".encode()
    hits = os.open(os.path.join(_folder, HITS), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(hits, line)
    os.fsync(hits)
    os.close(hits)
    os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)
