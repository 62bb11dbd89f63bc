"""A key made without the API: by a command straight to Kafka, for who has no key yet and may write to Kafka.

Owns: making the secret and having the control stage keep its hash. Does not own: a key's rules (core.access.api_key).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from pipeline.core.access import api_key
from pipeline.settings import Settings
from pipeline.stores.kafka.commands import Commands
from pipeline.stores.kafka.definitions import Replies, WorkersView

ACTOR = "kafka"


def made(environment: str) -> api_key.Made:
    """A new key of random bytes, known to nobody yet."""
    return api_key.make(environment, secrets.token_bytes(api_key.RANDOM_BYTES))


def create(
    settings: Settings,
    namespace: str,
    made: api_key.Made,
    name: str,
    scopes: Sequence[str],
    expires_at: str | None = None,
) -> None:
    """Returns when the control stage has the key. Raises Rejected as decided, Unavailable when nobody decides."""
    body: dict[str, object] = {
        "id": made.public,
        "hash": made.hash,
        "last4": made.last4,
        "name": name,
        "scopes": list(scopes),
    }
    if expires_at is not None:
        body["expiresAt"] = expires_at
    replies, workers = Replies(settings), WorkersView(settings)
    with replies:
        Commands(settings, replies, workers).run("key.create", namespace, body, actor=ACTOR)
