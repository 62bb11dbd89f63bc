"""Commands of one event loop: their waits cost no threads, and those that wait for the same share it.

Owns: waking the coroutines that wait for a reply, for this process to read a revision, for all workers to load it.
Does not own: how a command is written and which workers have to load a revision (commands), following the topics.

A batch of a topic wakes the loop once, however many wait. One question who the readers are, and one look at each
heartbeat, serve all commands that were decided before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import KafkaError

from pipeline.errors import Rejected, Unavailable
from pipeline.records import Command, Reply
from pipeline.stores.kafka.commands import KNOWN_TIMEOUT_S, Commands, behind, not_known, record_of
from pipeline.stores.kafka.definitions import Definitions, Replies, WorkersView

ASK_AGAIN_S = 0.5
MANY = 16  # commands in progress: then each request to Kafka serves those that come within a moment
GATHER_S = 0.02

Wait = tuple[int, asyncio.Future[set[str]]]  # a revision, and who has not loaded it; empty: all have


@dataclass
class _Asked:
    """Waits that share one answer to who the readers are."""

    waits: list[Wait]
    readers: set[str] = field(default_factory=set)


class AwaitedCommands:
    """The commands of the running event loop. Create it in that loop.

    Args:
        commands: Writes the records and knows the readers.
        replies: Loaded before a command is run.
        definitions: What this process reads.
        workers: The heartbeats.
    """

    def __init__(
        self, commands: Commands, replies: Replies, definitions: Definitions, workers: WorkersView
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._commands = commands
        self._replies = replies
        self._definitions = definitions
        self._workers = workers
        self._expected: dict[str, asyncio.Future[Reply]] = {}  # by attempt
        self._unsent: list[tuple[Command, asyncio.Future[Reply]]] = []
        self._unread: list[tuple[int, asyncio.Future[None]]] = []
        self._unasked: list[Wait] = []
        self._asked: list[_Asked] = []
        self._asking: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readers")
        replies.on_change(partial(self._soon, self._take_replies))
        definitions.on_change(partial(self._soon, self._take_revision))
        workers.on_change(partial(self._soon, self._take_heartbeats))
        for view in (replies, definitions, workers):
            view.on_failure(partial(self._soon, self._fail))

    async def run(self, command: Command) -> Reply:
        """Publish a command and return its reply. Raises Rejected as decided, Unavailable."""
        attempt, waiter = command.attempt, self._loop.create_future()
        with self._replies.expected(attempt):
            self._expected[attempt] = waiter
            try:
                self._gather(command, waiter)
                async with asyncio.timeout(self._commands.reply_timeout_s):
                    reply: Reply = await waiter
            except TimeoutError:
                raise self._commands.undecided() from None
            finally:
                del self._expected[attempt]
        if reply.error:
            raise Rejected(reply.error, reply.detail, reply.body)
        return reply

    def _gather(self, command: Command, waiter: asyncio.Future[Reply]) -> None:
        """Write a command at once, or where many are in progress with those that come in a moment."""
        self._unsent.append((command, waiter))
        if len(self._unsent) == 1:
            self._loop.call_later(GATHER_S if len(self._expected) >= MANY else 0.0, self._send)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        for command, waiter in unsent:
            try:
                self._commands.writer.send(record_of(command), partial(self._report, waiter))
            except Exception as error:  # raised in the coroutine that waits for it; the others are sent
                _refuse(waiter, error)

    async def read(self, revision: int, timeout_s: float) -> bool:
        """Whether this process has read `revision` within `timeout_s`. Raises Unavailable."""
        if self._definitions.revision >= revision:
            return True
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._unread.append((revision, waiter))
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await waiter
        return self._definitions.revision >= revision

    async def until_known(self, revision: int, timeout_s: float = KNOWN_TIMEOUT_S) -> None:
        """As Commands.until_known."""
        deadline_s = self._loop.time() + timeout_s
        while True:
            waiter: asyncio.Future[set[str]] = self._loop.create_future()
            self._unasked.append((revision, waiter))
            if self._asking is None:
                self._asking = self._loop.create_task(self._ask())
            try:
                late = await waiter
            except Unavailable:  # for example while a broker starts
                if self._loop.time() >= deadline_s:
                    raise
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            if not late:
                return
            if self._loop.time() >= deadline_s:
                raise not_known(late, revision, timeout_s)

    def close(self) -> None:
        """Asks nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _soon(self, call: Callable[[object], None], news: object) -> None:
        """In the thread of a view: let the loop take its news."""
        with suppress(RuntimeError):  # the loop is closed: nothing waits
            self._loop.call_soon_threadsafe(call, news)

    def _report(self, waiter: asyncio.Future[Reply], error: KafkaError | None, _: object) -> None:
        """In the writer's thread: a command that is not stored gets no reply."""
        if error is not None:
            self._soon(partial(_refuse, waiter), self._commands.writer.failure(error))

    def _take_replies(self, news: object) -> None:
        assert isinstance(news, dict)
        for attempt, reply in news.items():
            waiter = self._expected.get(attempt)
            if waiter is not None and reply is not None and not waiter.done():
                waiter.set_result(reply)

    def _take_revision(self, _: object) -> None:
        revision, waits = self._definitions.revision, self._unread
        self._unread = [wait for wait in waits if wait[0] > revision and not wait[1].done()]
        for wanted, waiter in waits:
            if wanted <= revision and not waiter.done():
                waiter.set_result(None)

    async def _ask(self) -> None:
        """Ask who the readers are, until no wait is left that began after the question."""
        while self._unasked:
            asked, self._unasked = _Asked(self._unasked), []
            many = len(asked.waits) >= MANY
            try:
                owners = await self._loop.run_in_executor(self._thread, self._commands.members)
                asked.readers = behind((), self._workers.live(), owners, 0)
                self._asked.append(asked)
                self._take_heartbeats(None)
            except Exception as error:  # raised in every coroutine that waits for it
                for _, waiter in asked.waits:
                    _refuse(waiter, error)
                continue
            self._loop.call_later(ASK_AGAIN_S, self._give_up, asked)
            if many:
                await asyncio.sleep(GATHER_S)
        self._asking = None

    def _take_heartbeats(self, _: object) -> None:
        """End the waits for revisions that all readers have loaded."""
        if not self._asked:
            return
        loaded = {one.id: one.control_revision for one in self._workers.snapshot().values()}
        for asked in self._asked:
            everywhere = min((loaded.get(reader, -1) for reader in asked.readers), default=None)
            kept = []
            for revision, waiter in asked.waits:
                if everywhere is not None and revision > everywhere:
                    kept.append((revision, waiter))
                elif not waiter.done():
                    waiter.set_result(set())
            asked.waits = kept
        self._asked = [asked for asked in self._asked if asked.waits]

    def _give_up(self, asked: _Asked) -> None:
        """Give those that still wait the workers that are late: one may have ended meanwhile."""
        if asked in self._asked:
            self._asked.remove(asked)
            seen = self._workers.snapshot().values()
            for revision, waiter in asked.waits:
                if not waiter.done():
                    waiter.set_result(behind(seen, (), asked.readers, revision))

    def _fail(self, _: object) -> None:
        """A view has stopped: each wait ends with its error."""
        waits: list[asyncio.Future[Any]] = [
            *self._expected.values(),
            *(waiter for _, waiter in self._unread),
            *(waiter for asked in self._asked for _, waiter in asked.waits),
        ]
        for view in (self._replies, self._definitions, self._workers):
            try:
                view.snapshot()
            except Exception as error:
                for waiter in waits:
                    _refuse(waiter, error)


def _refuse(waiter: asyncio.Future[Any], error: object) -> None:
    if not waiter.done():
        assert isinstance(error, Exception)
        waiter.set_exception(error)
