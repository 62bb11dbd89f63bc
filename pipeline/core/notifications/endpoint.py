"""A webhook endpoint as it is stored: where webhooks go and what they are signed with. OpenMeter calls it a channel.

Owns: the Structs of a definition on `control`, what its sealed secrets are bound to, what of it is shown. Does not own:
the commands (endpoint_commands), opening secrets (values.sealed), delivery (delivery_table).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import ENDPOINT

TYPE = "WEBHOOK"


class PreviousSecret(msgspec.Struct, frozen=True):
    """The secret before, as it was stored. It signs too until the instant `until` (RFC 3339)."""

    secret: str
    until: str

    def __repr__(self) -> str:
        return f"PreviousSecret(until={self.until!r})"


class Endpoint(DefinitionBody, frozen=True, kw_only=True):
    """An endpoint, deleted ones too.

    Args:
        custom_headers: sent with each webhook.
        signing_secret: as it was given, or as values.sealed wrote it; empty once the endpoint is deleted, None where
            the endpoint is shown.
        disabled_reason, disabled_at: where it was not a user who disabled it.
    """

    kind: ClassVar[str] = ENDPOINT

    id: str
    type: str
    name: str
    url: str
    custom_headers: dict[str, str] | None = None
    disabled: bool
    metadata: dict[str, str] | None = None
    signing_secret: str | None = None
    previous_secret: PreviousSecret | None = None
    created_at: str = ""
    updated_at: str = ""
    disabled_reason: str | None = None
    disabled_at: str | None = None
    deleted_at: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint(id={self.id!r})"

    @property
    def shown(self) -> dict[str, object]:
        """Its JSON members but for the secrets, which no reply and no answer holds."""
        return self.without_secrets().members

    def without_secrets(self) -> Endpoint:
        """The endpoint as it can be shown."""
        return self.changed(signing_secret=None, previous_secret=None)


def place(namespace: str) -> str:
    """What the sealed secrets of a namespace's endpoints are bound to."""
    return f"{namespace}/{ENDPOINT}"
