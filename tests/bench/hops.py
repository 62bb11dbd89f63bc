"""Where the time goes between an event and its balance: how old events are as each stage writes them on.

Owns: reading the topics between the stages after a run. A record's own time is when its stage gave it to Kafka (or
when the broker took it); the transaction's end and the next stage's fetch are in the next topic's age.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.records import KEY, AcceptedBatch, Balance, CustomerWindow, Event, Window
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka

_key = struct.Struct(KEY)
_batch = msgspec.json.Decoder(AcceptedBatch).decode
_events = msgspec.json.Decoder(list[Event]).decode
_windows = msgspec.json.Decoder(list[Window]).decode
_mine = msgspec.json.Decoder(list[CustomerWindow]).decode
_balance = msgspec.json.Decoder(Balance).decode
#: Topic -> when the broker received the events that a record is about, in ms.
READ: dict[str, Callable[[bytes], Iterable[int]]] = {
    "events-accepted": lambda value: (found[2] for found in _key.iter_unpack(_batch(value).keys)),
    "events-unique": lambda value: (event.received_at_ms for event in _events(value)),
    "usage": lambda value: (window.received_at_ms for window in _windows(value)),
    "customer-usage": lambda value: (one.window.received_at_ms for one in _mine(value)),
    "balances": lambda value: (_balance(value).received_at_ms,),
}


def ages(settings: Settings, since_ms: int) -> dict[str, list[int]]:
    """Topic -> milliseconds from the broker's receipt of an event to each record about it, since an instant."""
    return {topic: sorted(_ages(settings, topic, since_ms)) for topic in READ}


def _ages(settings: Settings, topic: str, since_ms: int) -> list[int]:
    config = kafka.client_config(settings) | {"group.id": "hops", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(config | {"enable.partition.eof": True, "isolation.level": "read_committed"})
    try:
        wanted = [TopicPartition(topic, number, since_ms) for number in range(settings.partitions)]
        consumer.assign(consumer.offsets_for_times(wanted, timeout=10))
        left, found = settings.partitions, []
        while left:
            for message in consumer.consume(1_000, timeout=0.2):
                error = message.error()
                if error is None:
                    found += _of(topic, message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left -= 1
                else:
                    raise KafkaException(error)
        return found
    finally:
        consumer.close()


def _of(topic: str, message: Message) -> list[int]:
    value, at_ms = message.value(), message.timestamp()[1]
    if not value or (message.key() is not None and topic != "balances"):
        return []
    return [at_ms - received_ms for received_ms in READ[topic](value) if received_ms]
