"""CONTROL: decides commands, alone, in order.

Reads `commands`. Writes `control`, which is its state as well as everybody's, `control-changelog`, `replies`, `audit`,
and what decisions set off: `backfill-work` for a new meter, `alerts` and `webhook-work` for tests and resends.
Keeps: the newest definition of each name, the audit log's head, what the newest chunk sent (RocksDB; `control`);
answers under idempotency keys (RocksDB; `control-changelog`).
On replay: nothing happened before, the transaction saw to it; should it have torn, a command at the same offset sends
again what it sent. All commands of a chunk are decided in one transaction, and those that come while it commits in
the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import faust
import msgspec

from pipeline.agents import control_answers
from pipeline.agents.control_memory import DecidedCommand, Memory, SentRecord
from pipeline.core.control import decide, refused, take
from pipeline.core.definitions import audit
from pipeline.core.definitions.idempotency import DoneCommand, repeated
from pipeline.core.metering import backfill
from pipeline.core.notifications.delivery_table import partition_of
from pipeline.core.values.json_value import reader_of
from pipeline.engine.changelog import Changelog, Pair
from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.group_commit import joined
from pipeline.engine.partition import Partition
from pipeline.engine.stage import Stage
from pipeline.engine.table import Item
from pipeline.engine.transaction import Transaction
from pipeline.errors import Broken, Rejected
from pipeline.records import Alert, Command, Reply, WebhookWork

NAME = "control"
MOST_BYTES = 524_288  # of a command: its reply and its definitions have to fit a record

_command = reader_of(Command)
_encode = msgspec.json.Encoder().encode

ReadAnswers = Callable[[int], Iterable[list[Item]]]  # see control_answers.fill


def _pack(changes: Mapping[bytes, bytes | None]) -> Iterable[Pair]:
    """What every process reads. Answers have a topic of their own."""
    return [(key, value) for key, value in changes.items() if not control_answers.is_answer(key)]


CHANGELOG = Changelog("control", _pack)


class Partitions(NamedTuple):
    """How many partitions the topics have on which decisions put work. backfill 0: no backfills."""

    backfill: int = 0
    webhook: int = 1


NO_BACKFILL = Partitions()


def create(stage: Stage, partitions: Partitions, read_answers: ReadAnswers) -> None:
    """`commands` has one partition, so one worker decides."""

    async def control(chunks: faust.Stream[Chunk]) -> None:
        memory: Memory | None = None
        owner: Partition | None = None
        expiry = control_answers.Expiry()
        async for chunk in joined(aiter(chunks), stage.committing):
            if (transaction := await stage.begin(chunk)) is None:
                continue
            # The chunk before has committed, or the process would have ended. After a change of owner the
            # partition is another object, and what this worker remembers may be old.
            if memory is None or owner is not stage.partitions[chunk.position]:
                owner = stage.partitions[chunk.position]
                if owner.table is not None:
                    await asyncio.to_thread(control_answers.fill, owner.table, read_answers)
                memory, expiry = Memory(transaction.table), control_answers.Expiry()
            fill(transaction, memory, partitions)
            expiry.advance(transaction.table, chunk.records[-1].timestamp)
            transaction.commit()

    stage.agent("commands")(control)


def fill(transaction: Transaction, memory: Memory, partitions: Partitions = NO_BACKFILL) -> None:
    """Decide each command of the chunk on what those before it left."""
    memory.turn_to(transaction.table)
    for record in transaction.chunk.records:
        command, refusal = _read(record)
        decided = memory.again(record.offset)
        if decided is None:
            decided = _decide(transaction, memory, record, command, refusal, partitions)
        if decided is not None:
            _send(transaction, command, decided)
        transaction.read(1)
    memory.end_chunk(transaction.chunk.records[-1].offset)


def _decide(
    transaction: Transaction,
    memory: Memory,
    record: Record,
    command: Command,
    refusal: str,
    partitions: Partitions,
) -> DecidedCommand | None:
    """Decides and notes it; None for a command that was done before, which is only answered."""
    catalog = memory.catalog
    done = control_answers.find(transaction.table, command, record.offset, record.timestamp)
    try:
        if refusal:
            raise Rejected("bad-command", refusal)
        if done is not None:
            _reply(transaction, repeated(done, command))
            return None
        if memory.is_decided(record.offset):
            raise Broken(
                f"The state of control has the command at offset {record.offset}, and not what it sent."
            )
        decision = decide(catalog, command, record.timestamp)
    except Rejected as rejected:
        decision = refused(command, catalog.revision, rejected)
    take(catalog, decision)
    for definition in decision.definitions:
        for work in backfill.seeds(definition, partitions.backfill):  # a new meter counts what is stored, too
            transaction.send("backfill-work", _encode(work), key=backfill.key_of(work), partition=work.shard)
    told = audit.following(
        memory.head, command, record.timestamp, decision.reply, decision.before, decision.definitions
    )
    sent = [_sent(one, partitions.webhook) for one in decision.sends]
    decided = DecidedCommand(command.namespace, record.offset, decision.reply, told, sent)
    memory.note(decided)
    return decided


def _send(transaction: Transaction, command: Command, decided: DecidedCommand) -> None:
    """Everything that a decision sends, for the first time or again."""
    reply = decided.reply
    transaction.send("audit", _encode(decided.audit), partition=0)
    for one in decided.sent:
        transaction.send(one.topic, one.value.encode(), key=one.key.encode(), partition=one.partition)
    if command.request and not reply.error:
        done = DoneCommand(decided.audit.at_ms, decided.offset, command.request, reply)
        key, value = control_answers.keep(transaction.table, command, done)
        transaction.send(control_answers.TOPIC, value, key=key, partition=0)
    _reply(transaction, reply)


def _reply(transaction: Transaction, reply: Reply) -> None:
    transaction.send("replies", _encode(reply), key=(reply.attempt or reply.id).encode(), partition=0)


def _sent(one: Alert | WebhookWork, partitions: int) -> SentRecord:
    if isinstance(one, Alert):
        return SentRecord("alerts", one.id, _encode(one).decode())
    partition = partition_of(one.namespace, one.endpoint, partitions)
    return SentRecord("webhook-work", one.endpoint, _encode(one).decode(), partition)


def _read(record: Record) -> tuple[Command, str]:
    """The command, and why it cannot be decided; an empty one if it cannot be read either."""
    value = record.value or b""
    try:
        command = _command(value)
    except Rejected as error:
        return Command("", "", "", "", record.timestamp, {}), f"The command cannot be read. {error.detail}"
    if len(value) > MOST_BYTES:
        return command, f"The command has {len(value)} bytes; {MOST_BYTES} are the most."
    return command, ""
