"""BILLING: everything that changes the bill of a customer, one record after the other.

Reads `billing-work`: usage by customer, clock records, commands of clients, numbers of invoices, marks of settled
usage, facts of Stripe; `control` for customers, plans, features, profiles, apps. Writes `subscriptions`, `invoices`
and `credit-grants` (each changed document once per chunk), `ledger`, `number-requests`, `stripe-work` (orders for
invoices of a Stripe app), `replies`, `commands` (entitlements that follow a subscription), `alerts`, and, outside
transactions, the clock's records to `billing-work`.
Keeps: usage by minute and hour, subscriptions, invoices, credits, replies under idempotency keys, what is due
(`billing-changelog`), counts.
On replay: a record that was applied changes nothing again, and what follows from it is published again from the state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import faust
import msgspec
from prometheus_client import Gauge

from pipeline.agents.barriers import begin, keep_revision, kept_revision
from pipeline.agents.billing_history import BillingHistory
from pipeline.agents.billing_settled import SettledWatcher
from pipeline.agents.clock import Agenda, wall_ms
from pipeline.agents.usage_history import SubjectLog
from pipeline.core.billing.feature_meters import FeatureMeters
from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.bill_rows import BillOutput
from pipeline.core.bills.bill_table import BillTable
from pipeline.core.bills.definitions import BillingDefinitions
from pipeline.core.bills.terms import NEVER_MS, BillTerms
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.json_value import reader_of
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk, Record
from pipeline.engine.partition import Partition
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.records import BillDocument, BillingWork, CustomerWindow
from pipeline.stores.kafka.bills import TOPICS, document_key

NAME = "billing"
WORK, NUMBERS, LEDGER, STRIPE = "billing-work", "number-requests", "ledger", "stripe-work"
CHANGELOG = Changelog("billing-changelog")
COMMAND = b"command"
SWEEP_MS = 3_600_000  # a clock record comes at least so often
LOOK_S = 0.5  # between two checks for historical usage that is needed

LATE = Gauge(
    "tallymark_billing_late_seconds", "how long what is due first on a bill has waited", ["partition"]
)

_windows = reader_of(list[CustomerWindow])
_work = reader_of(BillingWork)
_encode = msgspec.json.Encoder().encode


class _Required(msgspec.Struct):
    """The member of a BillingWork that is needed before it is applied."""

    revision: int = 0


_required = reader_of(_Required)


def clock_value(_: int, items: list[bytes]) -> bytes:
    """A record of the clock; its time is that of the broker."""
    named = [msgspec.json.decode(item, type=list[str]) for item in items]
    return _encode(BillingWork("clock", items=named))


class BillingKnown:
    """The definitions that this worker has loaded. `update` runs in the thread that follows `control`."""

    def __init__(self, agenda: Agenda, partitions: int) -> None:
        self.definitions = BillingDefinitions()
        self.billed = FeatureMeters()
        self.holders = Holders()
        self.subjects = SubjectLog(partitions)
        self.revision = 0
        self.lock = threading.Lock()
        self.agenda = agenda
        self.partitions = partitions

    def update(self, changes: Changes) -> None:
        """Apply changes; a clock record is published to each partition that they may affect."""
        with self.lock:
            self.holders.update(changes)
            self.billed.update(changes)
            self.subjects.update(changes)
            touched = self.definitions.update(changes)
            self.revision = max(self.revision, changes.revision)
        for item in touched:
            kind, namespace, name = item
            of_customer = [customer_hash(namespace, name) % self.partitions]
            for partition in of_customer if kind == "customer" else range(self.partitions):
                self.agenda.add(partition, _encode(item))


@dataclass
class OwnedBills:
    """What a partition has in memory. Another assignment of it is another `partition`."""

    partition: Partition
    index: BillIndex = field(default_factory=BillIndex)


def create(
    stage: Stage, known: BillingKnown, history: BillingHistory, watcher: SettledWatcher, terms: BillTerms
) -> None:
    """The agent.

    Args:
        stage: To add it to.
        known: The definitions.
        history: Loads usage of before a meter was billed.
        watcher: Reports to a partition whose drafts wait for usage that this is complete.
        terms: Settings.
    """
    owned: dict[int, OwnedBills] = {}

    def index_of(transaction: Transaction) -> BillIndex:
        partition = stage.partitions[transaction.chunk.position]
        entry = owned.get(transaction.chunk.partition)
        if entry is None or entry.partition is not partition:
            entry = owned[transaction.chunk.partition] = OwnedBills(partition)
            entry.index.load(transaction.table)
        return entry.index

    async def billing(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            transaction = await begin(stage, chunk, lambda: known.revision, required_revision)
            if transaction is None:
                continue
            index = index_of(transaction)
            now_ms = fill(transaction, known, index, terms)
            waits_ms = index.waits_ms()
            if waits_ms <= now_ms:
                transaction.on_committed(partial(watcher.request, chunk.partition, waits_ms, now_ms))
            transaction.commit()
            next_ms = index.next_ms()
            known.agenda.due(chunk.partition, min(next_ms, now_ms + SWEEP_MS))
            LATE.labels(str(chunk.partition)).set(late_s(next_ms, now_ms))

    def assigned() -> None:
        known.agenda.own(position.partition for position in stage.partitions)
        history.forget()
        watcher.forget()
        LATE.clear()

    async def look() -> None:
        with known.lock:
            meters, revision = known.billed.named, known.revision
        for position, partition in list(stage.partitions.items()):
            if partition.table is not None:
                history.look(position.partition, partition.table, meters, revision, wall_ms() // 1_000)

    stage.agent(WORK)(billing)
    stage.after_assignment = assigned
    stage.app.timer(LOOK_S, name="history")(look)


def late_s(next_ms: int, now_ms: int) -> float:
    """How long what is due first has waited. next_ms: 0: it is due since its usage is settled; NEVER_MS: nothing is."""
    return 0.0 if next_ms in (0, NEVER_MS) else max(0, now_ms - next_ms) / 1_000


def required_revision(transaction: Transaction) -> int:
    """The revision of the definitions that the chunk requires: its commands' callers had read it, or earlier chunks."""
    commands = [record for record in transaction.chunk.records if record.key == COMMAND]
    found = [read(transaction.chunk, record, _required) for record in commands]
    return max([kept_revision(transaction), *(one.revision for one in found if one is not None)])


