"""What the groups of the stages have committed, also while their broker starts again."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.local.kafka import Kafka
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka_client
from pipeline.stores.kafka.consumer_groups import committed_offsets, group_of
from tests.fixtures.patience import until

pytestmark = [pytest.mark.services, pytest.mark.own_broker]  # the broker is killed

PLACES = [("events", 0), ("events", 1)]


@pytest.fixture
def read(fresh_topics: Settings) -> Settings:
    """`ingest` has read the first partition up to 7 and nothing of the second one."""
    consumer = Consumer(kafka_client.client_config(fresh_topics) | {"group.id": group_of("ingest")})
    consumer.commit(offsets=[TopicPartition(*PLACES[0], 7)], asynchronous=False)
    consumer.close()
    return fresh_topics


def test_an_offset_below_zero_is_of_a_partition_without_one(read: Settings) -> None:
    assert committed_offsets(read, "ingest", []) == {}
    found = committed_offsets(read, "ingest", PLACES)
    assert found[PLACES[0]] == 7 and found[PLACES[1]] < 0
    assert all(offset < 0 for offset in committed_offsets(read, "dedupe", PLACES).values())


def test_a_process_that_asks_while_a_broker_starts_goes_on(read: Settings, kafka: Kafka) -> None:
    def offset_of_ingest() -> int | None:
        try:
            return committed_offsets(read, "ingest", PLACES)[PLACES[0]]
        except KafkaException:
            return None

    kafka.kill()
    kafka.spawn()
    until(lambda: offset_of_ingest() == 7)
