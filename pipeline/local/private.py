"""Files and folders of the local stack that only their owner can read.

Owns: their modes, and secrets that are created once. Does not own: the purpose of a secret.
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
    """Create a stack's own folder, closed to other users.

    A folder that existed before and holds other files keeps its mode, since it is not ours to close. The files of the
    stack in it are closed all the same (`folder`, `write`).
    """
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    names = {entry.name for entry in path.iterdir()}
    if not names or not names.isdisjoint(_OURS):
        _close(path, FOLDER_MODE)
    return path


def folder(path: Path) -> Path:
    """Create a folder of a stack and close it to other users, and so everything below it."""
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    _close(path, FOLDER_MODE)
    return path


def _close(path: Path, mode: int) -> None:
    if stat.S_IMODE(path.stat().st_mode) & UMASK:
        path.chmod(mode)


def secret(path: Path, make: Callable[[], str]) -> str:
    """The text of a secret file; `make` creates it on the first call, and it never changes after that."""
    return read(path) or write(path, make())


def read(path: Path) -> str | None:
    """The text of a secret file, or None if it does not exist. An open mode of the file is closed."""
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    _close(path, FILE_MODE)
    return text or None


def write(path: Path, text: str) -> str:
    """Write a file atomically, for its owner alone, and return the text."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb") as file:
        file.write(text.encode() + b"\n")
    fresh.replace(path)
    return text
