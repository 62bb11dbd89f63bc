"""Balances in Redis: a copy for fast reads, never the source of truth.

Owns: the keys, the guard that prevents an older balance from replacing a newer one, and whether the copy is complete.
Does not own: the meaning of a balance (core.quota.balance), filling the copy (agents.live).
Keys begin with the id of the topic `balances`, so that a recreated cluster never reads the copy of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
import redis

from pipeline.core.metering.identity import customer_hash
from pipeline.errors import Unavailable
from pipeline.records import Balance
from pipeline.stores.redis_pipeline import RedisPipeline, packed

TIMEOUT_S = 2.0
SCANNED_KEYS = 1_000
READ_S = 1.0  # of a reader: for connecting and for an answer, each; 503 within 3 s
_REVISION_DIGITS = 20
# A field holds the revision, then the balance as JSON. Revisions have equal length, so Lua compares them as text.
_GUARD = """
for i = 2, #ARGV, 2 do
  local stored = redis.call('HGET', KEYS[1], ARGV[i])
  if not stored or string.sub(stored, 1, 20) <= string.sub(ARGV[i + 1], 1, 20) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
"""
# An attempt that began while balances are removed could lose what it has written, so none begins.
_BEGIN = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SADD', KEYS[1], ARGV[1])
return 1
"""
_FINISH = """
if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""
# A process that another one has replaced must remove nothing more: the copy may be complete again.
_REMOVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local removed = 0
for i = 2, #KEYS do removed = removed + redis.call('UNLINK', KEYS[i]) end
return removed
"""
_END = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Balance).decode


class Keys:
    """The names of keys. incarnation: id of the topic `balances`; partitions: how many it has."""

    def __init__(self, incarnation: str, partitions: int) -> None:
        self._prefix = f"tallymark:{incarnation}"
        self.partitions = partitions

    def customer(self, namespace: str, customer: str) -> str:
        """The hash with a customer's balances by feature."""
        return f"{self._prefix}:balances:{namespace}/{customer}"

    def whole(self, partition: int) -> str:
        """The key that exists while the copy of a partition of `balances` is complete."""
        return f"{self._prefix}:whole:{partition}"

    def attempts(self, partition: int) -> str:
        """The set of tokens of the attempts to write a whole partition."""
        return f"{self._prefix}:attempts:{partition}"

    @property
    def clearing(self) -> str:
        """The key with the token of the process that removes all balances.

        It never expires: what a killed process has left may be wrong and yet have a newer revision than the right one.
        """
        return f"{self._prefix}:clearing"

    @property
    def every_customer(self) -> str:
        """The pattern of the keys of all customers. A topic's id has no character with a meaning in patterns."""
        return self.customer("*", "")[:-1]

    def whole_of(self, namespace: str, customer: str) -> str:
        """The key `whole` of the partition that holds the customer."""
        return self.whole(customer_hash(namespace, customer) % self.partitions)


