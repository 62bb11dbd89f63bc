"""Balances in Redis: a copy for fast reads, never the truth.

Owns: the keys, the guard that keeps an older balance from overwriting a newer one, and knowing whether the copy is
whole. Does not own: what a balance is (core.quota.balance), filling the copy (agents.live).
Keys begin with the id of the topic `balances`, so that a cluster made anew does not meet the copy of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pipeline.core.metering.identity import customer_hash
from pipeline.errors import Unavailable
from pipeline.records import Balance

TIMEOUT_S = 2.0
READ_S = 1.0  # of a reader: for a free connection, for connecting and for an answer, each; 503 within 3 s
_REVISION_DIGITS = 20
# A field holds the revision, then the balance as JSON. Lua compares text of one length as it compares numbers.
_GUARD = """
for i = 2, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if not held or string.sub(held, 1, 20) <= string.sub(ARGV[i + 1], 1, 20) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
"""
_FINISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Balance).decode


class Keys:
    """The names of keys. incarnation: id of the topic `balances`; partitions: how many it has."""

    def __init__(self, incarnation: str, partitions: int) -> None:
        self._prefix = f"tallymark:{incarnation}"
        self._partitions = partitions

    def customer(self, namespace: str, customer: str) -> str:
        """The hash with a customer's balances by feature."""
        return f"{self._prefix}:balances:{namespace}/{customer}"

    def whole(self, partition: int) -> str:
        """Exists while the copy of a partition of `balances` is whole."""
        return f"{self._prefix}:whole:{partition}"

    def begun(self, partition: int) -> str:
        """Holds the token of the newest attempt to write a whole partition."""
        return f"{self._prefix}:begun:{partition}"

    def whole_of(self, namespace: str, customer: str) -> str:
        """As `whole`, of the partition that has the customer."""
        return self.whole(customer_hash(namespace, customer) % self._partitions)


class BalanceWriter:
    """Blocking; the live stage uses it. Raises Unavailable."""

    def __init__(self, url: str, password: str | None, keys: Keys) -> None:
        options: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        if password:
            options["password"] = password
        self._redis = redis.Redis.from_url(url, **options)
        self._guard = self._redis.register_script(_GUARD)
        self._finish = self._redis.register_script(_FINISH)
        self._keys = keys

    def write(self, balances: Iterable[Balance]) -> None:
        """Puts each balance in its place unless a newer one is there."""
        by_customer: dict[str, list[bytes]] = {}
        for balance in balances:
            fields = by_customer.setdefault(self._keys.customer(balance.namespace, balance.customer), [b""])
            held = b"%0*d" % (_REVISION_DIGITS, balance.revision)
            fields += [balance.feature.encode(), held + _encode(balance)]
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key, arguments in by_customer.items():
                    self._guard(keys=[key], args=arguments, client=pipe)
                pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis did not take balances: {error}") from error

    def is_whole(self, partition: int) -> bool:
        """Whether everything of the partition was written since Redis was last emptied."""
        try:
            return bool(self._redis.exists(self._keys.whole(partition)))
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    def begin(self, partition: int, token: str) -> None:
        """Says that the partition is being written from its beginning; `token` is the attempt's own."""
        try:
            self._redis.set(self._keys.begun(partition), token)
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    def finish(self, partition: int, token: str) -> bool:
        """Makes the copy whole, unless Redis was emptied since `begin` or another attempt began."""
        keys = [self._keys.begun(partition), self._keys.whole(partition)]
        try:
            return bool(self._finish(keys=keys, args=[token]))
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error


class BalanceReader:
    """For the API's event loop. Raises Unavailable when Redis is away or its copy is not whole."""

    def __init__(self, url: str, password: str | None, keys: Keys, connections: int = 32) -> None:
        options: dict[str, Any] = {"socket_timeout": READ_S, "socket_connect_timeout": READ_S}
        if password:
            options["password"] = password
        # A connection that a restart cut is made again once; a server that is silent is not asked again.
        retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        # Who finds every connection in use waits for one.
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url, max_connections=connections, timeout=READ_S, retry=retry, **options
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)
        self._keys = keys

    async def read(
        self, namespace: str, wanted: Sequence[tuple[str, Sequence[str]]]
    ) -> list[list[Balance | None]]:
        """The balances of (customer, features) pairs, in order; None where there never was an entitlement."""
        whole = dict.fromkeys(self._keys.whole_of(namespace, customer) for customer, _ in wanted)
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for customer, features in wanted:
                    pipe.hmget(self._keys.customer(namespace, customer), list(features))
                pipe.exists(*whole)
                *held, found = await pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        return [_balances(one, found == len(whole)) for one in held]

    async def read_all(self, namespace: str, customer: str) -> list[Balance]:
        """Every balance of a customer, by feature."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hvals(self._keys.customer(namespace, customer))
                pipe.exists(self._keys.whole_of(namespace, customer))
                held, whole = await pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        found = [one for one in _balances(held, bool(whole)) if one is not None]
        return sorted(found, key=lambda one: one.feature)

    async def close(self) -> None:
        await self._redis.aclose()


def _balances(held: Sequence[bytes | None], whole: bool) -> list[Balance | None]:
    if not whole:
        raise Unavailable("The copy of the balances in Redis is being rebuilt.")
    return [None if one is None else _decode(one[_REVISION_DIGITS:]) for one in held]
