"""Reading state back from the real broker: all that is committed, in order, up to the end that was asked for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from pipeline.engine.restore import BATCH_BYTES, FIRST_BATCH_RECORDS, Reader, Span
from pipeline.errors import Unavailable
from pipeline.local.process import HOST, free_port
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster


class StateTopic:
    """A topic with one partition, its writers and a reader."""

    def __init__(self, settings: Settings) -> None:
        self.config = cluster.client_config(settings)
        self.name = f"state-{uuid.uuid4().hex[:8]}"
        admin = cluster.admin(settings)
        for made in admin.create_topics([NewTopic(self.name, 1, 1)]).values():
            made.result()

    def write(self, *values: bytes | None) -> None:
        producer = Producer(self.config)
        for value in values:
            producer.produce(self.name, value, key=b"k", partition=0)
        producer.flush()

    def open_transaction(self, *values: bytes) -> Producer:
        """A transaction with these values that its caller ends."""
        producer = Producer({**self.config, "transactional.id": f"t-{self.name}"})
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            producer.produce(self.name, value, key=b"k", partition=0)
        producer.flush()
        return producer

    def batches(self, start: int, end: int) -> list[list[tuple[int, bytes | None]]]:
        with Reader(self.config, "g") as reader:
            return [
                [(message.offset() or 0, message.value()) for message in batch]
                for batch in reader.read(self.name, 0, start, end)
            ]

    def span(self) -> Span:
        with Reader(self.config, "g") as reader:
            return reader.span(self.name, 0)


@pytest.fixture
def topic(settings: Settings) -> Iterator[StateTopic]:
    yield StateTopic(settings)


def flat(batches: list[list[tuple[int, bytes | None]]]) -> list[tuple[int, bytes | None]]:
    return [record for batch in batches for record in batch]


def test_all_records_come_in_order(topic: StateTopic) -> None:
    topic.write(*(b"%d" % number for number in range(1_000)))
    assert topic.span() == Span(0, 1_000)
    assert flat(topic.batches(0, 1_000)) == [(number, b"%d" % number) for number in range(1_000)]


@pytest.mark.parametrize(("start", "end"), [(0, 3), (3, 7), (6, 7), (7, 7), (9, 2)])
def test_only_offsets_from_start_to_before_the_end_come(topic: StateTopic, start: int, end: int) -> None:
    topic.write(*(b"%d" % number for number in range(10)))
    found = [offset for offset, _ in flat(topic.batches(start, end))]
    assert found == list(range(start, end))


def test_a_tombstone_comes_as_a_record_without_a_value(topic: StateTopic) -> None:
    topic.write(b"1", None)
    assert flat(topic.batches(0, 2)) == [(0, b"1"), (1, None)]


def test_what_was_aborted_does_not_come_and_the_end_is_reached_over_its_marker(topic: StateTopic) -> None:
    topic.write(b"kept")
    topic.open_transaction(b"lost", b"lost too").abort_transaction(30)
    topic.write(b"behind it")
    span = topic.span()
    found = flat(topic.batches(span.first, span.end))
    assert [value for _, value in found] == [b"kept", b"behind it"]


def test_an_end_that_is_a_marker_is_reached(topic: StateTopic) -> None:
    topic.open_transaction(b"kept").commit_transaction(30)
    assert flat(topic.batches(0, 2)) == [(0, b"kept")]


def test_the_end_counts_the_records_of_an_open_transaction(topic: StateTopic) -> None:
    producer = topic.open_transaction(b"open")
    assert topic.span() == Span(0, 1)
    producer.commit_transaction(30)
    assert flat(topic.batches(0, topic.span().end)) == [(0, b"open")]


def test_what_is_committed_behind_an_open_transaction_of_another_producer_is_not_missed(
    topic: StateTopic,
) -> None:
    other = topic.open_transaction(b"another partition's")
    topic.write(b"ours")
    end = topic.span().end
    with ThreadPoolExecutor() as threads:
        found = threads.submit(topic.batches, 0, end)
        other.commit_transaction(30)
    assert flat(found.result()) == [(0, b"another partition's"), (1, b"ours")]


def test_records_written_behind_the_end_do_not_come(topic: StateTopic) -> None:
    topic.write(b"1", b"2")
    end = topic.span().end
    topic.write(b"3")
    assert flat(topic.batches(0, end)) == [(0, b"1"), (1, b"2")]


def test_a_batch_of_large_records_is_bounded_by_bytes(topic: StateTopic) -> None:
    large = bytes(BATCH_BYTES // 4)
    topic.write(*[large] * 24)
    batches = topic.batches(0, 24)
    assert [offset for offset, _ in flat(batches)] == list(range(24))
    assert max(len(batch) for batch in batches) <= FIRST_BATCH_RECORDS
    assert max(len(batch) for batch in batches[1:]) <= 4


def test_committed_offsets_of_a_group(topic: StateTopic) -> None:
    topic.write(b"1", b"2")
    group = f"g-{topic.name}"
    consumer = Consumer({**topic.config, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic.name, 0, 2)], asynchronous=False)
    consumer.close()
    with Reader(topic.config, "g") as reader:
        assert reader.committed(group, [(topic.name, 0)]) == {(topic.name, 0): 2}
        assert reader.committed(f"another-{group}", [(topic.name, 0)]) == {(topic.name, 0): None}


def test_a_missing_broker_is_unavailable_with_its_topic_named(topic: StateTopic) -> None:
    away: dict[str, Any] = {**topic.config, "bootstrap.servers": f"{HOST}:{free_port()}"}
    with Reader(away, "g", silence_s=0.5) as reader, pytest.raises(Unavailable, match=f"{topic.name}/0"):
        reader.span(topic.name, 0)
