"""Sends what is due: takes deliveries from the tables of the owned partitions, POSTs them, and records the results.

Owns: when an attempt starts, the concurrent attempts to one endpoint, pauses that receivers request. Does not own: the
states (core.notifications.delivery), which change only when the record of an attempt arrives on `webhook-work`; the
request (stores). A worker that dies between a POST and its record leaves a delivery that is due: the next owner retries
with the same `webhook-id`. Nothing here is state: `restart` loads everything from the tables. Every endpoint has its
own lane, so that a slow one delays no other.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

from pipeline.agents.dispatch_tasks import DispatchTasks
from pipeline.agents.webhook_endpoints import Endpoints, WebhookEndpoint
from pipeline.core.notifications import delivery_table, standard_webhooks
from pipeline.engine.crash_points import define, reach
from pipeline.engine.partition import Partition
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.errors import Rejected
from pipeline.records import Attempt, Delivery, WebhookWork
from pipeline.stores.webhook_http import Answer, Sender

TOPIC = "webhook-work"
UNKNOWN_S = 30  # how long the definition of an endpoint may take to arrive after an alert for it
UNKNOWN_AGAIN_MS = 1_000
LEAVING_S = 2.0  # grace period of attempts on revocation; the next owner repeats those that take longer
PAUSE_MS, PAUSE_MOST_MS = 5_000, 3_600_000  # of a lane whose receiver throttles
NO_ENDPOINT, DISABLED = "no-endpoint", "endpoint-disabled"
CONTENT_TYPE = "application/json"

ATTEMPTS = Counter("tallymark_webhook_attempts_total", "attempts to send a webhook, by outcome", ["outcome"])
POINTS = define("webhook.posted")

WAITING = Gauge("tallymark_webhooks_waiting", "deliveries in progress in this worker's partitions")
TRY_SECONDS = Histogram(
    "tallymark_webhook_try_seconds",
    "time of one attempt: the POST and its response",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 20, 60),
)
DELIVERED_SECONDS = Histogram(
    "tallymark_webhook_delivered_seconds",
    "time from an alert to the delivery of its webhook, when the first attempt succeeded",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300),
)

RecordAttempt = Callable[
    [int, WebhookWork], Awaitable[None]
]  # partition and value of a `webhook-work` record
EndpointName = tuple[str, str]  # namespace and id of an endpoint


@dataclass(slots=True)
class Waiting:
    """A delivery in progress."""

    partition: int
    endpoint: EndpointName
    next_at_ms: int
    flight: int = 0  # number of the attempt in progress, or whose record is not read yet; 0: none


@dataclass(slots=True)
class Lane:
    """The deliveries to one endpoint."""

    ready: deque[str] = field(default_factory=deque)
    running: int = 0
    not_before_ms: int = 0


class WebhookDispatcher:
    """Runs in the stage's event loop. at_once: limit of concurrent attempts to one endpoint."""

    def __init__(
        self,
        stage: Stage,
        endpoints: Endpoints,
        make_sender: Callable[[], Sender],
        record: RecordAttempt,
        at_once: int,
    ) -> None:
        self._stage = stage
        self._endpoints = endpoints
        self._make_sender = make_sender
        self._sender: Sender | None = None
        self._record = record
        self._at_once = at_once
        self._partitions: dict[int, Partition] = {}
        self._waiting: dict[str, Waiting] = {}
        self._lanes: dict[EndpointName, Lane] = {}
        # When, and which delivery or lane.
        self._alarms: list[tuple[int, str, EndpointName | None]] = []
        self._tasks = DispatchTasks(stage)

    def after(self, transaction: Transaction, changed: Mapping[str, Delivery]) -> None:
        """Use the changed deliveries as soon as the transaction has committed."""
        partition = transaction.chunk.partition
        transaction.on_committed(lambda: self.note(partition, changed.values()))

    def restart(self) -> None:
        """Start with the partitions that the stage owns."""
        self._clear()
        self._partitions = {
            position.partition: partition
            for position, partition in self._stage.partitions.items()
            if position.topic == TOPIC
        }
        self._tasks.start(self._load())
        self._tasks.start(self._tasks.loop(self._begin_due))

    async def stop(self) -> None:
        """Start no more attempts; returns when none is in progress, or after LEAVING_S."""
        self._partitions = {}
        self._lanes.clear()
        await self._tasks.stop_calls(LEAVING_S)
        self._clear()
        await self._tasks.ended()
        if self._sender is not None:
            await self._sender.close()
            self._sender = None

    def note(self, partition: int, changed: Iterable[Delivery]) -> None:
        """Take over the new state of deliveries in the table."""
        if partition not in self._partitions:
            return
        for delivery in changed:
            before = self._waiting.get(delivery.id)
            if not delivery.next_at_ms:
                self._waiting.pop(delivery.id, None)
            elif before is not None and before.flight > delivery.tries:
                continue  # the record of its attempt has not arrived yet, and decides
            else:
                name = (delivery.namespace, delivery.endpoint)
                self._waiting[delivery.id] = Waiting(partition, name, delivery.next_at_ms)
                self._wake_at(delivery.next_at_ms, delivery.id)
        WAITING.set(len(self._waiting))
        self._tasks.wake()

    def _clear(self) -> None:
        self._tasks.cancel()
        self._partitions, self._waiting, self._lanes, self._alarms = {}, {}, {}, []

    async def _load(self) -> None:
        """Load deliveries in progress. Changes meanwhile go through `note`, and each batch is read just before it."""
        for number, partition in list(self._partitions.items()):
            assert partition.table is not None
            for ids in delivery_table.active(partition.table.scan):
                found = delivery_table.read(ids, partition.table.get_many)
                self.note(number, [delivery for delivery in found if delivery is not None])
                await asyncio.sleep(0)

    def _begin_due(self) -> float | None:
        """Start what is due; returns the seconds until the next is due, None: nothing is."""
        now_ms = _now_ms()
        while self._alarms and self._alarms[0][0] <= now_ms:
            at_ms, id, name = heapq.heappop(self._alarms)
            waiting = self._waiting.get(id)
            if name is not None:
                self._pump(name)
            elif waiting is not None and waiting.next_at_ms == at_ms and not waiting.flight:
                waiting.flight = -1  # in the lane
                self._lanes.setdefault(waiting.endpoint, Lane()).ready.append(id)
                self._pump(waiting.endpoint)
        return max(0, self._alarms[0][0] - now_ms) / 1_000 if self._alarms else None

    def _wake_at(self, at_ms: int, id: str, name: EndpointName | None = None) -> None:
        heapq.heappush(self._alarms, (at_ms, id, name))

    def _pump(self, name: EndpointName) -> None:
        """Start as many attempts to an endpoint as are allowed."""
        lane = self._lanes.get(name)
        if lane is None or _now_ms() < lane.not_before_ms:
            return
        while lane.ready and lane.running < self._at_once:
            lane.running += 1
            self._tasks.start_call(self._fly(lane.ready.popleft(), name, lane))
        if not lane.ready and not lane.running:
            del self._lanes[name]

    async def _fly(self, id: str, name: EndpointName, lane: Lane) -> None:
        try:
            waiting = self._waiting.get(id)
            if waiting is not None and waiting.flight < 0:
                await self._try(id, waiting, lane)
        finally:
            lane.running -= 1
            if self._lanes.get(name) is lane:
                self._pump(name)

    async def _try(self, id: str, waiting: Waiting, lane: Lane) -> None:
        partition = self._partitions.get(waiting.partition)
        if partition is None or partition.table is None:
            return
        found = delivery_table.message(id, partition.table.get_many)
        if found is None or not found[0].next_at_ms:
            self._waiting.pop(id, None)
            return
        delivery, payload = found
        began_ms = _now_ms()
        endpoint = self._endpoints.get(*waiting.endpoint)
        if endpoint is None and began_ms - delivery.next_at_ms < UNKNOWN_S * 1_000:
            self._put_back(id, waiting, began_ms + UNKNOWN_AGAIN_MS)
            return
        waiting.flight = number = delivery.tries + 1
        if endpoint is None or endpoint.disabled:
            reason = NO_ENDPOINT if endpoint is None else DISABLED
            attempt = Attempt(number, began_ms, 0, "dropped", error=reason)
        else:
            answer = await self._post(endpoint, delivery, payload, began_ms)
            attempt = _attempt(number, began_ms, answer)
            self._throttle(waiting.endpoint, lane, attempt)
            reach("webhook.posted")
        _observe(delivery, attempt)
        work = WebhookWork("attempt", delivery.namespace, delivery.endpoint, id, _now_ms(), attempt=attempt)
        await asyncio.shield(asyncio.ensure_future(self._record(waiting.partition, work)))

    async def _post(
        self, endpoint: WebhookEndpoint, delivery: Delivery, payload: bytes, at_ms: int
    ) -> Answer:
        if endpoint.problem:
            return Answer(0, 0, endpoint.problem)
        keys = endpoint.keys(at_ms // 1_000)
        try:
            signed = standard_webhooks.headers(keys, delivery.alert, at_ms // 1_000, payload)
        except Rejected as refusal:
            return Answer(0, 0, refusal.detail)
        if self._sender is None:
            self._sender = self._make_sender()
        headers = {**endpoint.headers, "Content-Type": CONTENT_TYPE, **signed}
        return await self._sender.post(endpoint.url, headers, payload)

    def _put_back(self, id: str, waiting: Waiting, at_ms: int) -> None:
        waiting.flight, waiting.next_at_ms = 0, at_ms
        self._wake_at(at_ms, id)
        self._tasks.wake()

    def _throttle(self, name: EndpointName, lane: Lane, attempt: Attempt) -> None:
        """Pause the lane of a receiver that throttles."""
        if attempt.status not in standard_webhooks.THROTTLES:
            return
        pause_ms = min(attempt.retry_after_ms or PAUSE_MS, PAUSE_MOST_MS)
        lane.not_before_ms = max(lane.not_before_ms, _now_ms() + pause_ms)
        self._wake_at(lane.not_before_ms, "", name)
        self._tasks.wake()


def _attempt(number: int, began_ms: int, answer: Answer) -> Attempt:
    ended_s = (began_ms + answer.duration_ms) // 1_000
    return Attempt(
        number,
        began_ms,
        answer.duration_ms,
        standard_webhooks.outcome(answer.status),
        answer.status,
        answer.error,
        standard_webhooks.retry_after_ms(answer.retry_after, ended_s),
    )


def _observe(delivery: Delivery, attempt: Attempt) -> None:
    ATTEMPTS.labels(attempt.outcome).inc()
    TRY_SECONDS.observe(attempt.duration_ms / 1_000)
    if attempt.outcome == "delivered" and attempt.number == 1:
        ended_ms = attempt.at_ms + attempt.duration_ms
        DELIVERED_SECONDS.observe(max(0, ended_ms - delivery.at_ms) / 1_000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
