"""Balances in a real Redis: the newest wins in any order, and a copy that lost something says so."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from random import Random

import pytest
import redis

from pipeline.core.metering.identity import customer_hash
from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.redis import Redis, is_available
from pipeline.records import Balance
from pipeline.stores.redis_balances import BalanceReader, BalanceWriter, Keys
from tests.fixtures.absent import absent
from tests.local.test_redis import started

PARTITIONS = 4


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not is_available():
        absent("there is no redis-server")
    server = Redis(tmp_path_factory.mktemp("redis"), process.free_port())
    running = started(server)
    yield server.url
    process.kill(running)


@pytest.fixture
def keys() -> Keys:
    return Keys(uuid.uuid4().hex, PARTITIONS)


def balance(revision: int, customer: str = "c", feature: str = "f") -> Balance:
    return Balance(
        "default", customer, feature, "e", "metered", revision, True, revision, balance=str(revision)
    )


def whole(writer: BalanceWriter) -> None:
    for partition in range(PARTITIONS):
        writer.begin(partition, "t")
        assert writer.finish(partition, "t")


def read(url: str, keys: Keys, customer: str, *features: str) -> list[Balance | None]:
    async def ask() -> list[Balance | None]:
        reader = BalanceReader(url, None, keys)
        try:
            return (await reader.read("default", [(customer, features)]))[0]
        finally:
            await reader.close()

    return asyncio.run(ask())


def test_the_newest_revision_stands_in_whatever_order_they_are_written(url: str, keys: Keys) -> None:
    writer = BalanceWriter(url, None, keys)
    whole(writer)
    for number, order in enumerate(itertools.permutations((9, 10, 100))):
        for revision in order:
            writer.write([balance(revision, f"c{number}")])
        assert read(url, keys, f"c{number}", "f") == [balance(100, f"c{number}")]


def test_many_customers_and_features_keep_apart(url: str, keys: Keys) -> None:
    writer = BalanceWriter(url, None, keys)
    whole(writer)
    rng = Random(1)
    newest: dict[tuple[str, str], Balance] = {}
    written = [
        balance(rng.randrange(10**12), f"c{rng.randrange(9)}", f"f{rng.randrange(5)}") for _ in range(500)
    ]
    writer.write(written[:250])
    writer.write(written[250:])
    for one in written:
        held = newest.get((one.customer, one.feature))
        if held is None or held.revision <= one.revision:
            newest[one.customer, one.feature] = one
    for (customer, feature), one in newest.items():
        assert read(url, keys, customer, feature, "absent") == [one, None]


def test_a_copy_that_is_not_whole_is_no_answer(url: str, keys: Keys) -> None:
    writer = BalanceWriter(url, None, keys)
    writer.write([balance(1)])
    with pytest.raises(Unavailable, match="rebuilt"):
        read(url, keys, "c", "f")
    partition = customer_hash("default", "c") % PARTITIONS
    assert not writer.finish(partition, "never begun") and not writer.is_whole(partition)
    assert writer.begin(partition, "first") and writer.begin(partition, "second")
    assert writer.finish(partition, "first") and writer.is_whole(partition)
    assert writer.finish(partition, "second") and not writer.finish(partition, "second")
    assert read(url, keys, "c", "f") == [balance(1)]


def test_what_was_emptied_while_it_was_written_is_not_whole(url: str, keys: Keys) -> None:
    writer = BalanceWriter(url, None, keys)
    writer.begin(0, "t")
    redis.Redis.from_url(url).flushall()
    assert not writer.finish(0, "t")
    assert not writer.is_whole(0)


def test_removed_balances_are_no_answer_until_a_later_attempt_has_written_all(url: str, keys: Keys) -> None:
    writer = BalanceWriter(url, None, keys)
    whole(writer)
    writer.write([balance(1, f"c{number}") for number in range(3_000)])
    other = Keys(uuid.uuid4().hex, PARTITIONS)
    BalanceWriter(url, None, other).write([balance(7)])
    for partition in range(PARTITIONS):
        writer.begin(partition, "before")
    assert writer.clear("a") == 3_000
    assert redis.Redis.from_url(url).keys(other.every_customer) and not redis.Redis.from_url(url).keys(
        keys.every_customer
    )
    for partition in range(PARTITIONS):
        assert not writer.finish(partition, "before") and not writer.is_whole(partition)
    with pytest.raises(Unavailable, match="rebuilt"):
        read(url, keys, "c1", "f")
    whole(writer)
    assert read(url, keys, "c1", "f") == [None]


class Interrupted(BalanceWriter):
    """Runs `meanwhile` before each step of a removal."""

    meanwhile: Callable[[], object] = str

    def _removed(self, token: str, found: Sequence[str | bytes]) -> int:
        self.meanwhile()
        return super()._removed(token, found)


def test_no_attempt_begins_while_balances_are_removed(url: str, keys: Keys) -> None:
    writer = Interrupted(url, None, keys)
    begun: list[bool] = []
    writer.meanwhile = lambda: begun.append(writer.begin(0, "t"))
    writer.write([balance(1)])
    writer.clear("a")
    assert begun and not any(begun)
    assert writer.begin(0, "t")


def test_a_removal_that_another_one_replaced_removes_nothing_more(url: str, keys: Keys) -> None:
    writer = Interrupted(url, None, keys)
    writer.write([balance(1)])

    def replace() -> None:
        BalanceWriter(url, None, keys).clear("b")
        whole(BalanceWriter(url, None, keys))
        writer.write([balance(2)])

    writer.meanwhile = replace
    with pytest.raises(Unavailable, match="another process"):
        writer.clear("a")
    assert read(url, keys, "c", "f") == [balance(2)]


def test_a_killed_removal_lets_no_attempt_begin_until_it_is_repeated(url: str, keys: Keys) -> None:
    writer = Interrupted(url, None, keys)
    whole(writer)
    writer.write([balance(10**9)])  # an altered value, which the right one would not replace

    def killed() -> None:
        raise KeyboardInterrupt

    writer.meanwhile = killed
    with pytest.raises(KeyboardInterrupt):
        writer.clear("a")
    assert redis.Redis.from_url(url).ttl(keys.clearing) == -1, "it never expires"
    assert not writer.begin(0, "t") and not writer.is_whole(0)
    with pytest.raises(Unavailable, match="If that was interrupted, run it again"):
        read(url, keys, "c", "f")
    writer.meanwhile = str
    assert writer.clear("b") == 1
    whole(writer)
    assert read(url, keys, "c", "f") == [None]


def test_an_unavailable_redis_is_reported(keys: Keys) -> None:
    nowhere = f"redis://{process.HOST}:{process.free_port()}/0"
    writer = BalanceWriter(nowhere, None, keys)
    for act in (
        lambda: writer.write([balance(1)]),
        lambda: writer.begin(0, "t"),
        lambda: writer.is_whole(0),
        lambda: writer.clear("t"),
    ):
        with pytest.raises(Unavailable, match="Redis"):
            act()
    with pytest.raises(Unavailable, match="Redis"):
        read(nowhere, keys, "c", "f")
