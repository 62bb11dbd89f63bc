"""CONTROL: decides commands, alone, in order.

Reads `commands`. Writes `control`, which is its state as well as everybody's, and `replies`.
Keeps: the newest definition of each name. On replay: nothing happened before, the transaction saw to it.
"""

from __future__ import annotations

import faust
import msgspec

from pipeline.core.control import decide, key_of
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.records import Command, Definition, Reply

NAME = "control"
CHANGELOG = Changelog("control")
DEFINITIONS_READ = 100_000

_command = msgspec.json.Decoder(Command).decode
_definition = msgspec.json.Decoder(Definition).decode
_encode = msgspec.json.Encoder().encode


def create(stage: Stage) -> None:
    """There is one partition, so one worker decides."""

    async def control(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is not None:
                fill(transaction)
                transaction.commit()

    stage.agent("commands")(control)


def fill(transaction: Transaction) -> None:
    """Decide each command of the chunk on what those before it left."""
    state = {key.decode(): _definition(value) for key, value in transaction.table.scan(b"", DEFINITIONS_READ)}
    revision = max((definition.revision for definition in state.values()), default=0)
    for record in transaction.chunk.records:
        reply, definitions = _decide(state, record, revision)
        revision = reply.revision
        for definition in definitions:
            state[key_of(definition)] = definition
            transaction.table.put(key_of(definition).encode(), _encode(definition))
        transaction.send("replies", _encode(reply), key=reply.id.encode())
        transaction.read(1)


def _decide(state: dict[str, Definition], record: Record, revision: int) -> tuple[Reply, list[Definition]]:
    try:
        command = _command(record.value or b"")
    except msgspec.DecodeError as error:
        return Reply("", revision, "bad-command", f"The command cannot be read: {error}."), []
    decision = decide(state, command, revision, record.timestamp)
    return decision.reply, decision.definitions
