"""One connection to Redis for many callers: each gets its own replies, whole, whatever pieces they come in."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Unavailable
from pipeline.stores.redis_pipeline import RedisConnection, RedisPipeline, RedisReply, packed

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
