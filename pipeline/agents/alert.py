"""ALERT: keeps the balance of every entitlement, and fires alerts in the same transaction.

Reads `customer-usage`: windows by customer, and clock records for changes without an event; `control` for entitlements,
grants, features and rules. Writes `balances`, `alerts` and `late-usage`. Keeps: balances, volumes, fired thresholds,
when each account is due, the revision of the definitions (`alert-changelog`). A record changes an account in one step
of the core (core.notifications.account_step); this module finds the accounts and publishes the results of the steps.
On replay: a record that was applied changes nothing again, and produces the same output again.
Accounts stay in memory from chunk to chunk (account_step.StepState), as the last commit has left them.
"""

from __future__ import annotations

import heapq
import threading
from typing import Annotated

import faust
import msgspec

from pipeline.agents.alert_seeding import Job, Seeding
from pipeline.agents.barriers import begin, keep_revision, kept_revision
from pipeline.agents.clock import KEY, NEVER_MS, Agenda
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.identity import customer_hash
from pipeline.core.notifications.account_step import (
    AccountRecord,
    AccountStep,
    MissingHistory,
    StepState,
    update,
)
from pipeline.core.notifications.balance_alerts import AlertAt
from pipeline.core.notifications.entitlement_rules import Rules
from pipeline.core.notifications.volume_alerts import VolumeRules, evaluate_volumes, sweep
from pipeline.core.quota import balance_update
from pipeline.core.quota.accounts import Account, AccountName, Accounts
from pipeline.core.quota.balance_update import DUE, MOST_CALLED, BalanceMoved
from pipeline.core.values.calendar import HOUR_S, NEVER_S
from pipeline.core.values.json_value import reader_of
from pipeline.core.values.sweep import SweepProgress
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk
from pipeline.engine.partition import Partition
from pipeline.engine.stage import Stage
from pipeline.engine.table import Overlay
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.records import Alert, CustomerWindow, LateUsage

NAME = "alert"
INPUT = "customer-usage"
CHANGELOG = Changelog("alert-changelog")
DUE_ROWS = 10_000  # read in one scan when a partition is taken over
ACCOUNT, SEEDED = "account", "seeded"  # the kinds of items in a clock record

_windows = reader_of(list[CustomerWindow])
_items = reader_of(list[Annotated[list[str], msgspec.Meta(min_length=4)]])
_encode = msgspec.json.Encoder().encode


def clock_value(_: int, items: list[bytes]) -> bytes:
    """A clock record: its items are ["account", namespace, customer, feature] or ["seeded", ..., mark]."""
    return b"[" + b",".join(items) + b"]"


class Known:
    """The definitions that this worker has loaded. `update` runs in the thread that follows `control`."""

    def __init__(self, agenda: Agenda, partitions: int) -> None:
        self.accounts = Accounts()
        self.holders = Holders()
        self.rules = Rules()
        self.volumes = VolumeRules()
        self.revision = 0
        self.lock = threading.Lock()
        self.agenda = agenda
        self._partitions = partitions

    def update(self, changes: Changes) -> None:
        """Apply changes; a clock record is published for each account that they affect."""
        with self.lock:
            self.holders.update(changes)
            touched = self.accounts.update(changes)
            self.volumes.update(changes)
            namespaces = self.rules.update(changes)
            if namespaces:  # a new rule applies to existing accounts
                touched |= {name for name in self.accounts.names() if name[0] in namespaces}
            self.revision = max(self.revision, changes.revision)
        for name in touched:
            self.agenda.add(self.partition(name), _encode((ACCOUNT, *name)))

    def partition(self, name: AccountName) -> int:
        """The partition of an account's usage."""
        return customer_hash(name[0], name[1]) % self._partitions


