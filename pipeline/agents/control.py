"""CONTROL: decides commands, alone, in order.

Reads `commands`. Writes `control`, which is its state as well as everybody's, `replies` and `audit`.
Keeps: the newest definition of each name, the newest replies, the audit log's head. On replay: nothing happened
before, the transaction saw to it; should it have torn, a command at the same offset says again what it said.
A command sent again (same id) gets the same reply, changes nothing and has no further audit record.
"""

from __future__ import annotations

import faust
import msgspec

from pipeline.agents.control_memory import Memory
from pipeline.core.control import Decision, decide, take
from pipeline.core.definitions import audit
from pipeline.core.metering import backfill
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.partition import Partition
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.records import Command, Definition, Reply

NAME = "control"
CHANGELOG = Changelog("control")
MOST_BYTES = 524_288  # of a command: its reply and its definitions have to fit a record

_command = msgspec.json.Decoder(Command).decode
_encode = msgspec.json.Encoder().encode


def create(stage: Stage, shards: int) -> None:
    """There is one partition, so one worker decides. shards: of a backfill."""

    async def control(chunks: faust.Stream[Chunk]) -> None:
        memory: Memory | None = None
        owner: Partition | None = None
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is None:
                continue
            # The chunk before has committed, or the process would have ended. After a change of owner the
            # partition is another object, and what this worker remembers may be old.
            if memory is None or owner is not stage.partitions[chunk.position]:
                memory, owner = Memory(transaction.table), stage.partitions[chunk.position]
            fill(transaction, memory, shards)
            transaction.commit()

    stage.agent("commands")(control)


def fill(transaction: Transaction, memory: Memory, shards: int = 0) -> None:
    """Decide each command of the chunk on what those before it left."""
    memory.turn_to(transaction.table)
    for record in transaction.chunk.records:
        command, refusal = _read(record)
        earlier = memory.earlier(command)
        if earlier is None:
            for definition in _decide(transaction, memory, record, command, refusal):
                for work in backfill.seeds(definition, shards):  # a new meter counts what is stored, too
                    transaction.send(
                        "backfill-work", _encode(work), key=backfill.key_of(work), partition=work.shard
                    )
        else:
            if earlier.offset == record.offset:
                transaction.send("audit", _encode(earlier.audit), partition=0)
            transaction.send("replies", _encode(earlier.reply), key=earlier.reply.id.encode())
        transaction.read(1)


def _decide(
    transaction: Transaction, memory: Memory, record: Record, command: Command, refusal: str
) -> list[Definition]:
    catalog = memory.catalog
    if refusal:
        reply = Reply(command.id, catalog.revision, "bad-command", refusal)
        decision = Decision([], reply, catalog.revision)
    else:
        decision = decide(catalog, command, record.timestamp)
    take(catalog, decision)
    told = audit.following(
        memory.head, command, record.timestamp, decision.reply, decision.before, decision.definitions
    )
    memory.said(command, record.offset, decision.reply, told)
    transaction.send("audit", _encode(told), partition=0)
    transaction.send("replies", _encode(decision.reply), key=decision.reply.id.encode())
    return decision.definitions


def _read(record: Record) -> tuple[Command, str]:
    """The command, and why it cannot be decided; an empty one if it cannot be read either."""
    value = record.value or b""
    try:
        command = _command(value)
    except (msgspec.DecodeError, RecursionError) as error:
        return Command("", "", "", "", record.timestamp, {}), f"The command cannot be read: {error}."
    if len(value) > MOST_BYTES:
        return command, f"The command has {len(value)} bytes; {MOST_BYTES} are the most."
    return command, ""
