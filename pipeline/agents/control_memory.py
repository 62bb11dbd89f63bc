"""The state of the control stage between chunks: indices of the definitions, head of the audit log, its last records.

Owns: the entries of these in the table, whose changelog is `control`. Does not own: deciding (core.control), replies
under idempotency keys (control_answers).
Besides definitions the table holds internal entries, whose keys begin with `/`. `/audit/head` is the newest record of
the audit log, with the offset of the newest command. `/reply/N` holds the records of the Nth decision of the newest
chunk: if its transaction was torn, so that the state exists but the offset does not, the same records are published
again. They are Definitions of kinds that no other process knows.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import msgspec

from pipeline.core.definitions.audit import EMPTY, AuditHead
from pipeline.core.definitions.index import OWN, DefinitionIndex
from pipeline.engine.table import Overlay
from pipeline.records import Audit, Definition, Reply

MOST_SLOTS = 8192  # commands that fit into a fetch of 1 MiB
MOST_KNOWN = 4096  # definitions that are kept decoded
NOTHING_YET = -1
_SCANNED = 5000
_DEFINITIONS = b"0"  # sorts after every key that begins with `/`, and not after a namespace
_HEAD = f"{OWN}audit/head"
_SLOTS = f"{OWN}reply/"

_definition = msgspec.json.Decoder(Definition).decode
_encode = msgspec.json.Encoder().encode


def is_slot(key: bytes) -> bool:
    """Whether the entry holds the records of a decision of the newest chunk."""
    return key.startswith(_SLOTS.encode())


class SentRecord(msgspec.Struct, frozen=True):
    """A record of a decision, other than its reply and its audit record. partition -1: chosen by the key."""

    topic: str
    key: str
    value: str
    partition: int = -1


class DecidedCommand(msgspec.Struct, frozen=True):
    """A decided command: its offset in `commands`, and all records of the decision."""

    namespace: str
    offset: int
    reply: Reply
    audit: Audit
    sent: list[SentRecord] = []


class StoredHead(msgspec.Struct, frozen=True):
    """The entry `/audit/head`: the newest record of the audit log, and the offset of the newest command."""

    seq: int
    hash: str
    offset: int = NOTHING_YET


class OwnEntry(msgspec.Struct, frozen=True):
    """An internal entry as it is written: a Definition with a typed body."""

    revision: int
    kind: str
    namespace: str
    name: str
    actor: str
    at_ms: int
    body: StoredHead | DecidedCommand


class StoredDefinitions(MutableMapping[str, Definition]):
    """The table as definitions by log key; iteration leaves out internal entries. Writes go to the chunk's overlay.

    A command reads the same few definitions again and again, most of which are not there yet: the newest that were read
    or written are kept decoded. No other process writes the table, so they stay right as long as every chunk commits.
    """

    def __init__(self, table: Overlay) -> None:
        self.table = table
        self._known: dict[str, Definition | None] = {}

    def __getitem__(self, place: str) -> Definition:
        found = self.get(place)
        if found is None:
            raise KeyError(place)
        return found

    def get(self, place: str, default: object = None) -> Definition | None:  # type: ignore[override]
        """The definition, or None."""
        try:
            return self._known[place]
        except KeyError:
            (value,) = self.table.get_many([place.encode()])
            return self._note(place, None if value is None else _definition(value))

    def __setitem__(self, place: str, definition: Definition) -> None:
        self.table.put(place.encode(), _encode(definition))
        self._note(place, definition)

    def __delitem__(self, place: str) -> None:
        self.table.delete(place.encode())
        self._note(place, None)

    def put_own(self, place: str, own: OwnEntry) -> None:
        """Write an internal entry, which is only read when the memory is made."""
        self.table.put(place.encode(), _encode(own))

    def _note(self, place: str, definition: Definition | None) -> Definition | None:
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[place] = definition
        return definition

    def __iter__(self) -> Iterator[str]:
        return (place for place, _ in self._scanned())

    def committed(self) -> Iterator[Definition]:
        """All definitions, read in bulk."""
        return (_definition(value) for _, value in self._scanned())

    def own(self, prefix: str) -> Iterator[tuple[str, Definition]]:
        """The committed internal entries with this prefix."""
        for key, value in _scan(self.table, prefix.encode()):
            if not (place := key.decode()).startswith(prefix):
                return
            yield place, _definition(value)

    def _scanned(self) -> Iterator[tuple[str, bytes]]:
        """Committed entries, like `Overlay.scan`."""
        for key, value in _scan(self.table, _DEFINITIONS):
            yield key.decode(), value

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Memory:
    """Creating it reads the whole table; it stays valid while every chunk that it was used for commits."""

    def __init__(self, table: Overlay) -> None:
        self._stored = StoredDefinitions(table)
        self.catalog = DefinitionIndex(self._stored, self._stored.committed())
        self.head = EMPTY
        self._decided_to = NOTHING_YET  # offset of the newest decided command
        self._head_ms: int | None = None  # time of the audit log's newest record, until the head is stored
        self._again: dict[int, DecidedCommand] = {}  # by offset: the decisions of the newest chunk
        self._places: dict[int, int] = {}  # by offset: the slot of each decision
        self._slot = 0  # of the next decision
        self._slots = 0  # in use
        if (head := self._stored.get(_HEAD)) is not None:
            stored = msgspec.convert(head.body, StoredHead)
            self.head, self._decided_to = AuditHead(stored.seq, stored.hash), stored.offset
        for place, slot in self._stored.own(_SLOTS):
            decided = msgspec.convert(slot.body, DecidedCommand)
            self._again[decided.offset] = decided
            self._places[decided.offset] = int(place.removeprefix(_SLOTS))
            self._slots = max(self._slots, self._places[decided.offset] + 1)

    @property
    def table(self) -> Overlay:
        """The overlay of the current chunk."""
        return self._stored.table

    def turn_to(self, table: Overlay) -> None:
        """Switch to the overlay of the next chunk."""
        self._stored.table = table
        self._slot = 0

    def again(self, offset: int) -> DecidedCommand | None:
        """The earlier decision of the command at `offset`, when it is read again after a torn transaction."""
        found = self._again.get(offset) if offset <= self._decided_to else None
        if found is not None:
            if self._places[offset] != self._slot:
                self._keep(found)
            else:
                self._slot += 1
        return found

    def is_decided(self, offset: int) -> bool:
        """Whether the command at `offset` was decided before."""
        return offset <= self._decided_to

    def note(self, decided: DecidedCommand) -> None:
        """Store the records of a decision until the next chunk, and advance the head of the audit log."""
        self._keep(decided)
        self.head, self._decided_to = AuditHead(decided.audit.seq, decided.audit.hash), decided.offset
        self._head_ms = decided.audit.at_ms

    def end_chunk(self, last_offset: int) -> None:
        """Store the head of the audit log. Delete the records of earlier chunks, once all were read again.

        A chunk that is read again after a torn transaction may be cut shorter than it was.

        Args:
            last_offset: of the last record of this chunk.
        """
        if self._head_ms is not None:
            self._own(
                "audit/head", self._head_ms, StoredHead(self.head.seq, self.head.hash, self._decided_to)
            )
            self._head_ms = None
        if last_offset < self._decided_to:
            return
        for slot in range(self._slot, self._slots):
            self._stored.table.delete(f"{_SLOTS}{slot}".encode())
        self._slots = min(self._slot, MOST_SLOTS)

    def _keep(self, decided: DecidedCommand) -> None:
        """Store a decision in the next slot."""
        self._own(f"reply/{self._slot % MOST_SLOTS}", decided.audit.at_ms, decided)
        self._slot += 1

    def _own(self, name: str, at_ms: int, body: StoredHead | DecidedCommand) -> None:
        kind, _, last = name.partition("/")
        self._stored.put_own(OWN + name, OwnEntry(self.catalog.revision, kind, "", last, "", at_ms, body))


def _scan(table: Overlay, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    while found := table.scan(start, _SCANNED):
        yield from found
        start = found[-1][0] + b"\0"
