"""The buffers: batches by number and time, back-pressure, and nothing lost silently."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tallymark import AsyncClient, BadEvent, Client, NotAccepted, Refused, Unavailable

from tests.client.conftest import event
from tests.client.server import Server, Turn
from tests.fixtures.patience import PATIENCE_S

SOURCE = str(Path(__file__).parents[2] / "deploy" / "client-python" / "src")


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def ids(server: Server) -> list[str]:
    return [id for _, id in server.stored]


def test_all_arrive_in_order_and_in_batches(server: Server) -> None:
    with Client(server.url) as client, client.buffered(max_events=100, max_wait_s=60) as buffer:
        for n in range(1_050):
            buffer.send(event(str(n)))
        until(lambda: len(server.stored) == 1_000)  # full batches go by themselves
        buffer.flush()
        assert ids(server) == [str(n) for n in range(1_050)]
    assert max(len(seen.events) for seen in server.seen) == 100
    assert len(server.seen) <= 12


def test_the_first_event_waits_so_long(server: Server) -> None:
    with Client(server.url) as client, client.buffered(max_wait_s=0.05) as buffer:
        buffer.send(event("a"))
        until(lambda: ids(server) == ["a"])
        buffer.send(event("b"))
        until(lambda: ids(server) == ["a", "b"])


def test_many_threads(server: Server) -> None:
    with Client(server.url) as client, client.buffered(max_events=50, max_wait_s=0.01, capacity=60) as buffer:

        def work(name: int) -> None:
            for n in range(200):
                buffer.send(event(f"{name}-{n}"))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.stored) == 1_000 and server.repeats == 0


def test_a_full_buffer_makes_its_callers_wait(server: Server) -> None:
    server.gate.clear()
    with Client(server.url) as client, client.buffered(max_events=2, max_wait_s=0, capacity=4) as buffer:
        done: list[int] = []

        def work() -> None:
            for n in range(6):
                buffer.send(event(str(n)))
                done.append(n)

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: len(done) == 4)
        thread.join(0.1)
        assert done == [0, 1, 2, 3]
        server.gate.set()
        thread.join()
    assert ids(server) == [str(n) for n in range(6)]


def test_bytes_have_a_bound_too(server: Server) -> None:
    server.gate.clear()
    with Client(server.url) as client, client.buffered(max_wait_s=0, capacity_bytes=1_000) as buffer:
        buffer.send(event(data={"x": "y" * 2_000}))  # one alone always fits
        thread = threading.Thread(target=buffer.send, args=(event(),))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        server.gate.set()
        thread.join()
    assert len(server.stored) == 2


@pytest.mark.parametrize(("names_places", "requests"), [(True, 9), (False, 45)])
def test_a_refused_event_is_found_and_the_others_go_on(
    server: Server, names_places: bool, requests: int
) -> None:
    server.poison, server.names_places = {"7", "400"}, names_places
    with Client(server.url) as client:
        buffer = client.buffered(max_wait_s=60)
        for n in range(500):
            buffer.send(event(str(n)))
        with pytest.raises(
            NotAccepted, match="2 events were not accepted; the first: Refused: 400 bad-data"
        ) as caught:
            buffer.close()
    assert [one.members()["id"] for one in caught.value.unaccepted] == ["7", "400"]
    assert all(isinstance(failure.error, Refused) for failure in caught.value.failures)
    assert len(server.stored) == 498
    assert len(server.seen) <= requests


def test_an_outage_is_raised_with_the_events(server: Server) -> None:
    server.down = True
    with Client(server.url, deadline_s=0.2) as client:
        with pytest.raises(NotAccepted) as caught, client.buffered() as buffer:
            for n in range(3):
                buffer.send(event(str(n)))
        assert isinstance(caught.value.__cause__, Unavailable)
        server.down = False
        assert client.ingest(caught.value.unaccepted).accepted == 3
    assert ids(server) == ["0", "1", "2"]


def test_a_flush_raises_once_and_the_buffer_continues(server: Server) -> None:
    server.poison = {"bad"}
    with Client(server.url) as client, client.buffered() as buffer:
        buffer.send(event("bad"))
        with pytest.raises(NotAccepted):
            buffer.flush()
        buffer.send(event("good"))
        buffer.flush()
    assert ids(server) == ["good"]


def test_failures_have_a_bound_too(server: Server) -> None:
    server.poison = {str(n) for n in range(5)}
    with Client(server.url) as client, client.buffered(max_events=2, max_wait_s=0, capacity=4) as buffer:
        for n in range(4):
            buffer.send(event(str(n)))
            until(lambda done=n + 1: buffer._pending.settled == done)  # type: ignore[misc]
        with pytest.raises(NotAccepted) as caught:
            buffer.send(event("4"))
        assert [one.members()["id"] for one in caught.value.unaccepted] == ["0", "1", "2", "3", "4"]
        buffer.send(event("good"))  # there is room again
    assert ids(server) == ["good"]


def test_failures_may_go_elsewhere(server: Server) -> None:
    server.poison = {"bad"}
    letters: list[str] = []
    with Client(server.url) as client:
        keep = lambda error: letters.extend(one.members()["id"] for one in error.unaccepted)  # noqa: E731
        with client.buffered(on_failure=keep) as buffer:
            buffer.send(event("bad"))
            buffer.send(event("good"))
    assert (letters, ids(server)) == (["bad"], ["good"])


def test_a_handler_that_fails_loses_nothing(server: Server) -> None:
    server.poison = {"bad"}

    def fails(error: NotAccepted) -> None:
        raise OSError("the disk is full")

    with (
        Client(server.url) as client,
        pytest.raises(NotAccepted),
        client.buffered(on_failure=fails) as buffer,
    ):
        buffer.send(event("bad"))


def test_a_bad_event_is_raised_where_it_is_sent(server: Server) -> None:
    with Client(server.url) as client, client.buffered() as buffer:
        with pytest.raises(BadEvent):
            buffer.send(event(subject=""))
        buffer.send(event("a"))
    with pytest.raises(RuntimeError, match="closed"):
        buffer.send(event("b"))
    buffer.close()
    assert ids(server) == ["a"]


def test_an_error_of_the_block_does_not_lose_events(server: Server) -> None:
    with Client(server.url) as client, pytest.raises(KeyError), client.buffered(max_wait_s=60) as buffer:
        buffer.send(event("a"))
        raise KeyError
    assert ids(server) == ["a"]


def test_warnings_are_kept(server: Server) -> None:
    server.warnings = [{"code": "no-meter", "detail": "No meter wants prompt."}]
    with Client(server.url) as client, client.buffered() as buffer:
        buffer.send(event("a"))
        buffer.flush()
        assert [warning.code for warning in buffer.warnings] == ["no-meter"]


@pytest.mark.parametrize(
    "bounds", [{"max_events": 0}, {"max_events": 1_001}, {"max_wait_s": -1}, {"capacity": 5}]
)
def test_bounds_are_checked(server: Server, bounds: dict[str, int]) -> None:
    with Client(server.url) as client, pytest.raises(ValueError):
        client.buffered(**bounds)  # type: ignore[arg-type]


def python(script: str, server: Server) -> subprocess.CompletedProcess[str]:
    head = "import os, sys, threading\nfrom tallymark import Client\n"
    head += "def e(n): return {'id': n, 'source': '/app', 'type': 't', 'subject': 's'}\n"
    head += f"client = Client({server.url!r}, deadline_s=0.5)\n"
    environment = os.environ | {"PYTHONPATH": SOURCE}
    command = [sys.executable, "-c", head + script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_end_of_the_process_flushes(server: Server) -> None:
    done = python("b = client.buffered(max_wait_s=60)\nb.send(e('a'))\n", server)
    assert (done.returncode, ids(server)) == (0, ["a"]), done.stderr


def test_the_end_of_the_process_says_what_was_lost(server: Server) -> None:
    server.down = True
    done = python("b = client.buffered(max_wait_s=60)\nb.send(e('a'))\n", server)
    assert "NotAccepted: 1 events were not accepted; the first: Unavailable" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_sends_its_own_events_only(server: Server) -> None:
    script = """
