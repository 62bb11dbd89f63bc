"""Files and folders of the local stack that only their owner may read.

Owns: their modes, and secrets made once. Does not own: what a secret is for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import Rejected

FOLDER_MODE = 0o700
FILE_MODE = 0o600
UMASK = 0o077  # of every process that writes below a private folder
_OURS = ("lock", "tallymark.toml", "admin.key")  # a folder with one of these belongs to a stack


def folder(path: Path) -> Path:
    """Makes the folder and closes it to other users; everything below it is closed with it.

    Raises:
        Rejected: `not-private`, when it is open to others and holds files of something else, or belongs to
            another user: its mode is then not ours to change.
    """
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & UMASK == 0:
        return path
    names = {entry.name for entry in path.iterdir()}
    if found.st_uid != os.geteuid() or (names and names.isdisjoint(_OURS)):
        raise Rejected(
            "not-private",
            f"{path} is open to other users and holds more than a stack's data; name an empty folder, or close it "
            f"with `chmod 700 {path}`.",
        )
    path.chmod(FOLDER_MODE)
    return path


def secret(path: Path, make: Callable[[], str]) -> str:
    """The text of a secret file; `make` gives it at the first call, and it stays the same ever after."""
    return read(path) or write(path, make())


def read(path: Path) -> str | None:
    """The text of a secret file, or None where there is none. Closes it to other users where it was open."""
    try:
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    if stat.S_IMODE(path.stat().st_mode) & UMASK:
        path.chmod(FILE_MODE)
    return text or None


def write(path: Path, text: str) -> str:
    """Writes a file for its owner alone, whole or not at all, and gives the text."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "w") as file:
        file.write(text + "\n")
    fresh.replace(path)
    return text
