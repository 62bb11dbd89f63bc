"""A partition learns that usage is complete once every stage has read what the one before it had written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from pipeline.agents.billing_settled import CHAIN, WORK, SettledWatcher
from pipeline.engine.chunk import Position
from pipeline.engine.producer import TransactionalProducer, group_metadata
from pipeline.engine.retry import Retry
from pipeline.errors import Unavailable
from pipeline.records import BillingWork
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka_client
from pipeline.stores.kafka.consumer_groups import group_of
from pipeline.stores.kafka.stage_positions import StagePositions
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord
from tests.fixtures.patience import PATIENCE_S

Place = tuple[str, int]


class Writer:
    """Kafka, which may be unavailable."""

    def __init__(self) -> None:
        self.settled: list[tuple[int, int]] = []
        self.away = False

    def write(self, records: Iterable[WrittenRecord]) -> None:
        if self.away:
            raise Unavailable("Kafka does not answer.")
        for record in records:
            assert record.topic == WORK and record.value is not None
            work = msgspec.json.decode(record.value, type=BillingWork)
            self.settled.append((record.partition, work.settled_ms))


class Stages:
    """Positions of stages: each moves by one record whenever it is asked for, and brings one into the next stage."""

    def __init__(self, records: int) -> None:
        self.written = dict.fromkeys(CHAIN, 0)
        self.read = dict.fromkeys(CHAIN, 0)
        self.written["ingest"] = records
        self.complete: list[bool] = []

    def ends(self, stage: str) -> dict[Place, int]:
        return {(stage, 0): self.written[stage]}

    def unread(self, stage: str, ends: Mapping[Place, int]) -> set[Place]:
        behind = {place for place, end in ends.items() if self.read[stage] < end}
        self._move()
        return behind

    def _move(self) -> None:
        for stage, following in zip(CHAIN, (*CHAIN[1:], ""), strict=True):
            if self.read[stage] < self.written[stage]:
                self.read[stage] += 1
                if following:
                    self.written[following] += 1

    @property
    def all_read(self) -> bool:
        return self.read["attribute"] == self.written["ingest"]


def test_the_stages_are_waited_for_one_after_the_other() -> None:
    stages, writer = Stages(7), Writer()
    watcher = SettledWatcher(writer, stages, look_s=0)
    watcher.look()
    assert not any(stages.read.values()), "nothing was requested"
    watcher.request(2, needed_ms=900, now_ms=1_000)
    watcher.look()
    assert stages.all_read
    assert writer.settled == [(2, 1_000)]


def test_one_record_serves_all_that_it_covers() -> None:
    stages, writer = Stages(0), Writer()
    watcher = SettledWatcher(writer, stages, look_s=0)
    watcher.request(2, 900, 1_000)
    watcher.request(2, 1_000, 1_200)
    watcher.request(3, 500, 1_100)
    watcher.look()
    watcher.request(2, 1_000, 1_500)
    watcher.look()
    assert writer.settled == [(2, 1_000), (3, 1_100)]
    watcher.request(2, 1_001, 1_500)
    watcher.look()
    assert writer.settled[2:] == [(2, 1_500)]


def test_a_request_is_served_after_an_outage_unless_the_partition_went_to_another_worker() -> None:
    writer = Writer()
    watcher = SettledWatcher(writer, Stages(1), look_s=0)
    watcher.request(2, 900, 1_000)
    writer.away = True
    with pytest.raises(Unavailable):
        watcher.look()
    writer.away = False
    watcher.look()
    assert writer.settled == [(2, 1_000)]
    watcher.request(2, 1_500, 2_000)
    watcher.forget()
    watcher.look()
    assert len(writer.settled) == 1
    watcher.request(2, 900, 3_000)  # of the next owner, which knows nothing of the first record
    watcher.look()
    assert writer.settled[1:] == [(2, 3_000)]


def test_usage_is_not_complete_while_historical_usage_is_loaded() -> None:
    writer, loaded = Writer(), {3}
    watcher = SettledWatcher(writer, Stages(1), loaded.__contains__, look_s=0)
    watcher.request(2, 900, 1_000)
    watcher.request(3, 900, 1_000)
    watcher.look()
    assert writer.settled == [(3, 1_000)]
    loaded.add(2)
    watcher.look()
    assert writer.settled == [(3, 1_000), (2, 1_000)]


class Moves:
    """One stage at work: each call moves all that it can read to the next topic, in a transaction as the engine's."""

    def __init__(self, settings: Settings, stage: str, source: str, target: str) -> None:
        self._config = kafka_client.client_config(settings)
        self._group, self._source, self._target = group_of(stage), source, target

    def move(self) -> None:
        consumer = Consumer(
            {
                **self._config,
                "group.id": "test-moves",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )
        producer = TransactionalProducer(self._config, self._group, Position(self._source, 0))
        metadata, producing = group_metadata(self._config, self._group), False
        consumer.assign([TopicPartition(self._source, 0, 0)])
        while (message := consumer.poll(30)) is not None and message.error() is None:
            if not producing:
                producer.begin()
                producing = True
            producer.produce(self._target, message.value(), partition=0)
        assert message is not None, "the broker does not answer"
        end = message.offset()
        consumer.close()
        assert end is not None
        if not producing:
            producer.begin()
        producer.commit(end, metadata)


class Asked(StagePositions):
    """Positions that count which stage was found behind."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.behind: dict[str, threading.Semaphore] = {stage: threading.Semaphore(0) for stage in CHAIN}

    def unread(self, stage: str, ends: Mapping[Place, int]) -> set[Place]:
        found = super().unread(stage, ends)
        if found:
            self.behind[stage].release()
        return found


def test_no_record_comes_before_the_windows_of_a_stage_that_is_behind(fresh_topics: Settings) -> None:
    settings = fresh_topics
    writer, positions = KafkaWriter(settings, "test"), Asked(settings)
    topics = ("events", "events-accepted", "events-unique", "usage", WORK)
    moves = [Moves(settings, *step) for step in zip(CHAIN, topics, topics[1:], strict=False)]
    writer.write([WrittenRecord("events", b"an event", partition=0)])
    watcher = SettledWatcher(writer, positions, look_s=0.01)
    watcher.request(0, 900, 1_000)
    retry = Retry(
        logging.getLogger(__name__), "look", first_s=0.01
    )  # topics that were just made have no leader yet
    looking = threading.Thread(target=retry.blocking, args=(watcher.look,), daemon=True)
    looking.start()
    for stage, step in zip(CHAIN, moves, strict=True):
        assert positions.behind[stage].acquire(timeout=300), f"{stage} was not waited for"
        assert looking.is_alive()
        step.move()
    looking.join(PATIENCE_S)
    assert not looking.is_alive()
    found = committed(settings)
    assert found[0] == b"an event"
    assert msgspec.json.decode(found[1], type=BillingWork) == BillingWork("settled", settled_ms=1_000)
    writer.close()


def committed(settings: Settings) -> list[bytes]:
    """The first two records of partition 0 of `billing-work`."""
    consumer = Consumer(
        {**kafka_client.client_config(settings), "group.id": "test-read", "isolation.level": "read_committed"}
    )
    consumer.assign([TopicPartition(WORK, 0, 0)])
    found = consumer.consume(2, timeout=30)
    consumer.close()
    return [message.value() or b"" for message in found]