buffer = client.buffered(max_wait_s=60)
client.ingest(e('before'))
buffer.send(e('parent'))
pid = os.fork()
if pid == 0:
    buffer.send(e('child'))
    buffer.close()
    client.ingest(e('child-2'))
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
client.ingest(e('after'))
buffer.close()
"""
    done = python(script, server)
    assert done.returncode == 0, done.stderr
    assert ids(server) == ["before", "child", "child-2", "after", "parent"]
    assert server.repeats == 0


def test_async_all_arrive_in_order_and_in_batches(server: Server) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client, client.buffered(100, 60.0, capacity=150) as buffer:
            for n in range(1_050):
                await buffer.send(event(str(n)))
            await buffer.flush()
            assert ids(server) == [str(n) for n in range(1_050)]
            await asyncio.gather(*(buffer.send(event(f"more-{n}")) for n in range(500)))
        assert len(server.stored) == 1_550

    asyncio.run(main())
    assert server.repeats == 0


def test_async_the_first_event_waits_so_long(server: Server) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client, client.buffered(max_wait_s=0.05) as buffer:
            await buffer.send(event("a"))
            await asyncio.to_thread(until, lambda: ids(server) == ["a"])

    asyncio.run(main())


def test_async_back_pressure(server: Server) -> None:
    server.gate.clear()

    async def main() -> None:
        async with AsyncClient(server.url) as client, client.buffered(2, 0.0, capacity=4) as buffer:
            sends = asyncio.gather(*(buffer.send(event(str(n))) for n in range(6)))
            await asyncio.wait([sends], timeout=0.1)
            assert not sends.done() and buffer._pending.added == 4
            server.gate.set()
            await sends

    asyncio.run(main())
    assert len(server.stored) == 6


def test_async_failures(server: Server) -> None:
    server.poison = {"bad"}

    async def main() -> None:
        async with AsyncClient(server.url, deadline_s=0.2) as client:
            with pytest.raises(NotAccepted, match="400 bad-data"):
                async with client.buffered() as buffer:
                    await buffer.send(event("bad"))
                    await buffer.send(event("good"))
            server.down = True
            with pytest.raises(NotAccepted) as caught:
                async with client.buffered() as buffer:
                    await buffer.send(event("later"))
            server.down = False
            await client.ingest(caught.value.unaccepted)
            with pytest.raises(RuntimeError, match="closed"):
                await buffer.send(event("c"))

    asyncio.run(main())
    assert ids(server) == ["good", "later"]


def test_async_a_buffer_that_is_not_awaited_says_so(server: Server) -> None:
    async def main() -> None:
        client = AsyncClient(server.url)
        await client.buffered(max_wait_s=60).send(event("a"))
        await asyncio.sleep(0)

    with pytest.warns(RuntimeWarning, match="ended with 1 events not accepted"):
        asyncio.run(main())


def test_async_cancelled_in_progress(server: Server) -> None:
    server.then(Turn(take=True, cut=True))
    server.gate.clear()

    async def main() -> None:
        async with AsyncClient(server.url) as client:
            buffer = client.buffered(max_wait_s=0)
            await buffer.send(event("a"))
            await asyncio.sleep(0.05)
            assert buffer._task is not None
            buffer._task.cancel()
            with pytest.raises(NotAccepted) as caught:
                await buffer.close()
            server.gate.set()
            server.turns.clear()
            await client.ingest(caught.value.unaccepted)

    with pytest.warns(RuntimeWarning, match="1 events"):
        asyncio.run(main())
    assert ids(server) == ["a"] and server.conflicts == 0
