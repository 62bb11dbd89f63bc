"""The heartbeat: one at once and whenever asked for, a tombstone at the end, and no error that ends the worker."""

from __future__ import annotations

import threading
from typing import cast

import msgspec
import pytest
from confluent_kafka import KafkaError

from pipeline.errors import Unavailable
from pipeline.records import Worker
from pipeline.stores.kafka.writer import DeliveryReport, KafkaWriter, WrittenRecord
from pipeline.worker.heartbeat import BEAT_S, TOPIC, Heartbeat, describe
from tests.fixtures.patience import PATIENCE_S


class Writer:
    """Kafka, which may have no room or refuse records."""

    def __init__(self) -> None:
        self.records: list[WrittenRecord] = []
        self.full, self.error = False, cast(KafkaError | None, None)
        self.sent = threading.Semaphore(0)
        self.closed_s = 0.0

    def send(self, record: WrittenRecord, report: DeliveryReport) -> None:
        self.sent.release()
        if self.full:
            raise Unavailable("Too many heartbeats wait.")
        self.records.append(record)
        report(self.error, None)

    def close(self, wait_s: float) -> None:
        self.closed_s = wait_s


def started(writer: Writer, beat_s: float = BEAT_S) -> Heartbeat:
    worker = describe("ingest", "ingest-1", "")
    heartbeat = Heartbeat(
        cast(KafkaWriter, writer), worker, lambda one: msgspec.structs.replace(one, events_in=7), beat_s
    )
    heartbeat.start()
    return heartbeat


def test_a_beat_at_once_one_when_asked_and_a_tombstone_at_the_end() -> None:
    writer = Writer()
    heartbeat = started(writer, 3_600)
    assert writer.sent.acquire(timeout=PATIENCE_S)
    heartbeat.now()
    assert writer.sent.acquire(timeout=PATIENCE_S), "it waits for its next turn"
    heartbeat.close()
    assert {(one.topic, one.key, one.partition) for one in writer.records} == {(TOPIC, b"ingest-1", 0)}
    *beats, farewell = [one.value for one in writer.records]
    assert farewell is None and writer.closed_s > 0
    assert {msgspec.json.decode(beat or b"", type=Worker).events_in for beat in beats} == {7}


def test_a_full_queue_ends_nothing() -> None:
    writer = Writer()
    writer.full = True
    heartbeat = started(writer)
    for _ in range(2):
        assert writer.sent.acquire(timeout=PATIENCE_S)
        heartbeat.now()
    heartbeat.close()
    assert writer.records == []


def test_a_row_of_failures_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    writer = Writer()
    writer.error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no access to workers")
    heartbeat = started(writer)
    for _ in range(3):
        assert writer.sent.acquire(timeout=PATIENCE_S)
        heartbeat.now()
    heartbeat.close()
    assert caplog.text.count("cannot publish a heartbeat: no access to workers") == 1
