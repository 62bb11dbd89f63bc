"""Commands that wait without threads: what they share, how each wait ends. The news of views come when a test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import msgspec
import pytest

from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.records import Command, Reply, Worker
from pipeline.stores.kafka.awaited_commands import MANY, AwaitedCommands
from pipeline.stores.kafka.commands import Commands, command_of
from pipeline.stores.kafka.definitions import Definitions, Replies, WorkersView
from pipeline.stores.kafka.writer import WrittenRecord

T = TypeVar("T")


class View:
    """A view whose records a test gives, from a thread as a real one does."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.revision = 0
        self.error: Exception | None = None
        self._changed: list[Callable[[Mapping[str, Any]], None]] = []
        self._failed: list[Callable[[BaseException], None]] = []

    def on_change(self, call: Callable[[Mapping[str, Any]], None]) -> None:
        self._changed.append(call)

    def on_failure(self, call: Callable[[BaseException], None]) -> None:
        self._failed.append(call)

    def snapshot(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return self.values

    def live(self) -> list[Worker]:
        return []

    @contextmanager
    def expected(self, _: str) -> Iterator[None]:
        yield

    def give(self, changes: Mapping[str, Any]) -> None:
        self.values |= changes
        self._tell([lambda call=call: call(changes) for call in self._changed])  # type: ignore[misc]

    def fail(self, error: Exception) -> None:
        self.error = error
        self._tell([lambda call=call: call(error) for call in self._failed])  # type: ignore[misc]

    def _tell(self, calls: list[Callable[[], None]]) -> None:
        for call in calls:
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()


class World:
    """Everything that the commands ask, as a test has set it."""

    def __init__(self) -> None:
        self.replies, self.definitions, self.workers = View(), View(), View()
        self.sent: list[Command] = []
        self.readers: list[set[str]] = []  # one answer each time; the last one again
        self.questions = 0
        self.reply_timeout_s = 60.0
        self.writer = self
        self.is_full = False

    def send(self, record: WrittenRecord, report: object) -> None:
        if self.is_full:
            raise Unavailable("Too many commands wait for Kafka")
        self.sent.append(msgspec.json.decode(record.value or b"", type=Command))

    def undecided(self) -> Unavailable:
        return Unavailable("no answer")

    def members(self) -> set[str]:
        self.questions += 1
        return self.readers.pop(0) if len(self.readers) > 1 else self.readers[0]

    def beat(self, *ids: str, revision: int) -> None:
        self.workers.give({id: Worker(id, "alert", "", 0, 0, 0, revision, [], 0, "") for id in ids})


def ran(scenario: Callable[[World, AwaitedCommands], Awaitable[T]]) -> T:
    async def within() -> T:
        world = World()
        commands = AwaitedCommands(
            cast(Commands, world), cast(Replies, world.replies),
            cast(Definitions, world.definitions), cast(WorkersView, world.workers),
        )  # fmt: skip
        try:
            return await asyncio.wait_for(scenario(world, commands), 60)
        finally:
            commands.close()

    return asyncio.run(within())


async def until(come: Callable[[], object]) -> None:
    while not come():  # noqa: ASYNC110 - what comes has no event
        await asyncio.sleep(0.001)


def a_command() -> Command:
    return command_of("customer.create", "default", {"name": "x"})


def test_many_commands_get_their_own_replies_and_a_refusal_is_raised() -> None:
    async def scenario(world: World, commands: AwaitedCommands) -> None:
        asked = [asyncio.ensure_future(commands.run(a_command())) for _ in range(3 * MANY)]
        await until(lambda: len(world.sent) == len(asked))
        answers = {one.attempt: Reply(one.id, number) for number, one in enumerate(world.sent, 1)}
        refused = world.sent[0]
        answers[refused.attempt] = Reply(refused.id, 0, "customer-conflict", "It is taken.")
        world.replies.give(answers)
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [one.revision for one in found[1:] if isinstance(one, Reply)] == [*range(2, 3 * MANY + 1)]
        assert isinstance(found[0], Rejected) and found[0].reason == "customer-conflict"

    ran(scenario)


def test_a_command_without_a_reply_is_reported() -> None:
    async def scenario(world: World, commands: AwaitedCommands) -> None:
        world.reply_timeout_s = 0.01
        with pytest.raises(Unavailable, match="no answer"):
            await commands.run(a_command())
        world.is_full = True
        with pytest.raises(Unavailable, match="Too many"):
            await commands.run(a_command())

    ran(scenario)


def test_this_process_has_read_a_revision() -> None:
    async def scenario(world: World, commands: AwaitedCommands) -> None:
        waits = {wanted: asyncio.ensure_future(commands.read(wanted, 60)) for wanted in (3, 1, 2)}
        await asyncio.sleep(0)
        world.definitions.revision = 2
        world.definitions.give({})
        assert await waits[1] and await waits[2] and not waits[3].done()
        assert not await commands.read(4, 0.01)
        world.definitions.revision = 4
        world.definitions.give({})
        assert await waits[3]

    ran(scenario)


def test_waits_for_all_workers_share_questions_and_end_with_the_last_heartbeat() -> None:
    async def scenario(world: World, commands: AwaitedCommands) -> None:
        world.readers = [{"a", "b"}]
        world.beat("a", revision=100)
        world.beat("b", revision=0)
        waits = [asyncio.ensure_future(commands.until_known(revision)) for revision in range(1, 101)]
        await until(lambda: world.questions)
        await asyncio.sleep(0.05)
        assert not any(wait.done() for wait in waits)
        world.beat("b", revision=50)
        await asyncio.gather(*waits[:50])
        assert not any(wait.done() for wait in waits[50:])
        asked = world.questions
        world.beat("b", revision=100)
        await asyncio.gather(*waits)
        assert asked < 20  # one for all, and one each half second

    ran(scenario)


def test_a_worker_that_is_late_is_named_and_one_that_has_ended_is_not_waited_for() -> None:
    async def scenario(world: World, commands: AwaitedCommands) -> None:
        world.readers = [{"a", "b"}]
        world.beat("a", revision=7)
        with pytest.raises(Unavailable, match="the worker b did not load revision 7"):
            await commands.until_known(7, 0.01)
        world.readers = [{"a", "b"}, {"a"}]
        await commands.until_known(7)

    ran(scenario)


def test_a_wait_that_begins_after_a_question_is_not_ended_by_it() -> None:
    """Its worker may have come between."""

    async def scenario(world: World, commands: AwaitedCommands) -> None:
        answering = threading.Event()
        world.beat("a", revision=9)

        def slow() -> set[str]:
            world.questions += 1
            assert answering.wait(60)
            return {"a"} if world.questions == 1 else {"a", "b"}

        world.members = slow  # type: ignore[method-assign]
        first = asyncio.ensure_future(commands.until_known(9))
        await until(lambda: world.questions)
        second = asyncio.ensure_future(commands.until_known(9))
        await asyncio.sleep(0)
        answering.set()
        await first
        await until(lambda: world.questions > 1)
        assert not second.done()
        world.beat("b", revision=9)
        await second

    ran(scenario)


def test_a_view_that_has_stopped_ends_all_waits() -> None:
    async def scenario(world: World, commands: AwaitedCommands) -> None:
        world.readers = [{"a"}]
        waits = [
            asyncio.ensure_future(one)
            for one in (commands.run(a_command()), commands.read(1, 60), commands.until_known(1))
        ]
        await until(lambda: world.sent and world.questions)
        await asyncio.sleep(0.05)
        world.workers.fail(Broken("The view stopped"))
        found = await asyncio.gather(*waits, return_exceptions=True)
        assert all(isinstance(one, Broken) for one in found)

    ran(scenario)
