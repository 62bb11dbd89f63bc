"""The copy of balances in Redis, with a real Redis and the real topic: built, rebuilt, and never older."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from pipeline.agents.live import INPUT, RebuildWatch, create
from pipeline.engine.chunk import Chunk, Position
from pipeline.engine.stage import Stage
from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.redis import Redis, is_available
from pipeline.records import Balance
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.redis_balances import BalanceReader, BalanceWriter, Keys
from tests.fixtures.absent import absent
from tests.fixtures.fake_transaction import chunk_of
from tests.local.test_redis import started


def balance(customer: str, amount: str, revision: int = 1) -> Balance:
    return Balance(
        namespace="default",
        customer=customer,
        feature="tokens",
        entitlement="e",
        type="metered",
        revision=revision,
        has_access=True,
        at_ms=0,
        balance=amount,
    )


def encoded(*balances: Balance) -> list[bytes]:
    return [msgspec.json.encode(one) for one in balances]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not is_available():
        absent("there is no redis-server")
    server = Redis(tmp_path_factory.mktemp("redis-live"), process.free_port())
    running = started(server)
    yield server.url
    process.kill(running)


@dataclass
class World:
    """The topic with one partition, and the copy."""

    settings: Settings
    url: str
    topic: str
    keys: Keys

    def publish(self, *balances: Balance) -> None:
        producer = Producer(cluster.client_config(self.settings))
        for value in encoded(*balances):
            producer.produce(self.topic, value, key=b"k", partition=0)
        producer.flush()

    def writer(self) -> BalanceWriter:
        return BalanceWriter(self.url, None, self.keys)

    def empty(self) -> None:
        redis.Redis.from_url(self.url).flushall()

    def look(self, store: BalanceWriter) -> None:
        """One look of a worker that owns the partition."""
        config = cluster.client_config(self.settings)
        stage = SimpleNamespace(
            partitions={Position(self.topic, 0): None},
            revoking=False,
            cluster=SimpleNamespace(kafka=config, group=f"g-{self.topic}"),
        )
        asyncio.run(RebuildWatch(cast(Stage, stage), store).look())

    def read(self, customer: str) -> Balance | None:
        async def main() -> Balance | None:
            reader = BalanceReader(self.url, None, self.keys)
            ((found,),) = await reader.read("default", [(customer, ["tokens"])])
            await reader.close()
            return found

        return asyncio.run(main())

    def amounts(self, *customers: str) -> list[str | None]:
        return [found.balance if (found := self.read(customer)) else None for customer in customers]


@pytest.fixture
def world(settings: Settings, redis_url: str) -> World:
    topic = f"balances-{uuid.uuid4().hex[:8]}"
    admin = cluster.admin(settings)
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result()
    return World(settings, redis_url, topic, Keys(topic, 1))


class Emptied(BalanceWriter):
    """Redis loses everything right after the first attempt at a whole copy has begun."""

    def __init__(self, world: World) -> None:
        super().__init__(world.url, None, world.keys)
        self._world = world
        self._emptied = False

    def begin(self, partition: int, token: str) -> bool:
        begun = super().begin(partition, token)
        if not self._emptied:
            self._emptied = True
            self._world.empty()
        return begun


def test_a_copy_is_built_from_the_topic(world: World) -> None:
    world.publish(balance("ann", "1"), balance("bob", "2"))
    with pytest.raises(Unavailable):
        world.read("ann")
    world.look(world.writer())
    assert world.amounts("ann", "bob", "eve") == ["1", "2", None]


def test_the_newest_of_each_customer_is_in_it(world: World) -> None:
    world.publish(*(balance("ann", str(number), number) for number in range(1, 50)))
    world.look(world.writer())
    assert world.amounts("ann") == ["49"]


def test_an_emptied_redis_is_filled_again(world: World) -> None:
    world.publish(balance("ann", "1"))
    world.look(world.writer())
    world.empty()
    with pytest.raises(Unavailable):
        world.read("ann")
    world.look(world.writer())
    assert world.amounts("ann") == ["1"]


def test_a_redis_emptied_while_it_is_filled_does_not_count_as_whole(world: World) -> None:
    world.publish(balance("ann", "1"))
    store = Emptied(world)
    world.look(store)
    with pytest.raises(Unavailable):
        world.read("ann")
    world.look(store)
    assert world.amounts("ann") == ["1"]


def test_a_newer_balance_is_not_overwritten_by_the_topics_past(world: World) -> None:
    world.publish(balance("ann", "old", 3))
    store = world.writer()
    store.write([balance("ann", "new", 5)])
    world.look(store)
    assert world.amounts("ann") == ["new"]


def test_an_empty_partition_is_whole(world: World) -> None:
    world.look(world.writer())
    assert world.amounts("ann") == [None]


def test_an_unavailable_redis_ends_the_look_and_not_the_stage(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.publish(balance("ann", "1"))
    away = BalanceWriter(f"redis://127.0.0.1:{process.free_port()}", None, world.keys)
    world.look(away)
    assert "Redis" in caplog.text
    world.look(world.writer())
    assert world.amounts("ann") == ["1"]


@dataclass
class Transaction:
    events: int = 0
    ended: str = ""

    def read(self, events: int) -> None:
        self.events += events

    def commit(self) -> None:
        self.ended = "committed"

    def abandon(self) -> None:
        self.ended = "abandoned"


@dataclass
class FakeStage:
    """Gives the agent one transaction, and takes the partition away when `revoking` is set."""

    transaction: Transaction | None = field(default_factory=Transaction)
    revoking: bool = False
    agents: list[Callable[[AsyncIterator[Chunk]], Awaitable[None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = SimpleNamespace(timer=lambda *args, **options: lambda function: function)

    def agent(self, *topics: str) -> Callable[[Any], None]:
        assert topics == (INPUT,)
        return self.agents.append

    async def begin(self, chunk: Chunk) -> Transaction | None:
        return self.transaction


class Store:
    """Redis that refuses so many writes; `after` is called at each refusal."""

    def __init__(self, refusals: int = 0, after: Callable[[], None] = lambda: None) -> None:
        self.refusals = refusals
        self.after = after
        self.written: list[Balance] = []

    def write(self, balances: list[Balance]) -> None:
        if self.refusals:
            self.refusals -= 1
            self.after()
            raise Unavailable("Redis does not answer.")
        self.written += balances


def run(stage: FakeStage, store: Store, *values: bytes | None) -> None:
    create(cast(Stage, stage), cast(BalanceWriter, store))

    async def chunks() -> AsyncIterator[Chunk]:
        yield chunk_of(INPUT, list(values))

    async def main() -> None:
        await stage.agents[0](chunks())

    asyncio.run(main())


def test_a_chunk_is_committed_once_it_is_written() -> None:
    stage, store = FakeStage(), Store()
    run(stage, store, *encoded(balance("ann", "1")), None, *encoded(balance("bob", "2")))
    assert [one.customer for one in store.written] == ["ann", "bob"]
    assert stage.transaction == Transaction(2, "committed")


def test_a_write_is_retried_until_redis_answers() -> None:
    stage, store = FakeStage(), Store(refusals=2)
    run(stage, store, *encoded(balance("ann", "1")))
    assert [one.customer for one in store.written] == ["ann"]
    assert stage.transaction == Transaction(1, "committed")


def test_a_partition_that_is_taken_away_meanwhile_is_left_uncommitted() -> None:
    stage = FakeStage()
    store = Store(refusals=1, after=lambda: setattr(stage, "revoking", True))
    run(stage, store, *encoded(balance("ann", "1")))
    assert store.written == []
    assert stage.transaction == Transaction(0, "abandoned")


def test_a_chunk_of_a_former_owner_is_dropped() -> None:
    stage, store = FakeStage(transaction=None), Store()
    run(stage, store, *encoded(balance("ann", "1")))
    assert store.written == []
