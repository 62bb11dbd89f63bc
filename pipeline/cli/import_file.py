"""A file of items to import: its batches, and how far it has been imported.

Owns: reading lines, the file FILE.import beside it, the keys that make a repeat safe. Does not own: the requests
(imports), what an item is (core.quota.import_item).

The file FILE.import is replaced after each answered batch. A batch that was in progress when the command ended is sent
again under the same Idempotency-Key, so that it is applied once; such a key holds for a day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline.core.values import json_value
from pipeline.errors import Rejected

BATCH_ITEMS = 1000  # the API's limit
BATCH_BYTES = 900_000  # the API takes 1 MiB
KEY_HOLDS_S = 23 * 3600  # an hour less than core.definitions.idempotency.KEPT_MS
ENDING = ".import"


class ImportProgress(msgspec.Struct):
    """How far a file has been imported.

    digest: of the whole file. offset: bytes before the next batch. report_bytes: of the report of refused lines.
    sent_offset: `next_offset` of the newest batch that was sent. sent_at_s: when it was sent first, since 1970.
    """

    digest: str
    offset: int = 0
    lines: int = 0
    applied: int = 0
    refused: int = 0
    report_bytes: int = 0
    sent_offset: int = 0
    sent_at_s: float = 0.0
    is_done: bool = False


class BadLine(NamedTuple):
    """A line that the API would refuse with the whole request. line: from 1."""

    line: int
    detail: str


class ImportBatch(NamedTuple):
    """Some lines. items: line number (from 1) and value of each item. next_offset, next_lines: after them."""

    items: list[tuple[int, object]]
    bad: list[BadLine]
    next_offset: int
    next_lines: int


class ImportFile:
    """A file with one JSON object a line, and its progress."""

    def __init__(self, path: Path) -> None:
        """Raises Rejected `bad-file`: the file cannot be read, or it is another one than was imported in part."""
        self.path = path
        self._progress_path = path.with_name(path.name + ENDING)
        try:
            self.size = path.stat().st_size
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
            self.progress = self._stored() or ImportProgress(digest)
        except OSError as error:
            raise Rejected("bad-file", f"{error.filename} cannot be read: {error.strerror}.") from error
        if self.progress.digest != digest:
            raise Rejected(
                "bad-file",
                f"{path} has changed since its first {self.progress.lines} lines were imported. Put corrected and "
                "remaining lines into another file: a line that was applied would be applied again.",
            )

    def batches(self) -> Iterator[ImportBatch]:
        """The batches that have not been answered yet, in order."""
        with self.path.open("rb") as file:
            file.seek(self.progress.offset)
            batch = ImportBatch([], [], self.progress.offset, self.progress.lines)
            while line := file.readline():
                size = batch.next_offset - self.progress.offset
                if len(batch.items) == BATCH_ITEMS or (size and size + len(line) > BATCH_BYTES):
                    yield batch
                    batch = ImportBatch([], [], batch.next_offset, batch.next_lines)
                batch = _with_line(batch, line)
            if batch.next_offset > self.progress.offset:
                yield batch

    def begin(self, batch: ImportBatch, now_s: float) -> None:
        """Keep when a batch is sent for the first time.

        Raises:
            Rejected: `outcome-unknown`: it was sent so long ago that its key does not hold any more.
        """
        progress = self.progress
        if progress.sent_offset != batch.next_offset:
            self.done(msgspec.structs.replace(progress, sent_offset=batch.next_offset, sent_at_s=now_s))
        elif now_s - progress.sent_at_s > KEY_HOLDS_S:
            raise Rejected(
                "outcome-unknown",
                f"Lines {progress.lines + 1} to {batch.next_lines} of {self.path} were sent more than "
                f"{KEY_HOLDS_S // 3600} hours ago, and the answer did not arrive. Look which of them were applied, and "
                "put the others and all that follow into another file.",
            )

    def key_of(self, batch: ImportBatch) -> str:
        """The Idempotency-Key of a batch: the same whenever it is sent."""
        return f"import-{self.progress.digest}-{batch.next_offset}"

    def done(self, progress: ImportProgress) -> None:
        """Keep the progress. Blocks for one small write."""
        part = self._progress_path.with_name(self._progress_path.name + ".part")
        part.write_bytes(msgspec.json.encode(progress))
        part.replace(self._progress_path)
        self.progress = progress

    def _stored(self) -> ImportProgress | None:
        try:
            return msgspec.json.decode(self._progress_path.read_bytes(), type=ImportProgress)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise Rejected(
                "bad-file", f"{self._progress_path} holds no progress of an import: {error}."
            ) from error


def _with_line(batch: ImportBatch, line: bytes) -> ImportBatch:
    number = batch.next_lines + 1
    if line.strip():
        try:
            if len(line) > BATCH_BYTES:
                raise Rejected("too-large", f"The line has more than {BATCH_BYTES} bytes.")
            json_value.read(b"[" + line.strip() + b"]")  # as the API reads it
            batch.items.append((number, json_value.read_decimals(line.strip())))
        except Rejected as error:
            batch.bad.append(BadLine(number, error.detail))
    return batch._replace(next_offset=batch.next_offset + len(line), next_lines=number)
