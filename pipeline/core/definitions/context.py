"""What a decision about a command is made from, and what it comes to.

Owns: these shapes, and the ids and instants that follow from a command. Does not own: any rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.index import B, Body, DefinitionIndex
from pipeline.core.values import timestamp, ulid
from pipeline.errors import Rejected
from pipeline.records import Alert, Command, WebhookWork

__all__ = ["Body", "CommandContext", "Decided", "DefinitionChange"]


@dataclass(frozen=True, slots=True)
class CommandContext:
    """A command, the definitions that it meets, and when the broker had it (ms)."""

    index: DefinitionIndex
    command: Command
    at_ms: int

    @property
    def namespace(self) -> str:
        return self.command.namespace

    @property
    def body(self) -> Mapping[str, object]:
        return self.command.body

    def asked(self, *added: str) -> Body:
        """The body without members that the sender of the command puts into it, so as the user sent it."""
        return {name: value for name, value in self.body.items() if name not in added}

    @property
    def now(self) -> str:
        """`at_ms` as definitions write it."""
        return timestamp.text_of(self.at_ms)

    def id(self, number: int = 0) -> str:
        """The ULID of the `number`th thing that the command makes."""
        return ulid.make(self.at_ms, f"{self.namespace}/{self.command.id}/{number}")

    def living(self, kind: str) -> Body:
        """The definition of a kind that the body's `id` names. Raises Rejected `not-found`, also for a deleted one."""
        id = self.body.get("id")
        body = self.index.body(self.namespace, kind, id) if isinstance(id, str) else None
        if body is None or "deletedAt" in body:
            raise Rejected("not-found", f"There is no {kind} with the id {str(id)[:64]}.")
        return body

    def existing(self, kind: type[B]) -> B:
        """The definition of a kind that the body's `id` names. Raises Rejected `not-found`, also for a deleted one."""
        id = self.body.get("id")
        body = self.index.find(kind, self.namespace, id) if isinstance(id, str) else None
        if body is None or body.is_deleted:
            raise Rejected("not-found", f"There is no {kind.kind} with the id {str(id)[:64]}.")
        return body


class DefinitionChange(NamedTuple):
    """A definition as it will be; `body` None deletes it for good."""

    kind: str
    name: str
    body: DefinitionBody | Body | None

    @property
    def members(self) -> Body | None:
        """The JSON members of the body, as they are stored."""
        return self.body.members if isinstance(self.body, DefinitionBody) else self.body


class Decided(NamedTuple):
    """All that a command changes, and its reply's body.

    forgotten: log keys whose records may go. sends: what goes to the webhook stage with the decision.
    """

    changes: list[DefinitionChange]
    reply: Body | None = None
    forgotten: tuple[str, ...] = ()
    sends: tuple[Alert | WebhookWork, ...] = ()
