"""What the control stage knows between chunks: the definitions' indices, the audit log's head, what it sent last.

Owns: how these lie in the table, whose changelog is `control`. Does not own: deciding (core.control), the answers under
idempotency keys (control_answers).
Beside definitions the table holds entries of the stage's own, whose keys begin with `/`. `/audit/head` is the newest
record of the audit log, with the offset of the newest command. `/reply/N` is what the Nth decision of the newest chunk
sent: should its transaction tear, so that the state is there and the offset is not, the same is sent again. They are
Definitions of kinds that nobody else knows.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import msgspec

from pipeline.core.definitions.audit import EMPTY, AuditHead
from pipeline.core.definitions.index import OWN, DefinitionIndex
from pipeline.engine.table import Overlay
from pipeline.records import Audit, Definition, Reply

MOST_SLOTS = 8192  # commands that fit a fetch of 1 MiB
NOTHING_YET = -1
_SCANNED = 5000
_DEFINITIONS = b"0"  # sorts behind everything that begins with `/`, and a namespace begins with no less
_HEAD = f"{OWN}audit/head"
_SLOTS = f"{OWN}reply/"

_definition = msgspec.json.Decoder(Definition).decode
_encode = msgspec.json.Encoder().encode


def is_slot(key: bytes) -> bool:
    """Whether the entry is what a decision of the newest chunk sent."""
    return key.startswith(_SLOTS.encode())


class SentRecord(msgspec.Struct, frozen=True):
    """A record that a decision sent beside its reply and its audit record. partition -1: as its key says."""

    topic: str
    key: str
    value: str
    partition: int = -1


class DecidedCommand(msgspec.Struct, frozen=True):
    """A command that was decided: where it stands in `commands`, and all that was sent."""

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


class StoredDefinitions(MutableMapping[str, Definition]):
    """The table as definitions by log key; going over it leaves out the stage's own entries. Writes go to the chunk."""

    def __init__(self, table: Overlay) -> None:
        self.table = table

    def __getitem__(self, place: str) -> Definition:
        (value,) = self.table.get_many([place.encode()])
        if value is None:
            raise KeyError(place)
        return _definition(value)

    def __setitem__(self, place: str, definition: Definition) -> None:
        self.table.put(place.encode(), _encode(definition))

    def __delitem__(self, place: str) -> None:
        self.table.delete(place.encode())

    def __iter__(self) -> Iterator[str]:
        return (place for place, _ in self._scanned())

    def committed(self) -> Iterator[Definition]:
        """All definitions, read in bulk."""
        return (_definition(value) for _, value in self._scanned())

    def own(self, prefix: str) -> Iterator[tuple[str, Definition]]:
        """The committed entries of the stage's own that begin so."""
        for key, value in _scan(self.table, prefix.encode()):
            if not (place := key.decode()).startswith(prefix):
                return
            yield place, _definition(value)

    def _scanned(self) -> Iterator[tuple[str, bytes]]:
        """What is committed, as `Overlay.scan`."""
        for key, value in _scan(self.table, _DEFINITIONS):
            yield key.decode(), value

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Memory:
    """Reading it costs a pass over the table; it stays true while every chunk that it saw commits."""

    def __init__(self, table: Overlay) -> None:
        self._stored = StoredDefinitions(table)
        self.catalog = DefinitionIndex(self._stored, self._stored.committed())
        self.head = EMPTY
        self._decided_to = NOTHING_YET  # offset of the newest command that was decided
        self._again: dict[int, DecidedCommand] = {}  # by offset: what the newest chunk sent
        self._slot = 0  # of the next decision
        self._slots = 0  # in use
        if (head := self._stored.get(_HEAD)) is not None:
            stored = msgspec.convert(head.body, StoredHead)
            self.head, self._decided_to = AuditHead(stored.seq, stored.hash), stored.offset
        for place, slot in self._stored.own(_SLOTS):
            decided = msgspec.convert(slot.body, DecidedCommand)
            self._again[decided.offset] = decided
            self._slots = max(self._slots, int(place.removeprefix(_SLOTS)) + 1)

    @property
    def table(self) -> Overlay:
        """The overlay of the chunk that is worked on."""
        return self._stored.table

    def turn_to(self, table: Overlay) -> None:
        """Work on the next chunk's overlay."""
        self._stored.table = table
        self._slot = 0

    def again(self, offset: int) -> DecidedCommand | None:
        """What was sent when the command at `offset` was decided, where it is read again after a torn transaction."""
        found = self._again.get(offset) if offset <= self._decided_to else None
        if found is not None:
            self._slot += 1
        return found

    def is_decided(self, offset: int) -> bool:
        """Whether the command at `offset` was decided before."""
        return offset <= self._decided_to

    def note(self, decided: DecidedCommand) -> None:
        """Keeps what a decision sent until the next chunk, and moves the audit log's head."""
        at_ms, audit = decided.audit.at_ms, decided.audit
        self._own(f"reply/{self._slot % MOST_SLOTS}", at_ms, msgspec.to_builtins(decided))
        self._slot += 1
        self.head, self._decided_to = AuditHead(audit.seq, audit.hash), decided.offset
        self._own("audit/head", at_ms, msgspec.to_builtins(StoredHead(audit.seq, audit.hash, decided.offset)))

    def end_chunk(self) -> None:
        """Drops what was sent by the chunk before and is not overwritten."""
        for slot in range(self._slot, self._slots):
            self._stored.table.delete(f"{_SLOTS}{slot}".encode())
        self._slots = min(self._slot, MOST_SLOTS)

    def _own(self, name: str, at_ms: int, body: dict[str, object]) -> None:
        kind, _, last = name.partition("/")
        self._stored[OWN + name] = Definition(self.catalog.revision, kind, "", last, "", at_ms, body)


def _scan(table: Overlay, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    while found := table.scan(start, _SCANNED):
        yield from found
        start = found[-1][0] + b"\0"
