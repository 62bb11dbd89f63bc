"""Commands from the API to the control stage, and waiting until every worker has loaded the result.

Owns: sending a command, its reply, and which workers must load a revision. Does not own: deciding (core.control).
A worker counts as running while its heartbeat is live or it is a member of its consumer group, so that a worker without
heartbeats that still owns partitions is waited for too.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import msgspec
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from pipeline.errors import Rejected, Unavailable
from pipeline.records import Command, Reply, Worker
from pipeline.settings import Settings
from pipeline.stages import READERS
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka.consumer_groups import members
from pipeline.stores.kafka.definitions import Replies, WorkersView
from pipeline.stores.kafka.membership import Membership
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

REPLY_TIMEOUT_S = 15.0
KNOWN_TIMEOUT_S = 30.0
LINGER_MS = (
    2  # commands of many callers at once become one record batch; one alone waits for it out of some 40 ms
)
_ASK_AGAIN_S = 0.5
_AGAIN = "Send all of them again under the same Idempotency-Key."
_NOT_AGAIN = "They had no Idempotency-Key: look which of them were applied before any is sent again."


class Commands:
    """Publishes commands and waits for their replies."""

    def __init__(
        self,
        settings: Settings,
        replies: Replies,
        workers: WorkersView,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
    ) -> None:
        self.reply_timeout_s = reply_timeout_s
        self.writer = KafkaWriter(settings, "commands", options={"linger.ms": LINGER_MS})
        self._settings = settings
        self._replies = replies
        self._workers = workers
        self._admin: AdminClient | None = None
        self._admin_errors: list[KafkaError] = []
        self._membership = Membership(self._members)

    def run(
        self,
        kind: str,
        namespace: str,
        body: dict[str, object],
        actor: str = "",
        request_id: str = "",
        ip: str = "",
        id: str = "",
        request: str = "",
        refusal: Rejected | None = None,
    ) -> Reply:
        """Publish one command and return its reply.

        Args:
            kind: One of the commands in core.control.
            namespace: Of the definitions that it changes.
            body: The command's body.
            actor: Id of the caller's key; empty: this process.
            request_id: Of the HTTP request.
            ip: Of the HTTP client.
            id: The same for a command that is sent again, so that it is applied once (core.definitions.idempotency).
            request: Digest of the request, likewise.
            refusal: What the caller decided itself: control writes it into the audit log.

        Raises:
            Rejected: As decided.
            Unavailable: There is no decision in time.
        """
        command = command_of(kind, namespace, body, actor, request_id, ip, id, request, refusal)
        reply = answer(self._replies, self.writer, command, record_of(command), self.reply_timeout_s)
        if reply is None:
            raise self.undecided()
        return reply

    def run_all(self, commands: Sequence[Command]) -> list[Reply]:
        """Publish commands of one request, and return their replies in the same order; a refusal is a reply too.

        Control decides them in this order, many in one transaction.

        Raises:
            Unavailable: One of them is not decided in time. Those before it are.
        """
        records = [record_of(command) for command in commands]
        found = _answers(self._replies, self.writer, commands, records, self.reply_timeout_s)
        if len(found) < len(commands):
            raise Unavailable(
                f"The control stage decided {len(found)} of {len(commands)} commands within "
                f"{self.reply_timeout_s:g} s; the others are stored, and will be decided. "
                + (_AGAIN if commands[len(found)].request else _NOT_AGAIN)
            )
        return found

    def until_known(self, revision: int, timeout_s: float = KNOWN_TIMEOUT_S) -> None:
        """Return when every running reader of definitions has loaded `revision`.

        A reader that starts meanwhile loads all definitions first. Raises Unavailable, which names the late workers.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                owners = self.members()
            except Unavailable:  # for example while a broker starts
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_ASK_AGAIN_S)
                continue
            late = behind(self._workers.snapshot().values(), self._workers.live(), owners, revision)
            if not late:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise not_known(late, revision, timeout_s)
            pause_s = min(left, _ASK_AGAIN_S)
            if self._workers.wait_for(lambda seen: not behind(seen.values(), (), late, revision), pause_s):  # noqa: B023
                return

    def members(self) -> set[str]:
        """Ids of the members of the readers' groups, at some time after the call. Raises Unavailable."""
        return self._membership.now()

    def undecided(self) -> Unavailable:
        """The error of a command without a reply in time."""
        return Unavailable(
            f"The control stage did not answer within {self.reply_timeout_s:g} s; is `tallymark worker control` "
            "running? The command is stored, and will be decided when it is."
        )

    def close(self) -> None:
        """Close the connections."""
        self.writer.close()

    def _members(self) -> set[str]:
        """The members of the readers' groups. Raises Unavailable.

        A client that has lost a broker is replaced: librdkafka continues to ask the dropped broker for a group's
        coordinator, so that no response would come even after the broker is back (see engine.producer).
        """
        if self._admin is not None:
            self._admin.poll(0)  # delivers its errors
        if self._admin is None or self._admin_errors:
            self._admin_errors = []
            self._admin = kafka.admin(self._settings, self._admin_errors.append)
        try:
            return members(self._admin, self._settings, READERS)
        except Unavailable:
            self._admin = None
            raise


