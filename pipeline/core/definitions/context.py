"""What a decider gets, and what it returns.

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
from pipeline.records import Alert, Command, StripeWork, WebhookWork

__all__ = ["Body", "CommandContext", "Decided", "DefinitionChange"]


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a decider gets.

    Args:
        index: the definitions in force.
        command: what is asked.
        at_ms: the broker's time of the command's record, in ms since 1970.
    """

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
        """The ULID of the `number`th definition that the command makes: a replay makes the same."""
        return ulid.make(self.at_ms, f"{self.namespace}/{self.command.id}/{number}")

    def existing(self, kind: type[B]) -> B:
        """The definition of a kind that the body's `id` names.

        Raises:
            Rejected: `not-found`, also for a deleted one.
        """
        id = self.body.get("id")
        body = self.index.find(kind, self.namespace, id) if isinstance(id, str) else None
        if body is None or body.is_deleted:
            raise Rejected("not-found", f"There is no {kind.kind} with the id {str(id)[:64]}.")
        return body


class DefinitionChange(NamedTuple):
    """A definition as the command leaves it; `body` None deletes it for good."""

    kind: str
    name: str
    body: DefinitionBody | None

    @property
    def members(self) -> Body | None:
        """The JSON members of the body, as they are stored."""
        return None if self.body is None else self.body.members


class Decided(NamedTuple):
    """What a decider returns.

    Args:
        changes: the definitions that the command makes, changes or deletes.
        reply: the body of the reply.
        forgotten: keys on `control` whose records are deleted.
        sends: records for the stages webhook and stripe-sync, sent with the decision.
    """

    changes: list[DefinitionChange]
    reply: Body | None = None
    forgotten: tuple[str, ...] = ()
    sends: tuple[Alert | WebhookWork | StripeWork, ...] = ()
