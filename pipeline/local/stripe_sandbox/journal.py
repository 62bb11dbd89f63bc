"""What a sandbox has done, on disk, so that it holds the same objects and sums after a restart.

Owns: the form of the file, and doing everything again at the times at which it was done. Does not own: what a call does
(call). It has one line for each call that changed something, also where its answer was lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec


class JournalEntry(msgspec.Struct, omit_defaults=True):
    """A call that was executed.

    Attributes:
        at_us: by the sandbox's clock, microseconds since 1970.
        method, path, body: of the request.
        secret: that a new webhook endpoint got; empty for other calls.
    """

    at_us: int
    method: str
    path: str
    body: str
    secret: str = ""


class SandboxJournal:
    """One file, which grows. A line that was cut off by a kill was never answered and is dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decode = msgspec.json.Decoder(JournalEntry).decode

    def entries(self) -> Iterator[JournalEntry]:
        """Every call, oldest first."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines[:-1]:
            yield self._decode(line)
        if lines[-1]:
            with self._path.open("r+b") as file:
                file.truncate(self._path.stat().st_size - len(lines[-1]))

    def add(self, entry: JournalEntry) -> None:
        """Append a call before it is answered."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")