class Timers:
    """When accounts of one partition are due: the entries of the state, in memory and sorted."""

    def __init__(self) -> None:
        self.sweeping = SweepProgress(rest=1)  # hours
        self._due: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []

    def load(self, table: Overlay) -> None:
        """Load all due times from the state."""
        start = DUE
        while rows := table.scan(start, DUE_ROWS):
            for key, value in rows:
                if not key.startswith(DUE):
                    return
                self.set(*balance_update.read_due((key, value)))
            start = rows[-1][0] + b"\x00"

    def set(self, account: bytes, at_s: int) -> None:
        if at_s == NEVER_S:
            self._due.pop(account, None)
        elif self._due.get(account) != at_s:
            self._due[account] = at_s
            heapq.heappush(self._heap, (at_s, account))

    def take(self, now_s: int, most: int = MOST_CALLED) -> list[bytes]:
        """Remove and return the accounts that are due at `now_s`, at most `most` of them."""
        found: list[bytes] = []
        while self._heap and self._heap[0][0] <= now_s and len(found) < most:
            at_s, account = heapq.heappop(self._heap)
            if self._due.get(account) == at_s:
                del self._due[account]
                found.append(account)
        return found

    def next_s(self) -> int:
        """When the first account is due; NEVER_S if none is."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER_S


def create(stage: Stage, known: Known, seeding: Seeding) -> None:
    """The agent; what it has in memory follows the partitions that this worker owns."""
    owned: dict[int, tuple[Partition, Timers, StepState]] = {}

    def memory_of(transaction: Transaction) -> tuple[Timers, StepState]:
        """As the last commit has left it: a chunk that is not committed ends the process."""
        number = transaction.chunk.partition
        partition = stage.partitions[transaction.chunk.position]
        entry = owned.get(number)
        if entry is None or entry[0] is not partition:
            for other in [
                one for one, (held, *_) in owned.items() if stage.partitions.get(held.position) is not held
            ]:
                del owned[other]  # partitions that were taken away
            state = StepState(transaction.table, known.accounts, known.rules)
            entry = owned[number] = (partition, Timers(), state)
            entry[1].load(transaction.table)
        return entry[1:]

    async def alert(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            transaction = await begin(stage, chunk, lambda: known.revision, kept_revision)
            if transaction is not None:
                timers, state = memory_of(transaction)
                jobs = fill(transaction, known, timers, state)
                transaction.commit()
                next_s = timers.next_s()
                known.agenda.due(chunk.partition, NEVER_MS if next_s == NEVER_S else next_s * 1000)
                for job in jobs:
                    seeding.add(job)

    stage.agent(INPUT)(alert)
    seen: list[list[Partition]] = [[]]

    async def look() -> None:
        """After a rebalance: publish a clock record for every account, in case definitions have changed meanwhile."""
        now = list(stage.partitions.values())
        if now == seen[0]:
            return
        seen[0] = now
        known.agenda.own([partition.position.partition for partition in now])
        with known.lock:
            names = known.accounts.names()
        for name in names:
            known.agenda.add(known.partition(name), _encode((ACCOUNT, *name)))

    stage.app.timer(0.5, name="owned")(look)


def fill(transaction: Transaction, known: Known, timers: Timers, state: StepState | None = None) -> list[Job]:
    """Apply each record of the chunk once.

    Args:
        transaction: of the chunk.
        known: the definitions.
        timers: of the partition.
        state: what is in memory of the partition's state; None: nothing.

    Returns:
        The jobs of loading historical usage, to start after the commit.
    """
    state = state or StepState(transaction.table, known.accounts, known.rules)
    state.begin(transaction.table)
    work = _Work(transaction, known, timers, state)
    with known.lock:
        for record in transaction.chunk.records:
            if record.key == KEY:
                if (items := read(transaction.chunk, record, _items)) is not None:
                    work.tick(items, record.timestamp, record.offset)
            elif record.key is None and (windows := read(transaction.chunk, record, _windows)) is not None:
                work.take(windows, record.timestamp, record.offset)
        keep_revision(transaction, known.revision)
    work.publish()
    _sweep(transaction, timers)
    return work.jobs


def _sweep(transaction: Transaction, timers: Timers) -> None:
    """Remove expired entries once an hour, from front to end, a slice per chunk."""
    now_s = transaction.chunk.records[-1].timestamp // 1000
    timers.sweeping.advance(
        transaction.chunk.partition, now_s // HOUR_S, lambda start: sweep(transaction.table, now_s, start)
    )


class _Work:
    """One chunk. A balance is published once per account; alerts and late usage are published for each record."""

    def __init__(self, transaction: Transaction, known: Known, timers: Timers, state: StepState) -> None:
        self._transaction = transaction
        self._known = known
        self._timers = timers
        self._state = state
        self._moved: dict[bytes, tuple[BalanceMoved, int]] = {}  # with the time of the newest receipt
        self._alerts: list[tuple[int, Alert]] = []  # with the offset of the record
        self._late: list[tuple[int, LateUsage]] = []  # with the offset of the record
        self.jobs: list[Job] = []

    def take(self, windows: list[CustomerWindow], at_ms: int, position: int) -> None:
        """Apply usage."""
        self._transaction.read(len(windows))
        known, at = self._known, AlertAt(position, at_ms, self._transaction.chunk.start)
        usage = balance_update.by_account(windows, known.accounts, at_ms // 1000)
        self._state.load(usage)
        for account, _, _, mine, changes in usage:
            self._emit(account, position, update(account, AccountRecord(at, mine, changes), self._state))
        table, customer = self._transaction.table, known.rules.customer
        alerts = evaluate_volumes(table, windows, known.volumes, customer, position, at_ms)
        self._alerts += [(position, alert) for alert in alerts]

    def tick(self, items: list[list[str]], at_ms: int, position: int) -> None:
        """Apply a clock record: elapsed time, and changed definitions."""
        accounts, table, now_s = self._known.accounts, self._transaction.table, at_ms // 1000
        touched: dict[bytes, Account] = {}
        for kind, namespace, customer, feature, *rest in items:
            account = accounts.get((namespace, customer, feature))
            if account is None:
                continue
            touched[account.key] = account
            if kind == SEEDED and rest:
                balance_update.keep_seeded(table, account, rest[0])
        due = self._timers.take(now_s)
        balance_update.keep_called(table, position, due, self._transaction.chunk.start)
        for key in [*balance_update.called(table, position), *due]:
            account = accounts.by_key(key)
            if account is not None:
                touched[key] = account
        record = AccountRecord(AlertAt(position, at_ms, self._transaction.chunk.start))
        for account in touched.values():
            self._emit(account, position, update(account, record, self._state))

    def _emit(self, account: Account, position: int, step: AccountStep) -> None:
        self._alerts += [(position, alert) for alert in step.alerts]
        self._late += [(position, late) for late in step.late]
        self._timers.set(account.key, step.due_s)
        before = self._moved.get(account.key)
        received_at_ms = 0 if before is None else before[1]
        self._moved[account.key] = (step.moved, max(received_at_ms, step.moved.received_at_ms))
        if step.needs_history is not None:
            self.jobs.append(_job(step.needs_history))

    def publish(self) -> None:
        """Publish the final balances, and the alerts and late usage of all records; write the state."""
        self._state.flush()
        counted = self._transaction.counted_offset
        for position, alert in self._alerts:
            self._transaction.send(
                "alerts",
                _encode(alert),
                key=alert.id.encode(),
                partition=self._transaction.chunk.partition,
            )
            if position > counted:
                self._transaction.count(alert.namespace, f"told:{alert.type}")
        for position, late in self._late:
            key = f"{late.entitlement}/{late.minute_s}/{position}".encode()
            self._transaction.send(
                "late-usage", _encode(late), key=key, partition=self._transaction.chunk.partition
            )
        for moved, received_at_ms in self._moved.values():
            balance = moved.published()
            balance.received_at_ms = received_at_ms
            key = f"{balance.namespace}/{balance.customer}/{balance.feature}".encode()
            self._transaction.send(
                "balances", _encode(balance), key=key, partition=self._transaction.chunk.partition
            )
            if balance.revision > counted:
                self._transaction.count(balance.namespace, "balances")


def _job(history: MissingHistory) -> Job:
    namespace, customer, _ = history.account
    return Job(
        namespace=namespace,
        customer=customer,
        meter_id=history.meter_id,
        subjects=history.subjects,
        since_s=history.since_s,
        revision=history.revision,
        done_record=_encode((SEEDED, *history.account, history.mark)),
    )