def fill(transaction: Transaction, known: BillingKnown, index: BillIndex, terms: BillTerms) -> int:
    """Apply each record of the chunk once, and publish what follows. Returns the time that the records reached, ms."""
    with known.lock:
        table = BillTable(transaction.table, index, known.definitions, terms)
        for record in transaction.chunk.records:
            _apply(transaction, table, record)
        keep_revision(transaction, known.revision)
        output = table.flush()
    _publish(transaction, output)
    return table.now_ms


def _apply(transaction: Transaction, table: BillTable, record: Record) -> None:
    chunk = transaction.chunk
    if record.key is None:
        if (windows := read(chunk, record, _windows)) is not None:
            table.take(windows, record.offset, record.timestamp)
            transaction.read(len(windows))
            _count_problems(transaction, table, record)
        return
    work = read(chunk, record, _work)
    if work is None:
        return
    table.apply(work, record.offset, record.timestamp)
    namespace = work.namespace if work.command is None else work.command.namespace
    if namespace and record.offset > transaction.counted_offset:
        transaction.count(namespace, work.kind)
    _count_problems(transaction, table, record)


def _count_problems(transaction: Transaction, table: BillTable, record: Record) -> None:
    """Count the steps that a record could not do, and the usage that it brought too late."""
    for (namespace, problem), number in table.noted().items():
        if record.offset > transaction.counted_offset:
            transaction.count(namespace, problem, number)


def _publish(transaction: Transaction, output: BillOutput) -> None:
    """Send everything that follows from a chunk."""
    _documents(transaction, TOPICS["subscription"], output.subscriptions)
    _documents(transaction, TOPICS["invoice"], output.invoices)
    _documents(transaction, TOPICS["credit"], output.credits)
    for booked in output.ledger:
        transaction.send(
            LEDGER, _encode(booked), key=booked.id.encode(), partition=transaction.chunk.partition
        )
    for asked in output.numbers:
        transaction.send(NUMBERS, _encode(asked), key=asked.invoice.encode(), partition=0)
    for command in output.commands:
        transaction.send("commands", _encode(command), partition=0)
    for alert in output.alerts:
        transaction.send("alerts", _encode(alert), key=alert.id.encode())
    for order in output.stripe:
        transaction.send(
            STRIPE, _encode(order), key=order.kind.encode(), partition=transaction.chunk.partition
        )
    for reply in output.replies:
        transaction.send("replies", _encode(reply), key=(reply.attempt or reply.id).encode(), partition=0)


def _documents(transaction: Transaction, topic: str, documents: Iterable[BillDocument]) -> None:
    for one in documents:
        key = document_key(one.namespace, one.customer, one.id).encode()
        transaction.send(topic, _encode(one), key=key, partition=transaction.chunk.partition)