class BalanceWriter:
    """Writes balances, for the live stage. Calls block and raise Unavailable."""

    def __init__(self, url: str, password: str | None, keys: Keys) -> None:
        options: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        if password:
            options["password"] = password
        self._redis = redis.Redis.from_url(url, **options)
        self._guard = self._redis.register_script(_GUARD)
        self._begin = self._redis.register_script(_BEGIN)
        self._finish = self._redis.register_script(_FINISH)
        self._remove = self._redis.register_script(_REMOVE)
        self._end = self._redis.register_script(_END)
        self._keys = keys

    def write(self, balances: Iterable[Balance]) -> None:
        """Store the newest balance of each feature unless Redis holds a newer one."""
        by_customer: dict[str, dict[str, Balance]] = {}
        for balance in balances:
            newest = by_customer.setdefault(self._keys.customer(balance.namespace, balance.customer), {})
            before = newest.get(balance.feature)
            if before is None or before.revision <= balance.revision:
                newest[balance.feature] = balance
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key, newest in by_customer.items():
                    self._guard(keys=[key], args=[b"", *_fields(newest)], client=pipe)
                pipe.execute()
        except redis.RedisError as error:
            raise Unavailable(f"Redis refused to store balances: {error}") from error

    def is_whole(self, partition: int) -> bool:
        """Whether every balance of the partition was written since Redis was last emptied."""
        try:
            return bool(self._redis.exists(self._keys.whole(partition)))
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    def begin(self, partition: int, token: str) -> bool:
        """Start to write the partition from its beginning. Returns False until a removal that has begun is complete.

        token: unique for this attempt. Several attempts may be in progress: each writes everything.
        """
        keys = [self._keys.attempts(partition), self._keys.clearing]
        try:
            return bool(self._begin(keys=keys, args=[token]))
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    def finish(self, partition: int, token: str) -> bool:
        """Mark the copy as complete. Returns False if Redis was emptied since `begin`, or balances were removed."""
        keys = [self._keys.attempts(partition), self._keys.whole(partition)]
        try:
            return bool(self._finish(keys=keys, args=[token]))
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error

    def clear(self, token: str) -> int:
        """Remove every balance; readers get no value until each partition was written again.

        If the process is killed, they get none until a later call has removed the rest, or Redis was emptied.

        Args:
            token: unique for this call.

        Returns:
            The number of customers that were removed.

        Raises:
            Unavailable: Redis does not answer, or another process has begun to remove balances.
        """
        partitions = range(self._keys.partitions)
        marks = [key(number) for number in partitions for key in (self._keys.whole, self._keys.attempts)]
        try:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(self._keys.clearing, token)
                pipe.unlink(*marks)
                pipe.execute()
            removed, cursor = 0, -1
            while cursor != 0:
                cursor, found = self._redis.scan(max(cursor, 0), self._keys.every_customer, SCANNED_KEYS)
                removed += self._removed(token, found)
            self._end(keys=[self._keys.clearing], args=[token])
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        return removed

    def _removed(self, token: str, keys: Sequence[str | bytes]) -> int:
        removed = int(self._remove(keys=[self._keys.clearing, *keys], args=[token]))
        if removed < 0:
            raise Unavailable(
                "Redis was emptied, or another process has begun to rebuild it. Run the command again."
            )
        return removed


def _fields(balances: Mapping[str, Balance]) -> Iterator[bytes]:
    """Name and value of the field of each feature."""
    for feature, balance in balances.items():
        yield feature.encode()
        yield b"%0*d" % (_REVISION_DIGITS, balance.revision) + _encode(balance)


class BalanceReader:
    """Reads balances, for the API's event loop. Raises Unavailable when Redis is down or the copy is incomplete."""

    def __init__(self, url: str, password: str | None, keys: Keys) -> None:
        self._redis = RedisPipeline(url, password, READ_S)
        self._keys = keys

    async def read(
        self, namespace: str, wanted: Sequence[tuple[str, Sequence[str]]]
    ) -> list[list[Balance | None]]:
        """The balances of (customer, features) pairs, in order; None where no entitlement has ever existed."""
        whole = dict.fromkeys(self._keys.whole_of(namespace, customer) for customer, _ in wanted)
        asked = [
            packed("HMGET", self._keys.customer(namespace, customer), *features)
            for customer, features in wanted
        ]
        *stored, existing = await self._redis.ask([*asked, packed("EXISTS", *whole)])
        if existing != len(whole):
            raise await self._incomplete()
        return [_balances(cast(list[bytes | None], one)) for one in stored]

    async def read_all(self, namespace: str, customer: str) -> list[Balance]:
        """Every balance of a customer, by feature."""
        stored, is_whole = await self._redis.ask([
            packed("HVALS", self._keys.customer(namespace, customer)),
            packed("EXISTS", self._keys.whole_of(namespace, customer)),
        ])  # fmt: skip
        if not is_whole:
            raise await self._incomplete()
        balances = [one for one in _balances(cast(list[bytes | None], stored)) if one is not None]
        return sorted(balances, key=lambda one: one.feature)

    async def _incomplete(self) -> Unavailable:
        (is_clearing,) = await self._redis.ask([packed("EXISTS", self._keys.clearing)])
        if not is_clearing:
            return Unavailable("The copy of the balances in Redis is being rebuilt.")
        return Unavailable(
            "The copy of the balances in Redis is being rebuilt by `tallymark rebuild redis`. If that was interrupted, "
            "run it again."
        )

    async def close(self) -> None:
        """Give the connection up."""
        await self._redis.close()


def _balances(stored: Sequence[bytes | None]) -> list[Balance | None]:
    return [None if one is None else _decode(one[_REVISION_DIGITS:]) for one in stored]
