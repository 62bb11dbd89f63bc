"""The definitions of a worker: its subscribers see every change, and nothing else is kept of them."""

from __future__ import annotations

import msgspec
import pytest
from confluent_kafka import Producer

from pipeline.agents.definitions import DefinitionsFollower, MetersFollower
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from tests.fixtures.control_log import Log
from tests.fixtures.patience import PATIENCE_S, until

METER = {"slug": "calls", "eventType": "call", "aggregation": "COUNT"}


@pytest.fixture
def log(fresh_topics: Settings) -> Log:
    """A meter and two customers on `control`."""
    log = Log()
    log.do("meter.create", METER, "shop")
    for key in ("acme", "globex"):
        log.do("customer.create", {"key": key, "name": key}, "shop")
    publish(fresh_topics, log)
    return log


def publish(settings: Settings, log: Log) -> None:
    producer = Producer(cluster.producer_config(settings))
    for place, definition in log.state.items():
        producer.produce("control", msgspec.json.encode(definition), place)
    assert producer.flush(PATIENCE_S) == 0


def ignore(_: BaseException) -> None:
    """A test that fails waits in vain; a broker that ends after it is no failure."""


def test_subscribers_see_all_and_the_follower_keeps_none(settings: Settings, log: Log) -> None:
    """A worker would hold each customer twice, whether its stage uses customers or not."""
    seen: dict[str, str] = {}

    def subscribe(changes: Changes) -> None:
        for _, name, body, _ in changes.of(Customer):
            assert body is not None
            seen[name] = body.key or ""

    follower = DefinitionsFollower(settings, subscribe)
    follower.start(lambda: None, ignore)
    until(lambda: follower.revision >= log.revision)
    assert sorted(seen.values()) == ["acme", "globex"]
    assert follower._definitions.customers("shop") == []
    log.do("customer.create", {"key": "later", "name": "later"}, "shop")
    publish(settings, log)
    until(lambda: follower.revision >= log.revision)
    assert "later" in seen.values()


def test_the_index_of_meters_has_their_revision(settings: Settings, log: Log) -> None:
    follower = MetersFollower(settings)
    follower.start(lambda: None, ignore)
    until(lambda: follower.revision >= log.revision)
    index, revision = follower.current()
    assert revision >= 1
    plan = index.get("shop", "call")
    assert plan is not None and [reader.slug for reader in plan.readers] == ["calls"]
