"""The only writer of a raise by customer: a run that begins fences every earlier one, also one that was frozen.

Owns: the transactional producer. Does not own: what is written (customer_split, raise_customers).
A frozen run that wakes up could otherwise remove, as rests of an interrupted run, what is live by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from confluent_kafka import KafkaException, Producer

from pipeline.engine.producer import OPTIONS
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.writer import WrittenRecord

TRANSACTIONAL_ID = "tallymark-raise-customers"
COMMIT_S = 60.0
AT_ONCE = 10_000  # records of one transaction


class RaiseWriter:
    """Creating one ends every earlier one. Each call returns when the records are committed. Raises Unavailable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        own = {"log_level": 0, "transactional.id": TRANSACTIONAL_ID}
        self._producer = Producer(kafka.client_config(settings) | dict(OPTIONS) | own)
        try:
            self._producer.init_transactions(COMMIT_S)
        except KafkaException as error:
            raise kafka.unavailable(settings, error) from error

    def write(self, records: Iterable[WrittenRecord]) -> None:
        """Write records in transactions of AT_ONCE."""
        rest = iter(records)
        while some := list(islice(rest, AT_ONCE)):
            self.commit(some)

    def commit(self, records: Iterable[WrittenRecord]) -> None:
        """Write all of these records, or none."""
        try:
            self._producer.begin_transaction()
            for topic, value, key, partition, _ in records:
                self._producer.produce(topic, value, key, partition)
            self._producer.commit_transaction(COMMIT_S)
        except KafkaException as error:
            raise kafka.unavailable(self._settings, error) from error
