"""The membership of a dead process: it ends before its session does, and nothing else changes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka.admin import NewTopic

from pipeline.engine import membership
from pipeline.local.process import HOST, free_port
from pipeline.settings import Settings
from pipeline.stores.kafka import topic_admin
from tests.fixtures.patience import PATIENCE_S, until

SESSION_MS = 300_000
assert PATIENCE_S * 1000 < SESSION_MS, "a test that waits for the end of a session fails"


@pytest.fixture
def name(settings: Settings) -> str:
    """A topic of two partitions, and a group of the same name."""
    name = f"group-{uuid.uuid4().hex[:8]}"
    topic_admin.create(settings, [NewTopic(name, 2, 1)])
    return name


@asynccontextmanager
async def member(settings: Settings, name: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of the group that owns what Kafka has assigned to it; the test ends its process, as it were."""
    consumer = AIOKafkaConsumer(
        name,
        bootstrap_servers=settings.kafka,
        group_id=name,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=100,
        rebalance_timeout_ms=SESSION_MS,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def kill(consumer: AIOKafkaConsumer) -> None:
    """As SIGKILL does: the connections end, and no request leaves the group."""
    coordinator = consumer._coordinator

    async def nothing() -> None:
        pass

    coordinator._maybe_leave_group = nothing
    await consumer.stop()


async def _taken_over(settings: Settings, name: str) -> None:
    everything = {TopicPartition(name, 0), TopicPartition(name, 1)}
    async with member(settings, name) as first, member(settings, name) as second:
        await asyncio.to_thread(until, lambda: len(first.assignment()) == len(second.assignment()) == 1)
        dead = first._coordinator.member_id
        await kill(first)
        assert await asyncio.to_thread(membership.end, settings.kafka, None, name, dead)
        await asyncio.to_thread(until, lambda: second.assignment() == everything)
        assert not await asyncio.to_thread(membership.end, settings.kafka, None, name, dead), "it is gone"
        assert second.assignment() == everything


def test_the_others_own_the_partitions_of_a_dead_member_before_its_session_ends(
    settings: Settings, name: str
) -> None:
    asyncio.run(_taken_over(settings, name))


def test_a_member_that_is_unknown_changes_nothing(settings: Settings, name: str) -> None:
    assert not membership.end(settings.kafka, None, name, "unknown")


def test_without_a_broker_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert not membership.end(f"{HOST}:{free_port()}", None, "tallymark-ingest", "dead")
    assert "cannot remove the former worker from tallymark-ingest" in caplog.text


def test_the_member_id_is_that_of_the_last_process(tmp_path: Path) -> None:
    assert membership.former(tmp_path) is None
    membership.note(tmp_path, "a")
    membership.note(tmp_path, "b")
    assert membership.former(tmp_path) == "b"
    assert [file.name for file in tmp_path.iterdir()] == [membership.FILE]


def test_a_full_disk_does_not_stop_a_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{membership.FILE}.part").mkdir()  # what cannot be written, also by root
    membership.note(tmp_path, "a")
    assert membership.former(tmp_path) is None
    assert f"cannot keep the member id in {tmp_path}: Is a directory" in caplog.text
