"""Redis rebuilt by a command, with a real Redis and the real topic: wrong values go, and readers never get a guess."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import redis
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from pipeline.agents.live_rebuild import INPUT, RebuiltBalances, rebuild
from pipeline.cli.main import main
from pipeline.core.metering.identity import customer_hash
from pipeline.errors import Rejected, Unavailable
from pipeline.local import process
from pipeline.local.redis import is_available
from pipeline.records import Balance
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.redis_balances import BalanceReader, BalanceWriter, Keys
from tests.fixtures.absent import absent
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.redis_server import running

CUSTOMERS = [f"c{number}" for number in range(30)]


def balance(customer: str, amount: str, revision: int = 1) -> Balance:
    return Balance("default", customer, "tokens", "e", "metered", revision, True, 0, balance=amount)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not is_available():
        absent("there is no redis-server")
    with running(tmp_path_factory.mktemp("redis-rebuild")) as (server, _):
        yield server.url


@dataclass
class World:
    """The topic `balances`, and the copy."""

    settings: Settings

    def __post_init__(self) -> None:
        self.partitions = self.settings.partitions
        self.keys = Keys(cluster.topic_ids(self.settings, [INPUT])[INPUT], self.partitions)

    def publish(self, *balances: Balance) -> None:
        producer = Producer(cluster.producer_config(self.settings))
        for one in balances:
            partition = customer_hash(one.namespace, one.customer) % self.partitions
            producer.produce(INPUT, msgspec.json.encode(one), one.customer.encode(), partition)
        assert producer.flush(PATIENCE_S) == 0

    def writer(self) -> BalanceWriter:
        return BalanceWriter(self.settings.redis, None, self.keys)

    def amounts(self) -> list[str | None]:
        """Of each customer, as the API reads them. Raises Unavailable."""

        async def read() -> list[list[Balance | None]]:
            reader = BalanceReader(self.settings.redis, None, self.keys)
            try:
                return await reader.read("default", [(name, ["tokens"]) for name in CUSTOMERS])
            finally:
                await reader.close()

        return [None if one is None else one.balance for (one,) in asyncio.run(read())]


@pytest.fixture
def world(fresh_topics: Settings, url: str) -> World:
    made = World(fresh_topics.model_copy(update={"redis": url}))
    made.publish(*(balance(name, "old", 1) for name in CUSTOMERS))
    made.publish(*(balance(name, "5", 2) for name in CUSTOMERS))
    return made


def test_values_that_were_changed_by_hand_are_replaced(world: World) -> None:
    seen: list[tuple[int, int]] = []
    assert rebuild(world.settings, lambda *so_far: seen.append(so_far)) == RebuiltBalances(
        0, 2 * len(CUSTOMERS), world.partitions
    )
    assert seen == sorted(seen) and seen[-1] == (2 * len(CUSTOMERS), 2 * len(CUSTOMERS))
    world.writer().write([balance(CUSTOMERS[0], "wrong", 10**9), balance("c-unknown", "7", 1)])
    assert world.amounts() == ["wrong", *["5"] * (len(CUSTOMERS) - 1)]
    assert rebuild(world.settings).removed == len(CUSTOMERS) + 1
    assert world.amounts() == ["5"] * len(CUSTOMERS)
    assert not redis.Redis.from_url(world.settings.redis).exists(world.keys.customer("default", "c-unknown"))


def test_what_was_killed_in_the_middle_gives_no_values_until_it_is_repeated(world: World) -> None:
    rebuild(world.settings)

    def killed(done: int, of: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(world.settings, killed)
    with pytest.raises(Unavailable, match="rebuilt"):
        world.amounts()
    rebuild(world.settings)
    assert world.amounts() == ["5"] * len(CUSTOMERS)


def test_what_the_running_stage_writes_meanwhile_stays(world: World) -> None:
    store = world.writer()

    def live(done: int, of: int) -> None:
        world.publish(balance(CUSTOMERS[0], "6", 3))
        store.write([balance(CUSTOMERS[0], "6", 3)])
        for partition in range(world.partitions):
            store.begin(partition, "of live")

    rebuild(world.settings, live)
    assert world.amounts() == ["6", *["5"] * (len(CUSTOMERS) - 1)]


def test_a_redis_that_is_emptied_meanwhile_is_not_complete(world: World) -> None:
    with pytest.raises(Unavailable, match="Redis was emptied, or another process has begun to rebuild it"):
        rebuild(world.settings, lambda done, of: redis.Redis.from_url(world.settings.redis).flushall())
    with pytest.raises(Unavailable, match="rebuilt"):
        world.amounts()


def run(world: World, folder: Path, address: str) -> Result:
    config = folder / "tallymark.toml"
    config.write_text(
        f'kafka = "{world.settings.kafka}"\npartitions = {world.partitions}\nredis = "{address}"\n'
    )
    return CliRunner().invoke(main, ["rebuild", "redis"], env={"TALLYMARK_CONFIG": str(config)})


def test_the_command_shows_what_it_did_and_why_it_could_not(world: World, tmp_path: Path) -> None:
    done = run(world, tmp_path, world.settings.redis)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].split() == [str(world.partitions), "0", "60"]
    away = run(world, tmp_path, f"redis://127.0.0.1:{process.free_port()}")
    assert away.exit_code == 3 and "Redis does not answer: Error 111" in away.output
    assert run(world, tmp_path, "").exit_code == 2
    with pytest.raises(Rejected, match="setting redis is empty"):
        rebuild(world.settings.model_copy(update={"redis": ""}))
