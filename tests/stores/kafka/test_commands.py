"""Waiting for workers outlives a broker that is killed."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from pipeline.local.kafka import Kafka
from pipeline.local.process import free_port
from pipeline.settings import Settings
from pipeline.stores.kafka.commands import Commands
from pipeline.stores.kafka.definitions import Replies, WorkersView
from tests.fixtures.broker import reset_topics


@pytest.mark.services
def test_who_must_know_a_change_is_found_out_after_a_broker_was_killed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The group exists, so its coordinator is asked, and is known from before."""
    broker = Kafka(tmp_path_factory.mktemp("restarted"), free_port())
    broker.start()
    try:
        settings = Settings.model_construct(kafka=broker.address)
        reset_topics(settings)
        member = Consumer({"bootstrap.servers": broker.address, "group.id": "tallymark-alert"})
        member.subscribe(["usage"])
        with WorkersView(settings) as workers:
            workers.wait_loaded()
            commands = Commands(settings, Replies(settings), workers)
            member.poll(0.1)
            commands.until_known(0, 1)
            broker.kill()
            broker.start()
            for _ in range(3):
                commands.until_known(0, 1)
            commands.close()
        member.close()
    finally:
        broker.kill()
