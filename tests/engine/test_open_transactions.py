"""Open transactions of former owners: they end at once, and every failure is left to the producer that follows."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import NewTopic

from pipeline.engine import open_transactions
from pipeline.engine.restore import Reader
from pipeline.local.process import HOST, free_port
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topic_admin

TIMEOUT_MS = 600_000  # the broker itself ends none during a test


@pytest.fixture
def name(settings: Settings) -> str:
    """A topic."""
    name = f"open-{uuid.uuid4().hex[:8]}"
    topic_admin.create(settings, [NewTopic(name, 1, 1)])
    return name


def producer(settings: Settings, transactional_id: str) -> Producer:
    own = {"transactional.id": transactional_id, "transaction.timeout.ms": TIMEOUT_MS}
    made = Producer({**cluster.client_config(settings), **own})
    made.init_transactions(30)
    return made


def opened(settings: Settings, name: str, transactional_id: str) -> Producer:
    """A producer whose transaction has a record and is not ended."""
    made = producer(settings, transactional_id)
    made.begin_transaction()
    made.produce(name, b"uncommitted", partition=0)
    made.flush()
    return made


def committed(settings: Settings, name: str) -> list[bytes | None]:
    """What a reader sees that ends at the first open transaction."""
    with Reader(cluster.client_config(settings), "g", silence_s=5) as reader:
        end = reader.span(name, 0).end
        return [record.value() for batch in reader.read(name, 0, 0, end) for record in batch]


def end(bootstrap: str, ids: Sequence[str]) -> None:
    asyncio.run(open_transactions.end(bootstrap, None, ids, TIMEOUT_MS))


def test_readers_are_not_held_up_any_more_and_see_nothing_of_them(settings: Settings, name: str) -> None:
    ids = [f"{name}-{number}" for number in range(3)]
    kept = [opened(settings, name, one) for one in ids]
    writer = Producer(cluster.client_config(settings))
    writer.produce(name, b"other", partition=0)
    writer.flush()
    end(settings.kafka, ids)
    assert committed(settings, name) == [b"other"]
    del kept


def test_the_former_owner_cannot_commit(settings: Settings, name: str) -> None:
    former = opened(settings, name, name)
    end(settings.kafka, [name])
    with pytest.raises(KafkaException) as raised:
        former.commit_transaction(10)
    assert raised.value.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


def test_an_id_without_a_transaction_can_be_used_afterwards(settings: Settings, name: str) -> None:
    end(settings.kafka, [name])
    made = producer(settings, name)
    made.begin_transaction()
    made.produce(name, b"committed", partition=0)
    made.commit_transaction()
    assert committed(settings, name) == [b"committed"]


def test_without_a_broker_it_is_left_to_the_producer() -> None:
    end(f"{HOST}:{free_port()}", ["t"])
