"""One connection to Redis for an event loop, on which the commands of all callers are in progress at once.

Owns: the order of replies, connecting again. Does not own: the protocol (hiredis, of Redis), what is asked
(redis_balances).

A client of the general kind takes a connection from a pool, waits three times and starts timers for each read, which
costs the API more CPU than all else that it does for a check of access. Here a read is one write and one wake-up.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url

from pipeline.errors import Unavailable

RedisReply = bytes | int | list[Any] | None
_PORT = 6379
_INCOMPLETE: Any = object()  # the rest of a reply has not come yet


class RefusedCommand(Exception):
    """The reply of Redis to a command is an error."""


def packed(*words: str | bytes) -> bytes:
    """The bytes of one command.

    >>> packed("GET", "a")
    b'*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\na\\r\\n'
    """
    return bytes(hiredis.pack_command(cast(Any, words)))  # its type is that of a single word


class _Wait:
    """Replies that one caller waits for."""

    __slots__ = ("count", "replies", "waiter")

    def __init__(self, count: int, waiter: asyncio.Future[list[RedisReply | RefusedCommand]]) -> None:
        self.count = count
        self.replies: list[RedisReply | RefusedCommand] = []
        self.waiter = waiter


class RedisConnection(asyncio.Protocol):
    """Hands replies to those who wait, in the order of their commands."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_lost = False
        self._waits: deque[_Wait] = deque()
        self._reader = hiredis.Reader(
            protocolError=ValueError, replyError=RefusedCommand, notEnoughData=_INCOMPLETE
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionError(str(exc) if exc else "the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while self._waits and (reply := self._reader.gets()) is not _INCOMPLETE:
                wait = self._waits[0]
                wait.replies.append(cast(RedisReply | RefusedCommand, reply))
                if len(wait.replies) == wait.count:
                    self._waits.popleft()
                    if not wait.waiter.done():
                        wait.waiter.set_result(wait.replies)
            if not self._waits and self._reader.has_data():
                # It would be taken for the reply to the next command.
                self._end(ConnectionError("a reply that no command asked for"))
        except ValueError as error:
            self._end(ConnectionError(f"a reply that is none: {error}"))

    def send(self, commands: bytes, count: int) -> asyncio.Future[list[RedisReply | RefusedCommand]]:
        """Write `count` commands; the result are their replies. Raises ConnectionError on a connection that is lost."""
        if self.is_lost:
            raise ConnectionError("the connection was closed")
        waiter: asyncio.Future[list[RedisReply | RefusedCommand]] = asyncio.get_running_loop().create_future()
        assert self.transport is not None
        self._waits.append(_Wait(count, waiter))
        self.transport.write(commands)
        return waiter

    def _end(self, error: ConnectionError) -> None:
        self.is_lost = True
        if self.transport is not None:
            self.transport.abort()
        waits, self._waits = self._waits, deque()
        for wait in waits:
            if not wait.waiter.done():
                wait.waiter.set_exception(error)

    def close(self) -> None:
        """End the connection, and the waits on it."""
        self._end(ConnectionError("the connection was given up"))


class RedisPipeline:
    """Commands to one Redis, from one event loop.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py takes it.
        password: Empty: that of the URL, if it has one.
        answer_s: How long connecting and an answer may take, each.
    """

    def __init__(self, url: str, password: str | None, answer_s: float) -> None:
        self._options: dict[str, Any] = {"password": password, **parse_url(url)}
        if password:
            self._options["password"] = password
        self._answer_s = answer_s
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[RedisConnection] | None = None

    async def ask(self, commands: Sequence[bytes]) -> list[RedisReply]:
        """The replies to packed commands, which change nothing: after a cut connection they are sent once more.

        Raises Unavailable; a server that is silent is not asked again.
        """
        message = b"".join(commands)
        try:
            try:
                replies = await self._replies(message, len(commands))
            except ConnectionError:
                replies = await self._replies(message, len(commands))
        except TimeoutError:
            self._give_up()
            raise Unavailable(f"Redis does not answer within {self._answer_s:g} s.") from None
        except OSError as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        return list(_accepted(replies))

    async def close(self) -> None:
        """Give the connection up."""
        self._give_up()

    async def _replies(self, message: bytes, count: int) -> list[RedisReply | RefusedCommand]:
        connection = self._connection
        if connection is None or connection.is_lost:
            connection = await self._opened()
        async with asyncio.timeout(self._answer_s):
            return await connection.send(message, count)

    async def _opened(self) -> RedisConnection:
        """A new connection, one for all who wait for it."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._open())
        return await asyncio.shield(self._connecting)

    async def _open(self) -> RedisConnection:
        loop, kind = asyncio.get_running_loop(), self._options.get("connection_class")
        async with asyncio.timeout(self._answer_s):
            if kind is UnixDomainSocketConnection:
                _, made = await loop.create_unix_connection(RedisConnection, self._options["path"])
            else:
                place = self._options.get("host", "localhost"), self._options.get("port", _PORT)
                _, made = await loop.create_connection(RedisConnection, *place, ssl=self._tls())
            try:
                if commands := list(self._first()):
                    list(_accepted(await made.send(b"".join(commands), len(commands))))
            except BaseException:
                made.close()
                raise
        self._connection = made
        return made

    def _tls(self) -> ssl.SSLContext | None:
        """The context of `rediss://`, with the options of the URL as redis-py reads them."""
        options = dict(self._options)
        if options.pop("connection_class", None) is not SSLConnection:
            return None
        context: ssl.SSLContext = SSLConnection(**options).ssl_context.get()
        return context

    def _first(self) -> Iterator[bytes]:
        """What a connection begins with."""
        user, password, database = (self._options.get(name) for name in ("username", "password", "db"))
        if password:
            yield packed("AUTH", *([user] if user else []), password)
        if database:
            yield packed("SELECT", str(database))

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _accepted(replies: Sequence[RedisReply | RefusedCommand]) -> Iterator[RedisReply]:
    for reply in replies:
        if isinstance(reply, RefusedCommand):
            raise Unavailable(f"Redis does not answer: {reply}")
        yield reply
