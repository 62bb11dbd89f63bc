"""WEBHOOK: delivers alerts to endpoints.

Reads `alerts`, and `webhook-work`: alerts to send, results of attempts, requests to send again; `control` for the
endpoints. Writes `webhook-work` (an alert for each of its endpoints, in the endpoint's partition), `deliveries` (the
current state; a tombstone when it expires) and `commands` (to disable an endpoint).
Keeps: deliveries until `webhook_kept_s` after their alert (RocksDB; `webhook-changelog`), counts.
On replay: a delivery that includes a record is not changed by it again, and is published again.
HTTP requests are made outside transactions, by `agents.webhook_dispatch`; their results are records of `webhook-work`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

import faust
import msgspec

from pipeline.agents.webhook_dispatch import WebhookDispatcher
from pipeline.agents.webhook_endpoints import Endpoints
from pipeline.core.notifications.delivery_table import DELIVERY, apply, forget, partition_of
from pipeline.core.values.json_value import reader_of
from pipeline.core.values.sweep import SweepProgress
from pipeline.engine.changelog import Changelog
from pipeline.engine.chunk import Chunk
from pipeline.engine.stage import Stage
from pipeline.engine.transaction import Transaction
from pipeline.engine.unreadable import read
from pipeline.records import Alert, Delivery, WebhookWork
from pipeline.settings import Settings
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord
from pipeline.stores.webhook_http import Sender
from pipeline.stores.webhook_policy import policy_of

NAME = "webhook"
ALERTS, WORK, DELIVERIES, COMMANDS = "alerts", "webhook-work", "deliveries", "commands"
CHANGELOG = Changelog("webhook-changelog")
ATTEMPT_WRITTEN_S = 300.0  # an attempt whose result is not recorded is repeated, so this is long
FORGOTTEN_AT_ONCE = 500  # checked per chunk
FORGET_EVERY_MS = 3_600_000  # of the broker's time: pause between two checks of the oldest

T = TypeVar("T")

_alert = reader_of(Alert)
_work = reader_of(WebhookWork)
_encode = msgspec.json.Encoder().encode


def create(stage: Stage, settings: Settings, partitions: int, endpoints: Endpoints) -> None:
    """partitions: of `webhook-work`."""
    schedule_ms = tuple(int(Decimal(one) * 1_000) for one in settings.webhook_schedule_s.split(","))
    forgetting = Forgetting(settings.webhook_kept_s * 1_000)
    writer = KafkaWriter(settings, "webhook attempts", ATTEMPT_WRITTEN_S)

    async def record(partition: int, work: WebhookWork) -> None:
        await writer.append(WrittenRecord(WORK, _encode(work), work.endpoint.encode(), partition))

    sending = WebhookDispatcher(stage, endpoints, lambda: _sender(settings), record, settings.webhook_at_once)
    stage.after_assignment = sending.restart
    stage.before_revocation = sending.stop

    async def webhook_alerts(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is not None:
                share_out(transaction, partitions)
                transaction.commit()

    async def webhook_work(chunks: faust.Stream[Chunk]) -> None:
        async for chunk in chunks:
            if (transaction := await stage.begin(chunk)) is not None:
                changed = fill(transaction, schedule_ms, forgetting)
                sending.after(transaction, changed)
                transaction.commit()

    stage.agent(ALERTS)(webhook_alerts)
    stage.agent(WORK)(webhook_work)


def _sender(settings: Settings) -> Sender:
    return Sender(settings.webhook_timeout_s, policy_of(settings), trusted=settings.webhook_ca)


def share_out(transaction: Transaction, partitions: int) -> None:
    """Publish an alert for each of its endpoints, to the endpoint's partition."""
    for record in transaction.chunk.records:
        alert = read(transaction.chunk, record, _alert)
        if alert is None:
            continue
        for endpoint in dict.fromkeys(alert.endpoints):
            work = WebhookWork("deliver", alert.namespace, endpoint, "", record.timestamp, alert)
            target = partition_of(alert.namespace, endpoint, partitions)
            transaction.send(WORK, _encode(work), key=endpoint.encode(), partition=target)
        transaction.read(1)
        if record.offset > transaction.counted_offset:
            transaction.count(alert.namespace, "alerts")


def fill(transaction: Transaction, schedule_ms: Sequence[int], forgetting: Forgetting) -> dict[str, Delivery]:
    """Apply each record of the chunk. Returns the changed deliveries in their state at the end of the chunk."""
    chunk, table = transaction.chunk, transaction.table
    changed: dict[str, Delivery] = {}
    now_ms = 0
    for record in chunk.records:
        work = read(chunk, record, _work)
        if work is None:
            continue
        applied = apply(work, record.offset, record.timestamp, table, schedule_ms)
        changed |= {delivery.id: delivery for delivery in applied.deliveries}
        for command in applied.commands:
            transaction.send(COMMANDS, _encode(command), partition=0)
        for further in applied.further:
            transaction.send(WORK, _encode(further), key=further.endpoint.encode(), partition=chunk.partition)
        now_ms = max(now_ms, record.timestamp)
        transaction.read(1)
        if record.offset > transaction.counted_offset:
            transaction.count(work.namespace, work.attempt.outcome if work.attempt else work.kind)
    for delivery in changed.values():
        transaction.send(DELIVERIES, _encode(delivery), key=delivery.id.encode(), partition=chunk.partition)
    forgetting.advance(transaction, now_ms)
    return changed


class Forgetting:
    """Removes expired deliveries, a few per chunk, oldest first, and again an hour after the last one."""

    def __init__(self, kept_ms: int) -> None:
        self._kept_ms = kept_ms
        self._progress = SweepProgress(min(FORGET_EVERY_MS, kept_ms))

    def advance(self, transaction: Transaction, now_ms: int) -> None:
        """now_ms: the broker's time."""
        partition, table = transaction.chunk.partition, transaction.table
        removed = self._progress.advance(
            partition, now_ms, lambda start: forget(table, start, now_ms - self._kept_ms, FORGOTTEN_AT_ONCE)
        )
        for key in removed:
            transaction.send(DELIVERIES, None, key=key[len(DELIVERY) :], partition=partition)
