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

from pipeline.errors import Rejected, Unavailable
from pipeline.records import Command, Reply, Worker
from pipeline.settings import Settings
from pipeline.stages import READERS
from pipeline.stores.kafka.consumer_groups import members
from pipeline.stores.kafka.definitions import Replies, WorkersView
from pipeline.stores.kafka.writer import Acknowledged

REPLY_TIMEOUT_S = 15.0
KNOWN_TIMEOUT_S = 30.0
_ASK_AGAIN_S = 0.5


class Commands:
    """Sends commands and awaits their replies."""

    def __init__(self, settings: Settings, replies: Replies, workers: WorkersView) -> None:
        self._settings = settings
        self._replies = replies
        self._workers = workers
        self._records = Acknowledged(settings, "command")

    def run(
        self,
        kind: str,
        namespace: str,
        body: dict[str, object],
        actor: str = "",
        request_id: str = "",
        ip: str = "",
        id: str = "",
    ) -> Reply:
        """The reply to one command. Raises Rejected as decided, Unavailable when nobody decides in time.

        actor: who wants it, a key's id; empty: this process. request_id, ip: of the HTTP request.
        id: the same for a command that is sent again, so that it is decided once; empty: one of its own.
        """
        command = Command(
            id=id or str(uuid.uuid4()),
            kind=kind,
            namespace=namespace,
            actor=actor or f"api@{os.uname().nodename}",
            at_ms=time.time_ns() // 1_000_000,
            body=body,
            request_id=request_id,
            ip=ip,
        )
        self._replies.wait_loaded()
        self._replies.expect(command.id)
        self._records.write([("commands", msgspec.json.encode(command), None, -1)])
        reply = self._replies.take(command.id, REPLY_TIMEOUT_S)
        if reply is None:
            raise Unavailable(
                f"The control stage did not answer in {REPLY_TIMEOUT_S:g} s; is `tallymark worker control` "
                "up? The command is kept and will be decided when it does."
            )
        if reply.error:
            raise Rejected(reply.error, reply.detail)
        return reply

    def until_known(self, revision: int, timeout_s: float = KNOWN_TIMEOUT_S) -> None:
        """Returns when every running reader of definitions has `revision`; Unavailable names who has not."""
        deadline = time.monotonic() + timeout_s
        while True:
            owners = {worker for stage in READERS for worker in members(self._settings, stage)}
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
            self._workers.wait_for(lambda seen: not behind(seen.values(), (), late, revision), pause_s)  # noqa: B023


def behind(seen: Iterable[Worker], live: Iterable[Worker], owners: Iterable[str], revision: int) -> set[str]:
    """The workers that must know `revision` and have not said so.

    seen: all heartbeats. live: the fresh ones; those of READERS must know. owners: ids of workers in the
    group of a READERS stage by Kafka's word, heard of or not.
    """
    known = {worker.id for worker in seen if worker.control_revision >= revision}
    return ({worker.id for worker in live if worker.stage in READERS} | set(owners)) - known


def _named(workers: Iterable[str]) -> str:
    return " and ".join(f"the worker {worker}" for worker in sorted(workers))
