"""Fills the copy of the balances in Redis from the topic `balances`: one partition, or all by a command.

Owns: what is read, and the order of removing and writing. Does not own: keys and the marks of a complete copy
(stores.redis_balances), filling partitions by itself after Redis was emptied (agents.live).

The command writes the copy itself, so that it needs no running stage `live`. One may run beside it, and may fill a
partition at the same time: both write everything, and a newer balance stays. Readers get 503 from the removal of the
old values until their partition is complete, also when the command is killed between the two. If it was killed while it
removed values, only a repetition of the command completes the copy; afterwards `live` does too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import Message

from pipeline.core.values.json_value import reader_of
from pipeline.engine.chunk import Position
from pipeline.engine.restore import Reader
from pipeline.errors import Rejected, Unavailable
from pipeline.records import Balance
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics
from pipeline.stores.redis_balances import BalanceWriter, Keys

INPUT = "balances"
GROUP = "tallymark-rebuild"  # required by the client, never joined

_balance = reader_of(Balance)
ReportOffsets = Callable[[int, int], object]
"""Called with the number of offsets that are done, and their total."""


@dataclass(frozen=True)
class RebuiltBalances:
    """removed: customers whose old values were removed. records: read from the topic. partitions: written."""

    removed: int
    records: int
    partitions: int


def refill(
    reader: Reader,
    store: BalanceWriter,
    position: Position,
    read: Callable[[int, int], object] = lambda records, offset: None,
) -> bool:
    """Write every balance of a partition, and mark the copy of it as complete.

    Args:
        reader: Of Kafka.
        store: Where to write.
        position: A partition of `balances`.
        read: Called after each batch with its number of records and the offset after it.

    Returns:
        Whether the copy is complete; False if Redis was emptied, or balances were removed meanwhile.

    Raises:
        Unavailable: Kafka or Redis does not answer.
    """
    token = uuid.uuid4().hex
    if not store.begin(position.partition, token):
        return False
    span = reader.span(*position)
    for batch in reader.read(*position, span.first, span.end):
        store.write(_balances(batch))
        read(len(batch), (batch[-1].offset() or 0) + 1)
    return store.finish(position.partition, token)


def rebuild(settings: Settings, progress: ReportOffsets = lambda done, of: None) -> RebuiltBalances:
    """Remove every balance in Redis, whatever its value, and write all of them again. It may be repeated.

    Args:
        settings: For the addresses of Kafka and Redis.
        progress: Called after each batch.

    Raises:
        Rejected: The setting redis is empty.
        Unavailable: Kafka or Redis does not answer, Redis was emptied, or another process rebuilds it. Run it again.
    """
    if not settings.redis:
        raise Rejected("no-redis", "The setting redis is empty, so there is no copy of balances to rebuild.")
    found = kafka.topic_ids(settings, [INPUT])
    if INPUT not in found:
        raise Unavailable(f"Kafka at {settings.kafka} has no topic {INPUT}.")
    places = [Position(INPUT, number) for number in range(topics.load(settings)[INPUT].partitions)]
    keys = Keys(found[INPUT], len(places))
    store = BalanceWriter(settings.redis, settings.redis_password.get_secret_value(), keys)
    with Reader(kafka.client_config(settings) | {"log_level": 0}, GROUP) as reader:
        spans = {place: reader.span(*place) for place in places}
        total = sum(span.end - span.first for span in spans.values())
        removed = store.clear(uuid.uuid4().hex)
        done = records = 0
        for place, span in spans.items():

            def show(number: int, offset: int, before: int = done, first: int = span.first) -> None:
                nonlocal records
                records += number
                progress(min(before + offset - first, total), total)

            if not refill(reader, store, place, show):
                raise Unavailable(
                    "Redis was emptied, or another process has begun to rebuild it. Run the command again."
                )
            done += span.end - span.first
            progress(done, total)
    return RebuiltBalances(removed, records, len(places))


def _balances(batch: Iterable[Message]) -> Iterator[Balance]:
    """The balances of a batch, without records that the agent skips."""
    for message in batch:
        with suppress(Rejected):
            if value := message.value():
                yield _balance(value)
