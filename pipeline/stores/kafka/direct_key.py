"""API keys without the API: commands published to Kafka, for a caller that has no key yet and can write to Kafka.

Owns: creating the secret, and the commands by which control stores its hash or revokes it. Does not own: rules
(core.access.api_key).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import closing

from pipeline.core.access import api_key
from pipeline.settings import Settings
from pipeline.stores.kafka.commands import Commands
from pipeline.stores.kafka.definitions import Replies, WorkersView

ACTOR = "kafka"


def made(environment: str) -> api_key.Made:
    """A new random key, which is not registered yet."""
    return api_key.make(environment, secrets.token_bytes(api_key.RANDOM_BYTES))


def create(
    settings: Settings,
    namespace: str,
    made: api_key.Made,
    name: str,
    scopes: Sequence[str],
    expires_at: str | None = None,
) -> None:
    """Register a key, and return when control has stored it. Raises Rejected, Unavailable without a decision."""
    body: dict[str, object] = {
        "id": made.public,
        "hash": made.hash,
        "last4": made.last4,
        "name": name,
        "scopes": list(scopes),
    }
    if expires_at is not None:
        body["expiresAt"] = expires_at
    _run(settings, "key.create", namespace, body)


def revoke(settings: Settings, namespace: str, id: str, force: bool) -> None:
    """Revoke a key, and return when control has stored it. force: even the last admin key of the namespace.

    id: its public part. Raises Rejected as decided, Unavailable without a decision in time.
    """
    _run(settings, "key.revoke", namespace, {"id": id, "force": force})


def _run(settings: Settings, kind: str, namespace: str, body: dict[str, object]) -> None:
    replies, workers = Replies(settings), WorkersView(settings)
    with replies, closing(Commands(settings, replies, workers)) as commands:
        commands.run(kind, namespace, body, actor=ACTOR)
