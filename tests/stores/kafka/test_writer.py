"""The one writer against a real broker: what is acknowledged is in the topic, and every failure has Kafka's message."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import NewTopic

from pipeline.errors import Unavailable
from pipeline.local.kafka import Kafka
from pipeline.local.process import free_port
from pipeline.settings import Settings
from pipeline.stores.kafka import client
from pipeline.stores.kafka.writer import Deliveries, KafkaWriter, Outcomes, WrittenRecord


@pytest.fixture
def topic(settings: Settings) -> str:
    """A new topic with two partitions that takes records of 10,000 bytes."""
    return made_topic(settings)


def made_topic(settings: Settings) -> str:
    name = f"written-{uuid.uuid4().hex[:8]}"
    new = NewTopic(name, 2, 1, config={"max.message.bytes": "10000"})
    admin = client.admin(settings)  # a name of its own: it must outlive its futures
    for future in admin.create_topics([new]).values():
        future.result()
    return name


@pytest.fixture
def writer(settings: Settings) -> Iterator[KafkaWriter]:
    with KafkaWriter(settings, "things", 20.0) as found:
        yield found


def away(timeout_s: float = 0.5, **options: int) -> KafkaWriter:
    """A writer whose broker does not run."""
    closed_port = Settings.model_construct(kafka=f"127.0.0.1:{free_port()}")
    return KafkaWriter(
        closed_port, "things", timeout_s, {name.replace("_", "."): value for name, value in options.items()}
    )


def content(settings: Settings, topic: str) -> list[Message]:
    """All records of the topic, by partition."""
    consumer = Consumer(
        client.client_config(settings)
        | {"group.id": "t", "enable.partition.eof": True, "auto.offset.reset": "earliest"}
    )
    found: list[Message] = []
    try:
        for partition in (0, 1):
            consumer.assign([TopicPartition(topic, partition, 0)])
            while (message := consumer.poll(20)) is not None:
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    break
                found.append(message)
    finally:
        consumer.close()
    return found


def values(settings: Settings, topic: str) -> list[bytes | None]:
    return [message.value() for message in content(settings, topic)]


def test_what_write_returns_for_is_in_the_topic_as_it_was_given(
    settings: Settings, writer: KafkaWriter, topic: str
) -> None:
    writer.write(
        [
            WrittenRecord(topic, b"a", "key", 1, [("h", b"1")]),
            WrittenRecord(topic, None, b"key", 1),
            WrittenRecord(topic, b"b", partition=0),
        ]
    )
    found = [
        (one.partition(), one.key(), one.value(), one.headers() or []) for one in content(settings, topic)
    ]
    assert found == [(0, None, b"b", []), (1, b"key", b"a", [("h", b"1")]), (1, b"key", None, [])]


def test_nothing_to_write_needs_no_broker() -> None:
    away().write([])


def test_close_waits_for_what_was_sent(settings: Settings, topic: str) -> None:
    deliveries = Deliveries()
    with KafkaWriter(settings, "things", options={"linger.ms": 500}) as writer:
        for number in range(1000):
            writer.send(WrittenRecord(topic, b"%d" % number), deliveries.report)
    assert (deliveries.acknowledged, deliveries.failures) == (1000, Counter())
    assert sorted(map(int, filter(None, values(settings, topic)))) == list(range(1000))


def test_many_threads_write_at_once(settings: Settings, writer: KafkaWriter, topic: str) -> None:
    threads = [
        threading.Thread(target=writer.write, args=([WrittenRecord(topic, b"%d" % n)],)) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, filter(None, values(settings, topic)))) == list(range(20))


def test_many_coroutines_append_at_once_and_one_that_is_cancelled_disturbs_no_other(
    settings: Settings, writer: KafkaWriter, topic: str
) -> None:
    async def story() -> list[BaseException | None]:
        tasks = [
            asyncio.create_task(writer.append(WrittenRecord(topic, b"%d" % number))) for number in range(100)
        ]
        await asyncio.sleep(0)
        tasks[3].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(story())
    assert [type(one) for one in outcomes if one is not None] == [asyncio.CancelledError]
    assert set(values(settings, topic)) >= {b"%d" % number for number in range(100) if number != 3}


def test_a_topic_that_does_not_exist_is_named_as_unknown(settings: Settings) -> None:
    writer = KafkaWriter(settings, "things", 2.0)
    with pytest.raises(Unavailable, match=rf"^Kafka at {settings.kafka} refused: .*[Uu]nknown topic"):
        writer.write([WrittenRecord("no-such-topic", b"a")])


@pytest.mark.parametrize("size", [20_000, 2_000_000], ids=["for the topic", "for the producer"])
def test_a_record_that_is_too_large_is_refused_with_kafkas_message(
    settings: Settings, writer: KafkaWriter, topic: str, size: int
) -> None:
    large = WrittenRecord(topic, os.urandom(size))  # which no compression makes smaller
    sentence = rf"^Kafka at {settings.kafka} refused: MSG_SIZE_TOO_LARGE, .+"
    with pytest.raises(Unavailable, match=sentence):
        writer.write([large])
    with pytest.raises(Unavailable, match=sentence):
        asyncio.run(writer.append(large))
    deliveries = Deliveries()
    writer.send(large, deliveries.report)
    writer.close()
    assert deliveries.failures == {"MSG_SIZE_TOO_LARGE": 1}
    writer.write([WrittenRecord(topic, b"small")])
    assert values(settings, topic) == [b"small"]


def test_write_waits_for_room_in_the_queue(settings: Settings, topic: str) -> None:
    with KafkaWriter(settings, "things", 20.0, {"queue.buffering.max.messages": 5}) as writer:
        writer.write(WrittenRecord(topic, b"%d" % number) for number in range(200))
    assert len(values(settings, topic)) == 200


def test_a_full_queue_refuses_at_once_what_does_not_wait() -> None:
    writer = away(queue_buffering_max_messages=1)
    record = WrittenRecord("t", b"a", partition=0)
    writer.send(record)
    with pytest.raises(Unavailable, match=r"^Too many things wait for Kafka at 127"):
        writer.send(record)
    with pytest.raises(Unavailable, match="Too many things"):
        asyncio.run(writer.append(record))
    writer.close(0)


@pytest.mark.services  # it waits for two timeouts of 2 s
def test_a_missing_broker_is_an_error_with_the_cause_of_its_connection() -> None:
    writer = away(2.0)  # long enough for a busy machine to refuse the connection
    sentence = r"^Kafka at 127\.0\.0\.1:\d+ does not answer: .*Connection refused"
    with pytest.raises(Unavailable, match=sentence):
        writer.write([WrittenRecord("t", b"a")])
    with pytest.raises(Unavailable, match=sentence):
        asyncio.run(writer.append(WrittenRecord("t", b"a")))
    writer.close(0)


def test_a_broker_that_comes_back_gets_what_was_written_meanwhile(tmp_path: Path, kafka: Kafka) -> None:
    broker = Kafka(tmp_path, free_port()).start()
    settings = Settings.model_construct(kafka=broker.address)
    try:
        topic = made_topic(settings)
        with KafkaWriter(settings, "things", 60.0) as writer:
            writer.write([WrittenRecord(topic, b"before", partition=0)])
            broker.kill()
            deliveries = Deliveries()
            writer.send(WrittenRecord(topic, b"meanwhile", partition=0), deliveries.report)
            assert deliveries.acknowledged == 0
            broker.start()
            assert deliveries.wait(1, 60.0)
            writer.write([WrittenRecord(topic, b"after", partition=0)])
        assert values(settings, topic) == [b"before", b"meanwhile", b"after"]
    finally:
        broker.kill()


def test_after_a_fatal_error_the_next_record_goes_through_another_producer(
    settings: Settings, writer: KafkaWriter, topic: str
) -> None:
    writer.write([WrittenRecord(topic, b"first", partition=0)])
    assert writer._open is not None
    before = writer._open
    before.note(KafkaError(KafkaError._FATAL, "out of order", fatal=True))
    writer.write([WrittenRecord(topic, b"second", partition=0)])
    assert writer._open is not before
    assert values(settings, topic) == [b"first", b"second"]


def test_outcomes_that_two_threads_report_at_once_reach_both_coroutines() -> None:
    in_step = threading.Barrier(2)

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        """Runs both threads line by line, until one has to wait for the other."""
        if frame.f_code is not Outcomes.report.__code__:
            return None
        with suppress(threading.BrokenBarrierError):
            in_step.wait(0.2)
        return trace

    async def report_both() -> None:
        loop = asyncio.get_running_loop()
        outcomes, waiters = Outcomes(loop), [loop.create_future() for _ in range(2)]
        threading.settrace(trace)
        try:
            threads = [threading.Thread(target=outcomes.report, args=(waiter, None)) for waiter in waiters]
            for thread in threads:
                thread.start()
        finally:
            threading.settrace(None)  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await asyncio.gather(*waiters)
        for thread in threads:
            thread.join()

    asyncio.run(report_both())
