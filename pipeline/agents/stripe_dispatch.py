"""Calls Stripe: takes requests in progress from the tables of the owned partitions, and records what comes of them.

Owns: when a call starts, pauses between calls, that only the owner of a partition calls. Does not own: requests and
their states (core.billing), which change only when a record arrives on `stripe-work`; what is called (stripe_events,
stripe_invoice_calls).

Nothing here is state: `restart` loads everything from the tables. A worker that dies between a call and its record
leaves a request that is due, and the next owner sends the same bytes. A lane (customer and mapping, or customer and
app) has one request and one call at a time.

A worker that was frozen past its session may wake up with requests that another worker has settled, at any point of a
call. It sends only within `lease_s` after a commit has proven that it owns the partition, and only what is younger than
Stripe's memory of identifiers and keys. Both are checked again at the last moment before the bytes are written
(stores.stripe_http). The bytes of a request never change; so the worst is a repeat, which Stripe recognises. The clocks
are those of the machine, and run while it sleeps. A virtual machine that its host suspends for a day, while another
worker has its partitions, needs a clock that is set when it continues: until then it can know of nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec
from prometheus_client import Counter, Gauge, Histogram

from pipeline.agents.dispatch_tasks import DispatchTasks
from pipeline.agents.stripe_accounts import StripeAccount, StripeAccounts
from pipeline.agents.stripe_gate import STOPPED_AGAIN_MS, StripeGate
from pipeline.agents.stripe_outcomes import stop_command
from pipeline.core.billing.stripe_budget import budget
from pipeline.core.values.table import ScannedBytes
from pipeline.engine.crash_points import define, reach
from pipeline.engine.partition import Partition
from pipeline.engine.stage import Stage
from pipeline.engine.table import Overlay
from pipeline.engine.transaction import Transaction
from pipeline.records import StripeWork
from pipeline.stores.kafka.writer import WrittenRecord
from pipeline.stores.stripe_api import StripeApi
from pipeline.stores.stripe_http import MayWrite

TOPIC = "stripe-work"
LOOK_S = 0.5  # between two looks at the clock
LEAVING_S = 2.0  # for calls in progress on revocation; the next owner repeats those that take longer
UNPROVEN_AGAIN_MS = 500
READS_S = (
    12  # reads of summaries a second; Stripe takes 25 of an account, and the API reads too (api.http.pace)
)
UNREAD_AGAIN_MS = 30_000  # summaries that could not be read are read again

POINTS = define("stripe.sending", "stripe.called")
CALLS = Counter("tallymark_stripe_requests_total", "calls to Stripe, by outcome", ["outcome"])
WAITING = Gauge(
    "tallymark_stripe_requests_waiting", "requests in progress in this worker's partitions, by kind", ["kind"]
)
CALL_SECONDS = Histogram(
    "tallymark_stripe_request_seconds",
    "time of one call to Stripe",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60),
)

_encode = msgspec.json.Encoder().encode
WriteRecord = Callable[[WrittenRecord], Awaitable[None]]
AppName = tuple[str, str]  # namespace and id


class Flight(Protocol):
    """A request in progress.

    app: its namespace and id. key: what makes a repeat safe. next_at_ms: when it is due. attempts: whose outcome is
    known.
    """

    @property
    def lane(self) -> bytes: ...
    @property
    def app(self) -> AppName: ...
    @property
    def key(self) -> str: ...
    @property
    def next_at_ms(self) -> int: ...
    @property
    def attempts(self) -> int: ...


F = TypeVar("F", bound=Flight)


class CallKind(Protocol[F]):
    """One kind of requests: how they are read from a table, and what is called for one. name: in metrics."""

    name: str

    def in_progress(self, table: ScannedBytes) -> Iterator[list[F]]:
        """Those of a partition, as they are in the committed rows, in batches."""

    def must_look(self, flight: F, now_ms: int) -> bool:
        """Whether Stripe has to be asked for its result before it may be sent again."""

    def is_later(self, flight: F, before: F) -> bool:
        """Whether the outcome of the call of `before` was applied."""

    async def send(self, api: StripeApi, flight: F, may_write: MayWrite) -> StripeWork | None:
        """Make the call; None: it was not made, since `may_write` forbade it."""

    async def look(self, api: StripeApi, flight: F) -> StripeWork | None:
        """Ask Stripe for its result; None: it did not answer."""


class StripeLimits(NamedTuple):
    """live_s, test_s: calls a second that Stripe allows an account. partitions: of `stripe-work`.

    lease_s: how long a commit proves that a partition is owned; not longer than a session.
    """

    live_s: int
    test_s: int
    partitions: int
    lease_s: float


@dataclass(slots=True)
class _Lane(Generic[F]):
    """A lane with a request. calling: from the start of a call until its record has been applied."""

    partition: int
    flight: F
    at_ms: int
    state: Literal["waiting", "ready", "calling"] = "waiting"


def since_start_s() -> float:
    """Seconds since the machine was started, those included in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class StripeDispatcher(Generic[F]):
    """Runs in the stage's event loop.

    Args:
        kind: of its requests.
        stage: whose partitions are served.
        accounts: the keys.
        make_api: a client for an account.
        record: publishes a record; returns when Kafka has acknowledged it.
        limits: see StripeLimits.
        now_ms: the clock, in ms since 1970.
        prove: asks for a commit on a partition.
        machine_s: see since_start_s.
    """

    def __init__(
        self,
        kind: CallKind[F],
        stage: Stage,
        accounts: StripeAccounts,
        make_api: Callable[[StripeAccount], StripeApi],
        record: WriteRecord,
        limits: StripeLimits,
        now_ms: Callable[[], int],
        prove: Callable[[int], None],
        machine_s: Callable[[], float] = since_start_s,
    ) -> None:
        self._kind = kind
        self._stage = stage
        self._accounts = accounts
        self._make_api = make_api
        self._record = record
        self._limits = limits
        self._clock = now_ms
        self._prove = prove
        self._machine_s = machine_s
        self._table_ms = 0
        self._partitions: dict[int, Partition] = {}
        self._proven_s: dict[int, float] = {}
        self._lanes: dict[bytes, _Lane[F]] = {}
        self._gates: dict[AppName, StripeGate] = {}
        self._apis: dict[AppName, tuple[int, StripeApi]] = {}  # with the revision of the app
        self._replaced: list[StripeApi] = []  # calls of theirs may be in progress
        self._alarms: list[tuple[int, bytes]] = []
        self._tasks = DispatchTasks(stage)
        self._inherited: set[str] = set()  # identifiers of requests that another owner may have sent

    # -- what the stage does ------------------------------------------------------------------------------------

    def after(self, transaction: Transaction, changed: list[tuple[bytes, F | None]], table_ms: int) -> None:
        """Use the changed lanes as soon as the transaction has committed. table_ms: the time of the records."""
        partition, began_s = transaction.chunk.partition, self._machine_s()

        def committed() -> None:
            self._proven_s[partition] = began_s
            self._table_ms = max(self._table_ms, table_ms)
            self.note(partition, changed)

        transaction.on_committed(committed)

    def restart(self) -> None:
        """Start with the partitions that the stage owns."""
        self._clear()
        self._partitions = {place.partition: one for place, one in self._stage.partitions.items()}
        self._proven_s = dict.fromkeys(self._partitions, self._machine_s())  # they were fenced just now
        self._tasks.start(self._load())
        self._tasks.start(self._tasks.loop(self._begin_due))

    async def stop(self) -> None:
        """Start no more calls; returns when none is in progress, or after LEAVING_S."""
        self._partitions = {}
        await self._tasks.stop_calls(LEAVING_S)
        self._clear()
        await self._tasks.ended()
        for api in [*self._replaced, *(api for _, api in self._apis.values())]:
            await api.close()
        self._apis, self._replaced = {}, []

    def note(self, partition: int, changed: Iterable[tuple[bytes, F | None]]) -> None:
        """Take over the new state of lanes in the table."""
        if partition not in self._partitions:
            return
        for lane, flight in changed:
            before = self._lanes.get(lane)
            if flight is None:
                self._lanes.pop(lane, None)
            elif (
                before is not None
                and before.state == "calling"
                and not self._kind.is_later(flight, before.flight)
            ):
                continue  # the record of its call has not arrived yet, and decides
            else:
                self._wait(lane, _Lane(partition, flight, _with_jitter(flight, self._clock())))
        WAITING.labels(self._kind.name).set(len(self._lanes))
        self._tasks.wake()

    @property
    def busy(self) -> set[int]:
        """The partitions with requests in progress."""
        return {lane.partition for lane in self._lanes.values()}

    # -- when a call starts -------------------------------------------------------------------------------------

    def _clear(self) -> None:
        self._tasks.cancel()
        self._partitions, self._lanes, self._alarms, self._gates = {}, {}, [], {}
        self._inherited = set()

    async def _load(self) -> None:
        for number, partition in list(self._partitions.items()):
            assert partition.table is not None
            for flights in self._kind.in_progress(Overlay(partition.table)):
                self._inherited |= {one.key for one in flights}
                self.note(number, [(one.lane, one) for one in flights if one.lane not in self._lanes])
                await asyncio.sleep(0)

    def _begin_due(self) -> float:
        """Start what is due; returns the seconds until something may be due."""
        now_ms = self._clock()
        while self._alarms and self._alarms[0][0] <= now_ms:
            at_ms, lane = heapq.heappop(self._alarms)
            found = self._lanes.get(lane)
            if found is not None and found.state == "waiting" and found.at_ms == at_ms:
                found.state = "ready"
                self._gate(found.flight.app).ready.append(lane)
        waits_ms = [self._pump(name, gate) for name, gate in self._gates.items()]
        if self._alarms:
            waits_ms.append(self._alarms[0][0] - now_ms)
        return min(LOOK_S, max(0, min(waits_ms, default=60_000)) / 1_000)

    def _gate(self, app: AppName) -> StripeGate:
        gate = self._gates.get(app)
        if gate is None:
            account = self._accounts.get(*app)
            limit_s = self._limits.live_s if account is not None and account.livemode else self._limits.test_s
            owned, partitions = max(1, len(self._partitions)), self._limits.partitions
            reads = budget(READS_S, owned, partitions)
            gate = self._gates[app] = StripeGate(budget(limit_s, owned, partitions), reads)
        return gate

    def _pump(self, app: AppName, gate: StripeGate) -> int:
        """Start as many calls of an account as are allowed; returns the ms until another may start."""
        while gate.ready:
            account = self._accounts.get(*app)
            if account is None or not account.ready or account.problem:
                return STOPPED_AGAIN_MS
            if gate.refused_revision == account.revision:
                return STOPPED_AGAIN_MS
            found = self._lanes.get(gate.ready[0])
            if found is None or found.state != "ready":
                gate.ready.popleft()
                continue
            if not self._owns(found.partition):
                gate.ready.popleft()
                self._wait_until(found, self._clock() + UNPROVEN_AGAIN_MS)
                self._prove(found.partition)
                continue
            reads = self._must_look(found.flight)
            wait_ms = gate.wait_ms(self._clock(), reads)
            if wait_ms is None:
                return int(LOOK_S * 1_000)
            if wait_ms and not reads:
                return wait_ms
            if wait_ms:
                gate.ready.popleft()  # those that are sent do not wait for it
                self._wait_until(found, self._clock() + wait_ms)
                continue
            gate.ready.popleft()
            found.state = "calling"
            gate.running += 1
            self._tasks.start_call(self._call(found, account, gate))
        return 60_000

    def _must_look(self, flight: F) -> bool:
        return self._kind.must_look(flight, max(self._clock(), self._table_ms))

    def _owns(self, partition: int) -> bool:
        proven_s = self._proven_s.get(partition, 0.0)
        return partition in self._partitions and self._machine_s() - proven_s < self._limits.lease_s

    def _wait(self, lane: bytes, waiting: _Lane[F]) -> None:
        self._lanes[lane] = waiting
        heapq.heappush(self._alarms, (waiting.at_ms, lane))

    def _wait_until(self, waiting: _Lane[F], at_ms: int) -> None:
        waiting.state, waiting.at_ms = "waiting", at_ms
        heapq.heappush(self._alarms, (at_ms, waiting.flight.lane))

    # -- a call -------------------------------------------------------------------------------------------------

    async def _call(self, lane: _Lane[F], account: StripeAccount, gate: StripeGate) -> None:
        reads, began_s = self._must_look(lane.flight), time.perf_counter()
        try:
            api = self._api(account)
            work = await (self._kind.look(api, lane.flight) if reads else self._send(api, lane))
        finally:
            gate.running -= 1
            self._tasks.wake()
        CALL_SECONDS.observe(time.perf_counter() - began_s)
        reach("stripe.called")
        if work is None:
            CALLS.labels("unread" if reads else "unsent").inc()
            if reads:
                gate.note("unknown", 0, self._clock())
            self._wait_until(lane, self._clock() + (UNREAD_AGAIN_MS if reads else UNPROVEN_AGAIN_MS))
            return
        CALLS.labels(work.outcome or "seen").inc()
        gate.note(work.outcome or "done", work.retry_after_ms, self._clock())
        if work.outcome == "unauthorized" and gate.refused_revision != account.revision:
            gate.refused_revision = account.revision
            await self._write(stop_command(account, work.message, self._clock()))
        await self._write(WrittenRecord(TOPIC, _encode(work), work.kind.encode(), lane.partition))

    async def _write(self, record: WrittenRecord) -> None:
        await asyncio.shield(asyncio.ensure_future(self._record(record)))

    def _api(self, account: StripeAccount) -> StripeApi:
        name = (account.namespace, account.app)
        kept = self._apis.get(name)
        if kept is not None and kept[0] == account.revision:
            return kept[1]
        if kept is not None:
            self._replaced.append(kept[1])
        made = self._make_api(account)
        self._apis[name] = (account.revision, made)
        return made

    async def _send(self, api: StripeApi, lane: _Lane[F]) -> StripeWork | None:
        """The outcome; None: it was not sent, since the worker may have been frozen after the call began."""

        def may_write() -> bool:
            reach("stripe.sending")
            return self._owns(lane.partition) and not self._must_look(lane.flight)

        work = await self._kind.send(api, lane.flight, may_write)
        if work is None:
            return None
        if work.outcome == "refused" and (
            lane.flight.key in self._inherited or not self._owns(lane.partition)
        ):
            # Another owner may have sent it too, and have had another answer; repeats bring this one: Stripe is asked.
            work.outcome, work.stored = "unknown", True
        return work


def _with_jitter(flight: Flight, now_ms: int) -> int:
    """When a request is due; a repeated one somewhat later, so that many do not meet."""
    at_ms = flight.next_at_ms
    if not flight.attempts or at_ms <= now_ms:
        return at_ms
    return at_ms + int((at_ms - now_ms) * random.uniform(0, 0.25))
