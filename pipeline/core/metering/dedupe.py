"""Which events are seen for the first time, which are repeats, and whether a repeat says something else.

Owns: the decision, the state entry of an identity, the changelog record of a chunk's entries. Does not own:
the table, how identities are made, the clock (an event's own arrival is "now": a replay decides alike).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from struct import Struct, error
from typing import NamedTuple

import msgspec
from orjson import loads

from pipeline.core.metering.identity import IDENTITY_BYTES
from pipeline.core.values.table import KeyLookup
from pipeline.errors import Broken
from pipeline.records import KEY, AcceptedBatch, Settled

_KEY = Struct(KEY)
_ENTRY = Struct(">qI8sq")  # offset of the packed record, index in it, content, received_at_ms
_HEADER = Struct(">Bq")  # version, newest received_at_ms
_VERSION = 1
_ITEM_BYTES = IDENTITY_BYTES + _ENTRY.size
_NAMESPACE = re.compile(rb'\[("[^"\\]*(?:\\.[^"\\]*)*"),').match

SAME_CONTENT = "same-content"
OTHER_CONTENT = "other-content"


class Deduped(NamedTuple):
    """The results of one packed record, in its order. counts: namespace -> name -> events (records.Counts)."""

    unique: list[tuple[int, msgspec.Raw]]  # subject_hash, Event
    repeats: list[Settled]
    entries: list[tuple[bytes, bytes]]  # identity, entry: to be put, and written to the changelog
    counts: dict[str, dict[str, int]]


def dedupe(batch: AcceptedBatch, position: int, seen: KeyLookup, lifetime_ms: int) -> Deduped:
    """Decide each event of a packed record.

    The first event of an identity is unique. So is one that arrives over `lifetime_ms` after the first, and one that
    was first seen at the same offset and index (a replay): it passes again and its entry is written again. Any other
    is a `duplicate` if its content equals that of the first, else a `conflict`; the entry of the first stays.

    Args:
        batch: events of one namespace.
        position: the record's offset.
        seen: entries by identity.
        lifetime_ms: the dedupe horizon, in ms of arrival.

    Raises:
        Broken: the parts of the record do not fit together.
    """
    keys = _unpack_keys(batch)
    found = seen.get_many([key[0] for key in keys])
    unique: list[tuple[int, msgspec.Raw]] = []
    repeats: list[Settled] = []
    entries: list[tuple[bytes, bytes]] = []
    fresh: dict[bytes, bytes] = {}
    pack = _ENTRY.pack
    conflicts = 0
    for index, (identity, content, received_at_ms, subject_hash) in enumerate(keys):
        entry = fresh.get(identity) or found[index]
        if entry is not None:
            first_offset, first_index, first_content, first_at_ms = _unpack_entry(entry)
            replayed = first_offset == position and first_index == index
            if not replayed and first_at_ms + lifetime_ms >= received_at_ms:
                if first_content == content:
                    repeats.append(Settled(batch.events[index], "duplicate", SAME_CONTENT))
                else:
                    repeats.append(Settled(batch.events[index], "conflict", OTHER_CONTENT))
                    conflicts += 1
                continue
        entry = fresh[identity] = pack(position, index, content, received_at_ms)
        entries.append((identity, entry))
        unique.append((subject_hash, batch.events[index]))
    counts = {
        "read": len(keys),
        "unique": len(unique),
        "duplicate": len(repeats) - conflicts,
        "conflict": conflicts,
    }
    return Deduped(unique, repeats, entries, {_namespace(batch.events): counts} if keys else {})


def expired(entry: bytes, now_ms: int, lifetime_ms: int) -> bool:
    """Whether no event that arrived at `now_ms` or later can be a repeat of this one, so that it may go."""
    received_at_ms: int = _unpack_entry(entry)[3]
    return received_at_ms + lifetime_ms < now_ms


def pack_entries(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The changelog record of a chunk: version (u8), newest arrival (i64), then n x (identity, entry)."""
    newest_at_ms = max((_unpack_entry(entry)[3] for _, entry in entries), default=0)
    return _HEADER.pack(_VERSION, newest_at_ms) + b"".join([part for item in entries for part in item])


def unpack_entries(record: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(identity, entry) of a changelog record, in the order of writing. Raises Broken if it is none."""
    _check_header(record)
    for start in range(_HEADER.size, len(record), _ITEM_BYTES):
        middle = start + IDENTITY_BYTES
        yield record[start:middle], record[middle : start + _ITEM_BYTES]


def _check_header(record: bytes) -> None:
    if len(record) < _HEADER.size or (len(record) - _HEADER.size) % _ITEM_BYTES:
        raise Broken(f"a changelog record of dedupe has {len(record)} bytes: no whole number of entries")
    version, _ = _HEADER.unpack_from(record)
    if version != _VERSION:
        raise Broken(f"a changelog record of dedupe has version {version}; this program knows {_VERSION}")


def _unpack_entry(entry: bytes) -> tuple[int, int, bytes, int]:
    try:
        return _ENTRY.unpack(entry)
    except error:
        raise Broken(f"an entry of dedupe has {len(entry)} bytes, not {_ENTRY.size}") from None


def _unpack_keys(batch: AcceptedBatch) -> list[tuple[bytes, bytes, int, int]]:
    if len(batch.keys) != len(batch.events) * _KEY.size:
        raise Broken(f"a packed record has {len(batch.events)} events and {len(batch.keys)} bytes of keys")
    return list(_KEY.iter_unpack(batch.keys))


def _namespace(events: Sequence[msgspec.Raw]) -> str:
    """The namespace of all events of a packed record: the first field of each."""
    head = _NAMESPACE(events[0])
    if head is None or not all(map(_starts_with(head[0]), events)):
        raise Broken("a packed record does not hold events of one namespace")
    namespace: str = loads(head[1])
    return namespace


@lru_cache(1024)
def _starts_with(text: bytes) -> Callable[[msgspec.Raw], object]:
    return re.compile(re.escape(text)).match
