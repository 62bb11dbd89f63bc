"""CONTROL: decides commands, one after the other.

Reads `commands`. Writes `control`, which is its own state and the definitions of every process, `control-changelog`,
`replies`, `audit`, and the work of decisions: `backfill-work` for a new meter, `alerts` and `webhook-work` for tests
and resends, `stripe-work` for retries.
Keeps: the newest definition of each name, the head of the audit log, the records of the newest chunk (RocksDB;
`control`); replies under idempotency keys (RocksDB; `control-changelog`).
On replay: the transaction was aborted, so nothing has happened; if it was torn, a command at the same offset publishes
the same records again. All commands of a chunk are decided in one transaction, and those that
come while it commits in the next one.
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
from pipeline.core.metering.identity import customer_hash
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
from pipeline.records import Alert, Command, Reply, StripeWork, WebhookWork

NAME = "control"
MOST_BYTES = 524_288  # limit of a command: its reply and its definitions must fit into a record

_command = reader_of(Command)
_encode = msgspec.json.Encoder().encode

ReadAnswers = Callable[[int], Iterable[list[Item]]]  # see control_answers.fill


def _pack(changes: Mapping[bytes, bytes | None]) -> Iterable[Pair]:
    """The entries that every process reads. Replies have a topic of their own."""
    return [(key, value) for key, value in changes.items() if not control_answers.is_answer(key)]


CHANGELOG = Changelog("control", _pack)


class Partitions(NamedTuple):
    """The partition counts of the topics on which decisions publish work. backfill 0: no backfills."""

    backfill: int = 0
    webhook: int = 1
    stripe: int = 1


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
            # The previous chunk has committed, or the process would have ended. After a change of owner the
            # partition is another object, and the memory of this worker may be outdated.
            if memory is None or owner is not stage.partitions[chunk.position]:
                owner = stage.partitions[chunk.position]
                if owner.table is not None:
                    await asyncio.to_thread(control_answers.fill, owner.table, read_answers)
                memory, expiry = Memory(transaction.table), control_answers.Expiry()
            fill(transaction, memory, partitions)
            expiry.advance(transaction.table, chunk.records[-1].timestamp, len(chunk.records))
            transaction.commit()

    stage.agent("commands")(control)


def fill(transaction: Transaction, memory: Memory, partitions: Partitions = NO_BACKFILL) -> None:
    """Decide each command of the chunk, on the state that the previous ones left."""
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
    """Decide a command and record it; None for a command that was applied before, which only gets a reply."""
    catalog = memory.catalog
    done = control_answers.find(transaction.table, command, record.offset, record.timestamp)
    try:
        if refusal:
            raise Rejected("bad-command", refusal)
        if done is not None:
            if not command.applied:
                _reply(transaction, repeated(done, command))
            return None
        if memory.is_decided(record.offset):
            raise Broken(
                f"The state of control includes the command at offset {record.offset}, but not its records."
            )
        decision = decide(catalog, command, record.timestamp)
    except Rejected as rejected:
        decision = refused(command, catalog.revision, rejected)
    take(catalog, decision)
    for definition in decision.definitions:
        for work in backfill.seeds(definition, partitions.backfill):  # a new meter also counts stored events
            transaction.send("backfill-work", _encode(work), key=backfill.key_of(work), partition=work.shard)
    entry = audit.following(
        memory.head, command, record.timestamp, decision.reply, decision.before, decision.definitions
    )
    sent = [sent_record(one, partitions) for one in decision.sends]
    decided = DecidedCommand(command.namespace, record.offset, decision.reply, entry, sent)
    memory.note(decided)
    return decided


def _send(transaction: Transaction, command: Command, decided: DecidedCommand) -> None:
    """Publish the records of a decision, for the first time or again."""
    reply = decided.reply
    transaction.send("audit", _encode(decided.audit), partition=0)
    for one in decided.sent:
        transaction.send(one.topic, one.value.encode(), key=one.key.encode(), partition=one.partition)
    if command.request and not reply.error:
        done = DoneCommand(decided.audit.at_ms, decided.offset, command.request, reply)
        key, value = control_answers.keep(transaction.table, command, done)
        transaction.send(control_answers.TOPIC, value, key=key, partition=0)
    if not command.applied:
        _reply(transaction, reply)


def _reply(transaction: Transaction, reply: Reply) -> None:
    transaction.send("replies", _encode(reply), key=(reply.attempt or reply.id).encode(), partition=0)


def sent_record(one: Alert | WebhookWork | StripeWork, partitions: Partitions) -> SentRecord:
    """The record by which a decision's work reaches its stage."""
    if isinstance(one, Alert):
        return SentRecord("alerts", one.id, _encode(one).decode())
    if isinstance(one, StripeWork):
        partition = customer_hash(one.namespace, one.customer) % partitions.stripe
        return SentRecord("stripe-work", one.kind, _encode(one).decode(), partition)
    partition = partition_of(one.namespace, one.endpoint, partitions.webhook)
    return SentRecord("webhook-work", one.endpoint, _encode(one).decode(), partition)


def _read(record: Record) -> tuple[Command, str]:
    """The command, and why it cannot be decided; an empty command if it cannot be decoded."""
    value = record.value or b""
    try:
        command = _command(value)
    except Rejected as error:
        return Command("", "", "", "", record.timestamp, {}), f"The command cannot be decoded. {error.detail}"
    if len(value) > MOST_BYTES:
        return command, f"The command has {len(value)} bytes, but the limit is {MOST_BYTES}."
    return command, ""