def command_of(
    kind: str,
    namespace: str,
    body: dict[str, object],
    actor: str = "",
    request_id: str = "",
    ip: str = "",
    id: str = "",
    request: str = "",
    refusal: Rejected | None = None,
) -> Command:
    """A command with the id of a new attempt to send it. The arguments are those of Commands.run."""
    attempt = str(uuid.uuid4())
    return Command(
        id=id or attempt,
        kind=kind,
        namespace=namespace,
        actor=actor or f"api@{os.uname().nodename}",
        at_ms=time.time_ns() // 1_000_000,
        body=body,
        request_id=request_id,
        ip=ip,
        attempt=attempt,
        request=request,
        error="" if refusal is None else refusal.reason,
        detail="" if refusal is None else refusal.detail,
    )


def answer(
    replies: Replies, writer: KafkaWriter, command: Command, record: WrittenRecord, timeout_s: float
) -> Reply | None:
    """Publish the record of a command and return its reply; None: there is none after `timeout_s`.

    Raises Rejected as decided, Unavailable.
    """
    found = _answers(replies, writer, [command], [record], timeout_s)
    if found and found[0].error:
        raise Rejected(found[0].error, found[0].detail, found[0].body)
    return found[0] if found else None


def record_of(command: Command) -> WrittenRecord:
    """The record of a command."""
    return WrittenRecord("commands", msgspec.json.encode(command), partition=0)


def _answers(
    replies: Replies,
    writer: KafkaWriter,
    commands: Sequence[Command],
    records: Sequence[WrittenRecord],
    timeout_s: float,
) -> list[Reply]:
    """Publish the records of commands and return their replies in order, up to the first that is not there in time."""
    replies.wait_loaded()
    found: list[Reply] = []
    with ExitStack() as expected:
        for command in commands:
            expected.enter_context(replies.expected(command.attempt))
        writer.write(records)
        deadline_s = time.monotonic() + timeout_s
        for command in commands:
            reply = replies.take(command.attempt, max(0.0, deadline_s - time.monotonic()))
            if reply is None:
                break
            found.append(reply)
    return found


def behind(seen: Iterable[Worker], live: Iterable[Worker], owners: Iterable[str], revision: int) -> set[str]:
    """The workers that have to load `revision` and have not reported it.

    seen: all heartbeats. live: the recent ones; those of READERS count. owners: ids of the members of the consumer
    groups of READERS, with heartbeats or without.
    """
    known = {worker.id for worker in seen if worker.control_revision >= revision}
    return ({worker.id for worker in live if worker.stage in READERS} | set(owners)) - known


def not_known(late: Iterable[str], revision: int, timeout_s: float) -> Unavailable:
    """The error of a change that some workers have not loaded in time."""
    return Unavailable(
        f"The change is stored, but {_named(late)} did not load revision {revision} within {timeout_s:g} s: events "
        "sent now may be counted with the definitions before it."
    )


def _named(workers: Iterable[str]) -> str:
    return " and ".join(f"the worker {worker}" for worker in sorted(workers))
