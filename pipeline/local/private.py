"""Files and folders of the local stack that only their owner may read.

Owns: their modes, and secrets made once. Does not own: what a secret is for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
UMASK = 0o077  # of every process that writes below a private folder
_OURS = ("lock", "tallymark.toml")  # a folder with one of these belongs to a stack


def base(path: Path) -> Path:
    """Makes a stack's own folder, closed to other users.

    A folder that was there before and holds something else keeps its mode: it is not ours to close. What a stack puts
    into it is closed all the same (`folder`, `write`).
    """
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    names = {entry.name for entry in path.iterdir()}
    if not names or not names.isdisjoint(_OURS):
        _close(path, FOLDER_MODE)
    return path


def folder(path: Path) -> Path:
    """Makes a folder of a stack and closes it to other users, and with it everything below."""
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    _close(path, FOLDER_MODE)
    return path


def _close(path: Path, mode: int) -> None:
    if stat.S_IMODE(path.stat().st_mode) & UMASK:
        path.chmod(mode)


def secret(path: Path, make: Callable[[], str]) -> str:
    """The text of a secret file; `make` gives it at the first call, and it stays the same ever after."""
    return read(path) or write(path, make())


def read(path: Path) -> str | None:
    """The text of a secret file, or None where there is none. Closes it to other users where it was open."""
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    _close(path, FILE_MODE)
    return text or None


def write(path: Path, text: str) -> str:
    """Writes a file for its owner alone, whole or not at all, and gives the text."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb") as file:
        file.write(text.encode() + b"\n")
    fresh.replace(path)
    return text
