"""The control log as its stage keeps it, without Kafka: for tests of what commands do."""

from __future__ import annotations

from typing import Any

from pipeline.core.control import Decision, decide, take
from pipeline.core.definitions import audit
from pipeline.core.definitions.index import Catalog
from pipeline.records import Audit, Command, Definition, Reply

AT_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
AT = "2026-01-01T00:00:00.000Z"


class Log:
    """Definitions, replies and the audit log, after each command."""

    def __init__(self) -> None:
        self.state: dict[str, Definition] = {}
        self.catalog = Catalog(self.state)
        self.replies: dict[str, Reply] = {}
        self.audit: list[Audit] = []
        self.sent = 0

    @property
    def revision(self) -> int:
        return self.catalog.revision

    def command(self, kind: str, body: dict[str, Any], namespace: str = "default") -> Command:
        self.sent += 1
        return Command(f"c{self.sent}", kind, namespace, "ann", 1_000 + self.sent, body)

    def run(self, command: Command, at_ms: int = AT_MS) -> Decision:
        decision = decide(self.catalog, command, at_ms, self.replies)
        if command.id not in self.replies:
            head = audit.Head(self.audit[-1].seq, self.audit[-1].hash) if self.audit else audit.EMPTY
            told = audit.following(
                head, command, at_ms, decision.reply, decision.before, decision.definitions
            )
            self.audit.append(told)
        take(self.catalog, decision)
        self.replies[decision.reply.id] = decision.reply
        return decision

    def do(self, kind: str, body: dict[str, Any], namespace: str = "default", at_ms: int = AT_MS) -> Any:
        """The reply's body; the command must be done."""
        reply = self.run(self.command(kind, body, namespace), at_ms).reply
        assert (reply.error, reply.detail) == ("", "")
        return reply.body

    def refused(
        self, kind: str, body: dict[str, Any], namespace: str = "default", at_ms: int = AT_MS
    ) -> tuple[str, str]:
        """The reason and the sentence; the command must be refused, and nothing changed by it."""
        before, revision = dict(self.state), self.revision
        decision = self.run(self.command(kind, body, namespace), at_ms)
        assert decision.reply.error and not decision.definitions
        assert (self.state, self.revision) == (before, revision)
        return decision.reply.error, decision.reply.detail

    def body(self, kind: str, name: str, namespace: str = "default") -> Any:
        return self.catalog.body(namespace, kind, name)
