"""One partition's state in RocksDB, written only after its transaction has committed.

Owns: the database, the overlay of a chunk, and the changelog position, which is stored in the same atomic write as the
state. Does not own: reading the changelog back (restore), or the meaning of keys and values.
A crash before the commit replays the chunk; a crash between the commit and the write replays the changelog's tail.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rocksdict import BlockBasedOptions, Cache, DBRecoveryMode, Options, Rdict, WriteBatch

from pipeline.errors import Broken, Unavailable

MEMTABLE_BYTES = 16 << 20
MEMTABLES = 2
BLOCK_CACHE_BYTES = 16 << 20  # per partition: MEMTABLES * MEMTABLE_BYTES + BLOCK_CACHE_BYTES = 48 MiB at most
MAX_OPEN_FILES = 128
BLOOM_BITS = 10  # per key: 1 % false positives

POSITION = b"\xff\xffposition"  # sorts after every state key
DAMAGED = "DAMAGED"  # a file in the database's folder which marks that damage was detected

Item = tuple[bytes, bytes | None]  # None: a tombstone


@dataclass(frozen=True, slots=True)
class Restored:
    """How far the local state has read its changelog, and the Kafka topic id of that changelog.

    writes: see records.Counts; None: unknown, while the table is being restored.
    """

    changelog_id: str
    next_offset: int
    writes: int | None = None


class Damaged(Broken):
    """The database cannot be read: remove its folder and restore the state from the changelog."""


class Table:
    """The state of one input partition.

    Opening raises Damaged, Broken while another process has it open, or Unavailable on an error of the disk.

    Damage that is detected later raises Damaged and is recorded in the folder, so that the next opening raises it too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if (path / DAMAGED).exists():
            raise Damaged(f"the state in {path} is marked as damaged")
        try:
            self._db = Rdict(str(path), _options())
        except Exception as error:  # rocksdict raises no narrower class
            raise opening_error(path, error) from error

    def restored(self) -> Restored | None:
        with self._noting_damage():
            raw = self._db.get(POSITION)
        if raw is None:
            return None
        stored = json.loads(raw)
        return Restored(stored["changelog_id"], stored["next_offset"], stored.get("writes"))

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        with self._noting_damage():
            return cast(list[bytes | None], self._db[cast(Any, keys)])

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """At most `limit` entries from `start` onwards, in key order."""
        found: list[tuple[bytes, bytes]] = []
        with self._noting_damage():
            rows = self._db.iter()
            rows.seek(start)
            while rows.valid() and len(found) < limit:
                key = rows.key()
                if key == POSITION:
                    break
                found.append((key, rows.value()))
                rows.next()
            rows.status()  # raises on damage, which otherwise looks like the end of the table
        return found

    def write(self, items: Iterable[Item], restored: Restored) -> None:
        """Apply `items` and the changelog position in one atomic write."""
        batch = WriteBatch(raw_mode=True)
        for key, value in items:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        position = dataclasses.asdict(restored)
        batch.put(POSITION, json.dumps(position).encode())
        with self._noting_damage():
            self._db.write(batch)

    def estimated_keys(self) -> int:
        return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every entry, for comparison with the changelog."""
        with self._noting_damage():
            rows = self._db.iter()
            rows.seek_to_first()
            while rows.valid():
                if (key := rows.key()) != POSITION:
                    yield key, rows.value()
                rows.next()
            rows.status()  # as in `scan`

    def close(self) -> None:
        with self._noting_damage():
            self._db.close()

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # rocksdict raises no narrower class
            if "Corruption" in str(error):
                (self.path / DAMAGED).touch()
                raise Damaged(
                    f"the state in {self.path} is damaged and has to be restored: {_one_line(error)}"
                ) from error
            if "IO error" in str(error):
                raise Unavailable(f"cannot use the state in {self.path}: {_one_line(error)}") from error
            raise

    @staticmethod
    def remove(path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)


def opening_error(path: Path, error: Exception) -> Exception:
    """The error for a failed opening. Only damage may remove the files."""
    text = _one_line(error)
    if "LOCK" in text:
        return Broken(f"the state in {path} is open in another process: {text}")
    if "Corruption" in text or "No such file" in text:
        return Damaged(f"the state in {path} is damaged: {text}")
    if "IO error" in text:  # no space, no permission, too many open files: the files are intact
        return Unavailable(f"cannot open the state in {path}: {text}")
    return Damaged(f"cannot open the state in {path}: {text}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class Overlay:
    """A chunk's view of a table: its own writes over the committed state. Dropped unless the transaction commits."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.changes: dict[bytes, bytes | None] = {}

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        changes = self.changes
        if not changes:
            return self._table.get_many(keys) if keys else []
        missing = [key for key in keys if key not in changes]
        stored = dict(zip(missing, self._table.get_many(missing), strict=True)) if missing else {}
        return [changes[key] if key in changes else stored[key] for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        self.changes[key] = None

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Committed entries only: use it to find expired entries, not to read the chunk's own writes."""
        return self._table.scan(start, limit)


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_write_buffer_number(MEMTABLES)
    options.set_max_open_files(MAX_OPEN_FILES)
    options.set_keep_log_file_num(2)
    options.set_max_total_wal_size(64 << 20)
    # A log that was cut by a crash is read up to the cut; a wrong byte before it is damage, and raises.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    blocks.set_bloom_filter(BLOOM_BITS, False)
    options.set_block_based_table_factory(blocks)
    return options
