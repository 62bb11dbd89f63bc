"""Commands from the API to the control stage, and waiting until every worker knows the result.

Owns: one command's way there and back, and who must know a revision. Does not own: deciding (core.control).
A worker counts as running while its heartbeat is live or Kafka has it as a member of its group, so that one
which went silent but still owns partitions is waited for too.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable

import msgspec
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
_ASK_AGAIN_S = 0.5


class Commands:
    """Sends commands and awaits their replies."""

    def __init__(self, settings: Settings, replies: Replies, workers: WorkersView) -> None:
        self._settings = settings
        self._replies = replies
        self._workers = workers
        self._records = KafkaWriter(settings, "commands")
        self._admin: AdminClient | None = None
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
    ) -> Reply:
        """The reply to one command. Raises Rejected as decided, Unavailable when nothing is decided in time.

        actor: who asks, a key's id; empty: this process. request_id, ip: of the HTTP request.
        id, request: the same for a command that is sent again, so that it is done once (core.definitions.idempotency).
        """
        attempt = str(uuid.uuid4())
        command = Command(
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
        )
        self._replies.wait_loaded()
        self._replies.expect(attempt)
        self._records.write([WrittenRecord("commands", msgspec.json.encode(command), partition=0)])
        reply = self._replies.take(attempt, REPLY_TIMEOUT_S)
        if reply is None:
            raise Unavailable(
                f"The control stage did not answer in {REPLY_TIMEOUT_S:g} s; is `tallymark worker control` "
                "up? The command is kept and will be decided when it does."
            )
        if reply.error:
            raise Rejected(reply.error, reply.detail)
        return reply

    def until_known(self, revision: int, timeout_s: float = KNOWN_TIMEOUT_S) -> None:
        """Returns when every running reader of definitions has `revision`. Raises Unavailable, which names the others.

        A reader that starts meanwhile reads all definitions first.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            owners = self._membership.now()
            late = behind(self._workers.snapshot().values(), self._workers.live(), owners, revision)
            if not late:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable(
                    f"The definitions hold, but {_named(late)} did not say in {timeout_s:g} s that it "
                    f"knows revision {revision}: events sent now may be counted by the definitions before."
                )
            pause_s = min(left, _ASK_AGAIN_S)
            if self._workers.wait_for(lambda seen: not behind(seen.values(), (), late, revision), pause_s):  # noqa: B023
                return

    def close(self) -> None:
        """Gives up the connections."""
        self._records.close()

    def _members(self) -> set[str]:
        if self._admin is None:
            self._admin = kafka.admin(self._settings)
        return members(self._admin, self._settings, READERS)


def behind(seen: Iterable[Worker], live: Iterable[Worker], owners: Iterable[str], revision: int) -> set[str]:
    """The workers that must know `revision` and have not said so.

    seen: all heartbeats. live: the fresh ones; those of READERS must know. owners: ids of workers in the
    group of a READERS stage by Kafka's word, heard of or not.
    """
    known = {worker.id for worker in seen if worker.control_revision >= revision}
    return ({worker.id for worker in live if worker.stage in READERS} | set(owners)) - known


def _named(workers: Iterable[str]) -> str:
    return " and ".join(f"the worker {worker}" for worker in sorted(workers))
