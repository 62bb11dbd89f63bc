"""A file of bytes that are read rarely: it grows at its end, and is rewritten when most of it is dead.

Owns: where bytes are, their space. Does not own: which bytes are kept here (invoices). The file has no name, so its
space is free as soon as the process ends, however it ends: what it holds is read again from a topic. A caller holds its
own lock.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from pipeline.errors import Broken

DEAD_BYTES = 67_108_864  # of bytes that are no longer needed, this many may stay


class BodyPlace(NamedTuple):
    """Where bytes are in the file."""

    begin: int
    length: int


class BodyFile:
    """Bytes on the disk.

    Args:
        folder: Where the file is. It is made if it is absent; where that is not allowed, the file is in the system's
            folder for temporary files.
        dead_bytes: The file is rewritten when it has more dead bytes than this, and more than live ones.
    """

    def __init__(self, folder: Path, dead_bytes: int = DEAD_BYTES) -> None:
        self._folder = folder
        self._dead_limit = dead_bytes
        self._opened: IO[bytes] | None = None
        self._end = self._dead = 0

    def append(self, body: bytes) -> BodyPlace:
        """Write bytes at the end. Raises OSError when the disk is full."""
        place = BodyPlace(self._end, len(body))
        if self._opened is None:
            self._opened = tempfile.TemporaryFile(dir=_usable(self._folder), buffering=0)  # noqa: SIM115, see close
        _write(self._opened, body, self._end)
        self._end += len(body)
        return place

    def read(self, place: BodyPlace) -> bytes:
        """The bytes of a place. Raises Broken when they are not there."""
        return _read(self._opened, place)

    def drop(self, place: BodyPlace) -> None:
        """These bytes are no longer needed."""
        self._dead += place.length

    @property
    def is_mostly_dead(self) -> bool:
        """Whether `rewritten` is worth its time."""
        return self._dead > max(self._dead_limit, self._end - self._dead)

    def rewritten(self, places: Iterable[BodyPlace]) -> list[BodyPlace]:
        """Keep the bytes of these places alone; where they are now, in the same order."""
        old, self._opened, self._end, self._dead = self._opened, None, 0, 0
        try:
            return [self.append(_read(old, one)) for one in places]
        finally:
            if old is not None:
                old.close()

    def close(self) -> None:
        """Give the space up."""
        if self._opened is not None:
            self._opened.close()


def _read(file: IO[bytes] | None, place: BodyPlace) -> bytes:
    body = b"" if file is None else os.pread(file.fileno(), place.length, place.begin)
    if len(body) != place.length:
        raise Broken(f"The file of bodies has {len(body)} of {place.length} bytes at {place.begin}.")
    return body


def _write(file: IO[bytes], body: bytes, begin: int) -> None:
    view = memoryview(body)
    while view:
        written = os.pwrite(file.fileno(), view, begin)
        view, begin = view[written:], begin + written


def _usable(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
