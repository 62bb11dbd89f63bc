"""What the control stage knows between chunks: the definitions' indices, the newest replies, the audit log's head.

Owns: how these lie in the table, whose changelog is `control`. Does not own: deciding (core.control).
Beside definitions the table holds entries of its own, whose keys begin with `/`: `/reply/N`, the newest REPLIES_KEPT
commands with what was said to them, and `/audit/head`. They are Definitions of kinds that nobody else knows.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import msgspec

from pipeline.core.definitions.audit import EMPTY, Head
from pipeline.core.definitions.index import OWN, Catalog
from pipeline.engine.table import Overlay
from pipeline.records import Audit, Command, Definition, Reply

REPLIES_KEPT = 1000  # a command sent again after that many others is decided again
_SCANNED = 5000
_HEAD = f"{OWN}audit/head"

_definition = msgspec.json.Decoder(Definition).decode
_encode = msgspec.json.Encoder().encode


class Answered(msgspec.Struct):
    """A command that was decided: where it stood in `commands`, and what was said."""

    namespace: str
    offset: int
    reply: Reply
    audit: Audit


class Stored(MutableMapping[str, Definition]):
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

    def _scanned(self) -> Iterator[tuple[str, bytes]]:
        """What is committed, as `Overlay.scan`."""
        start = b""
        while found := self.table.scan(start, _SCANNED):
            for key, value in found:
                if not (place := key.decode()).startswith(OWN):
                    yield place, value
            start = found[-1][0] + b"\0"

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Memory:
    """Reading it costs a pass over the table; it stays true while every chunk that it saw commits."""

    def __init__(self, table: Overlay) -> None:
        self._stored = Stored(table)
        self.catalog = Catalog(self._stored, self._stored.committed())
        self.head = EMPTY
        self._slots: dict[tuple[str, str], int] = {}  # by namespace and command id
        self._commands: dict[int, tuple[str, str]] = {}  # the same the other way
        if (head := self._stored.get(_HEAD)) is not None:
            body = head.body or {}
            self.head = Head(msgspec.convert(body["seq"], int), str(body["hash"]))
        for slot in range(min(self.head.seq + 1, REPLIES_KEPT)):
            if (answered := self._answered(slot)) is not None:
                self._note(slot, (answered.namespace, answered.reply.id))

    def turn_to(self, table: Overlay) -> None:
        """Work on the next chunk's overlay."""
        self._stored.table = table

    def earlier(self, command: Command) -> Answered | None:
        """What was said to the command before, if it was one of the newest REPLIES_KEPT."""
        slot = self._slots.get((command.namespace, command.id))
        return None if slot is None else self._answered(slot)

    def said(self, command: Command, offset: int, reply: Reply, audit: Audit) -> None:
        """Keeps what was said to a command, in place of the oldest."""
        slot = audit.seq % REPLIES_KEPT
        answered = Answered(command.namespace, offset, reply, audit)
        self._own(f"reply/{slot}", audit.at_ms, msgspec.to_builtins(answered))
        self._note(slot, (command.namespace, command.id))
        self.head = Head(audit.seq, audit.hash)
        self._own("audit/head", audit.at_ms, {"seq": audit.seq, "hash": audit.hash})

    def _note(self, slot: int, command: tuple[str, str]) -> None:
        if (old := self._commands.get(slot)) is not None and self._slots.get(old) == slot:
            del self._slots[old]
        self._commands[slot] = command
        if command[1]:  # what could not be read has no id
            self._slots[command] = slot

    def _own(self, name: str, at_ms: int, body: dict[str, object]) -> None:
        kind, _, last = name.partition("/")
        self._stored[OWN + name] = Definition(self.catalog.revision, kind, "", last, "", at_ms, body)

    def _answered(self, slot: int) -> Answered | None:
        found = self._stored.get(f"{OWN}reply/{slot}")
        return None if found is None else msgspec.convert(found.body, Answered)
