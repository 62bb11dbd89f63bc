"""STRIPE-SYNC: brings usage of mapped meters into Stripe's meters and invoices to Stripe, each unit and invoice once.

Reads `stripe-work`: windows by customer, orders of billing, clock records, outcomes of calls; `control` for mappings,
apps and customers' ids at Stripe. Writes `stripe-usage` (each changed window once per chunk), `billing-work` (answers
to orders), `commands` (customers that were created at Stripe), and outside transactions `stripe-work` (time, outcomes,
historical usage) and `commands` (to stop an app whose key is refused).
Keeps: usage by minute and window, units confirmed, orders, requests in progress (`stripe-sync-changelog`), counts.
On replay: a record that was applied changes nothing again, and the states that it concerns are published again.
Calls are made after the commit of their request, by two `agents.stripe_dispatch`; their results are records of
`stripe-work`. So a worker that dies anywhere leaves a request whose identifier and bytes the next owner repeats.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import faust
import msgspec
from prometheus_client import Counter, Gauge

from pipeline.agents.barriers import begin, keep_revision, kept_revision
from pipeline.agents.clock import Agenda
from pipeline.agents.stripe_accounts import StripeAccounts
from pipeline.agents.stripe_dispatch import StripeDispatcher
from pipeline.agents.usage_history import FollowedMeter, SubjectLog, UsageHistory
from pipeline.core.billing.stripe_bills import BillFlight
from pipeline.core.billing.stripe_index import NEVER_MS, StripeIndex
from pipeline.core.billing.stripe_mappings import StripeDefinitions
from pipeline.core.billing.stripe_state import StripeFlight, StripeTerms
from pipeline.core.billing.stripe_sweep import StripeSweeps
from pipeline.core.billing.stripe_table import StripeTable, seeded_revision
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.json_value import reader_of
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk
from pipeline.engine.packing import arrays
from pipeline.engine.partition import Partition
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.records import CustomerWindow, StripeWork

NAME = "stripe-sync"
WORK, USAGE, ANSWERS, COMMANDS = "stripe-work", "stripe-usage", "billing-work", "commands"
CHANGELOG = Changelog("stripe-sync-changelog")
SWEEP_MS = 3_600_000  # a clock record comes at least so often
LOOK_S = 0.5

PAST = Counter("tallymark_stripe_past_windows_total", "late windows of usage whose state was removed")
UNSENDABLE = Counter(
    "tallymark_stripe_unsendable_units_total", "units that Stripe does not take, by cause", ["cause"]
)
OPEN = Gauge(
    "tallymark_stripe_lanes_waiting", "customers and mappings that have usage to send", ["partition"]
)
LATE = Gauge(
    "tallymark_stripe_late_seconds", "how long the oldest window that may be sent has waited", ["partition"]
)

_windows = reader_of(list[CustomerWindow])
_work = reader_of(StripeWork)
_encode = msgspec.json.Encoder().encode
PROOF = _encode(["proof"])  # an item that asks for nothing but a commit


def clock_value(ahead_ms: Callable[[], int]) -> Callable[[int, list[bytes]], bytes]:
    """The encoder of clock records. ahead_ms: the time that they bring; 0: that of the broker."""

    def encode(_: int, items: list[bytes]) -> bytes:
        work = StripeWork(
            "clock", ahead_ms(), items=[msgspec.json.decode(item, type=list[str]) for item in items]
        )
        return _encode(work)

    return encode


class StripeKnown:
    """The definitions that this worker has loaded. `update` runs in the thread that follows `control`."""

    def __init__(self, agenda: Agenda, accounts: StripeAccounts, partitions: int) -> None:
        self.definitions = StripeDefinitions()
        self.holders = Holders()
        self.accounts = accounts
        self.subjects = SubjectLog(partitions)
        self.revision = 0
        self.lock = threading.Lock()
        self.agenda = agenda
        self.partitions = partitions

    def update(self, changes: Changes) -> None:
        """Apply changes; a clock record is published to each partition that they may affect."""
        with self.lock:
            self.holders.update(changes)
            self.accounts.update(changes)
            touched = self.definitions.update(changes)
            self.subjects.update(changes)
            self.revision = max(self.revision, changes.revision)
        for one in touched:
            whole = range(self.partitions)
            of_customer = [customer_hash(one.namespace, one.name) % self.partitions]
            for partition in of_customer if one.kind == "customer" else whole:
                self.agenda.add(partition, _encode(one))


@dataclass
class OwnedPartition:
    """What a partition has in memory. Another assignment of it is another `partition`."""

    partition: Partition
    index: StripeIndex = field(default_factory=StripeIndex)


@dataclass(frozen=True)
class Filled:
    """What a chunk has changed. now_ms: the time of the records."""

    flights: list[tuple[bytes, StripeFlight | None]]
    bills: list[tuple[bytes, BillFlight | None]]
    now_ms: int


class StripeDispatchers(NamedTuple):
    """Who calls Stripe: for usage and for invoices, which have limits of their own."""

    usage: StripeDispatcher[StripeFlight]
    invoices: StripeDispatcher[BillFlight]

    def restart(self) -> None:
        """Start with the partitions that the stage owns."""
        self.usage.restart()
        self.invoices.restart()

    async def stop(self) -> None:
        """Return when no call is in progress, or was given up."""
        await asyncio.gather(self.usage.stop(), self.invoices.stop())


def create(
    stage: Stage,
    known: StripeKnown,
    dispatchers: StripeDispatchers,
    history: UsageHistory,
    terms: StripeTerms,
    prove_ms: int,
) -> None:
    """The agent. prove_ms: how often a partition with requests in progress commits, so that it may call Stripe."""
    owned: dict[int, OwnedPartition] = {}
    sweeps = StripeSweeps()

    def index_of(transaction: Transaction) -> StripeIndex:
        partition = stage.partitions[transaction.chunk.position]
        entry = owned.get(transaction.chunk.partition)
        if entry is None or entry.partition is not partition:
            entry = owned[transaction.chunk.partition] = OwnedPartition(partition)
            entry.index.load(transaction.table)
        return entry.index

    async def stripe_sync(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            transaction = await begin(stage, chunk, lambda: known.revision, kept_revision)
            if transaction is None:
                continue
            index = index_of(transaction)
            filled = fill(transaction, known, index, terms, sweeps)
            dispatchers.usage.after(transaction, filled.flights, filled.now_ms)
            dispatchers.invoices.after(transaction, filled.bills, filled.now_ms)
            transaction.commit()
            next_ms = min(
                index.next_ms(), filled.now_ms + (prove_ms if index.busy or index.bills else SWEEP_MS)
            )
            known.agenda.due(chunk.partition, next_ms)
            _observe(str(chunk.partition), index, filled.now_ms)

    def assigned() -> None:
        numbers = [position.partition for position in stage.partitions]
        known.agenda.own(numbers)
        for number in numbers:
            known.agenda.add(number, _encode(["owned"]))
        history.forget()
        OPEN.clear()
        LATE.clear()
        dispatchers.restart()

    async def look() -> None:
        with known.lock:
            mappings, revision = known.definitions.in_force(), known.revision
        for position, partition in list(stage.partitions.items()):
            if partition.table is None:
                continue
            for mapping in mappings:
                seeded = seeded_revision(partition.table, mapping)
                meter = FollowedMeter(mapping.namespace, mapping.id, mapping.meter_id, mapping.from_s)
                history.look(position.partition, meter, seeded, revision)

    stage.agent(WORK)(stripe_sync)
    stage.after_assignment = assigned
    stage.before_revocation = dispatchers.stop
    stage.app.timer(LOOK_S, name="history")(look)


def fill(
    transaction: Transaction, known: StripeKnown, index: StripeIndex, terms: StripeTerms, sweeps: StripeSweeps
) -> Filled:
    """Apply each record of the chunk once, and publish the windows that have changed."""
    chunk = transaction.chunk
    with known.lock:
        table = StripeTable(transaction.table, index, known.definitions, terms)
        for record in chunk.records:
            if record.key is None:
                if (windows := read(chunk, record, _windows)) is not None:
                    table.take(windows, record.offset, record.timestamp)
                    transaction.read(len(windows))
            elif (work := read(chunk, record, _work)) is not None:
                table.apply(work, record.offset, record.timestamp)
                is_new = record.offset > transaction.counted_offset
                if work.namespace and is_new and table.concerns(work):
                    transaction.count(work.namespace, work.outcome or work.kind)
        table.sweep(chunk.partition, sweeps)
        keep_revision(transaction, known.revision)
    table.flush()
    for packed in arrays([_encode(one) for one in table.usage()]):
        transaction.send(USAGE, packed, partition=chunk.partition)
    for cause, units in table.unsendable.items():
        UNSENDABLE.labels(cause).inc(units)
    if table.past:
        PAST.inc(table.past)
    _publish_bills(transaction, table)
    return Filled(table.flights(), table.bill_flights(), table.now_ms)


def _publish_bills(transaction: Transaction, table: StripeTable) -> None:
    for answer in table.answers():
        partition = transaction.chunk.partition  # both topics are cut in the same way
        transaction.send(ANSWERS, _encode(answer), key=answer.kind.encode(), partition=partition)
    for command in table.commands():
        transaction.send(COMMANDS, _encode(command), partition=0)


def _observe(partition: str, index: StripeIndex, now_ms: int) -> None:
    OPEN.labels(partition).set(index.waiting + len(index.busy))
    next_ms = index.next_ms()
    LATE.labels(partition).set(0 if next_ms == NEVER_MS else max(0, now_ms - next_ms) / 1_000)
