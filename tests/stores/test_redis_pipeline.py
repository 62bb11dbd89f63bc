"""One connection to Redis for many callers: each gets its own replies, whole, whatever pieces they come in."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Unavailable
from pipeline.stores.redis_pipeline import RedisConnection, RedisPipeline, RedisReply, packed
from tests.fixtures.certificates import Authority
from tests.fixtures.patience import PATIENCE_S

TRIES = 3

replies = st.recursive(
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def written(reply: RedisReply) -> bytes:
    """A reply as Redis writes it."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%s\r\n" % (len(reply), reply)
    return b"*%d\r\n" % len(reply) + b"".join(map(written, reply))


class Taking:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.wrote = b""

    def write(self, data: bytes) -> None:
        self.wrote += data

    def abort(self) -> None:
        """Nothing is open."""


@given(st.lists(st.lists(replies, min_size=1, max_size=3), min_size=1, max_size=5), st.integers(1, 30))
def test_each_caller_gets_its_replies_in_order(asked: list[list[RedisReply]], piece: int) -> None:
    async def scenario() -> list[list[object]]:
        connection, taking = RedisConnection(), Taking()
        connection.connection_made(cast(asyncio.Transport, taking))
        waits = [connection.send(b"%d;" % number, len(one)) for number, one in enumerate(asked)]
        assert taking.wrote == b"".join(b"%d;" % number for number in range(len(asked)))
        text = b"".join(written(reply) for one in asked for reply in one)
        for start in range(0, len(text), piece):
            connection.data_received(text[start : start + piece])
        return [list(await wait) for wait in waits]

    assert asyncio.run(scenario()) == asked


async def asked_of(*answers: bytes | None) -> tuple[list[RedisReply], int]:
    """The replies of a server that answers each connection once so, and its connections; None: it ends them."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(100)
        answer = answers[connections - 1]
        if answer:
            writer.write(answer)
            await reader.read(100)  # until the other side ends
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        redis = RedisPipeline(f"redis://{host}:{port}", None, 5.0)
        try:
            return await redis.ask([packed("GET", "a")]), connections
        finally:
            await redis.close()


def test_what_a_cut_connection_lost_is_asked_once_more() -> None:
    assert asyncio.run(asked_of(None, b"$1\r\nx\r\n")) == ([b"x"], 2)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ((None, None), "closed"),
        ((b"-LOADING Redis is loading\r\n",), "LOADING"),
        ((b"!what\r\n", b"!what\r\n"), "no reply|a reply that is none"),
    ],
)
def test_no_answer_is_reported(answers: tuple[bytes | None, ...], why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        asyncio.run(asked_of(*answers))


def test_a_silent_server_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            redis = RedisPipeline(f"redis://{host}:{port}", None, 0.05)
            try:
                await redis.ask([packed("GET", "a")])
            finally:
                await redis.close()

    with pytest.raises(Unavailable, match=r"within 0\.05 s"):
        asyncio.run(scenario())


def test_a_reply_that_no_command_asked_for_ends_the_connection() -> None:
    async def scenario() -> None:
        connection = RedisConnection()
        connection.connection_made(cast(asyncio.Transport, Taking()))
        waiter = connection.send(packed("GET", "a"), 1)
        connection.data_received(b"$1\r\na\r\n$1\r\nb\r\n")
        assert await waiter == [b"a"] and connection.is_lost
        with pytest.raises(ConnectionError):
            connection.send(packed("GET", "c"), 1)

    asyncio.run(scenario())


async def serve_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes any password and has `x` under every key."""
    with suppress(ConnectionError):
        while await reader.read(1000):
            writer.write(b"$1\r\nx\r\n")


def test_tls_is_as_redis_py_reads_it_from_the_url(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.sign("redis"))

    async def scenario(options: str) -> list[RedisReply]:
        async with await asyncio.start_server(serve_tls, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            redis = RedisPipeline(f"rediss://127.0.0.1:{port}?{options}", "secret", 5.0)
            try:
                return await redis.ask([packed("GET", "a")])
            finally:
                await redis.close()

    assert asyncio.run(scenario("ssl_cert_reqs=none&ssl_check_hostname=false")) == [b"x"]
    with pytest.raises(Unavailable, match="certificate verify failed"):
        asyncio.run(scenario(""))


def test_a_refused_password_leaves_no_connection_open() -> None:
    ended, all_ended = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ended
        await reader.read(100)
        writer.write(b"-WRONGPASS invalid password\r\n")
        with suppress(ConnectionError):
            await reader.read()  # until the other side ends
        ended += 1
        writer.close()
        if ended == TRIES:
            all_ended.set()

    async def scenario() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            redis = RedisPipeline(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", "wrong", 5.0)
            for _ in range(TRIES):
                with pytest.raises(Unavailable, match="WRONGPASS"):
                    await redis.ask([packed("GET", "a")])
            async with asyncio.timeout(PATIENCE_S):
                await all_ended.wait()

    asyncio.run(scenario())
