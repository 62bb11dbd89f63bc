"""The current webhook endpoints with their URLs and signing keys.

Owns: reading an endpoint's definition, decrypting its secrets. Does not own: the rules of a definition, or disabling an
endpoint (control).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.core.definitions.changes import Changes
from pipeline.core.notifications.endpoint import Endpoint, place
from pipeline.core.notifications.standard_webhooks import SigningKey, parse_key
from pipeline.core.values.sealed import Seal
from pipeline.core.values.timestamp import ms_of
from pipeline.errors import Rejected
from pipeline.stores.webhook_http import custom_headers


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """An endpoint for sending. problem: why nothing can be signed for it; there are no keys then."""

    namespace: str
    id: str
    url: str
    headers: Mapping[str, str]
    disabled: bool
    key: SigningKey | None = field(default=None, repr=False)
    previous: SigningKey | None = field(default=None, repr=False)
    previous_until_s: int = 0
    problem: str = ""

    def keys(self, now_s: int) -> list[SigningKey]:
        """The keys that sign an attempt, newest first."""
        found = [self.key] if self.key is not None else []
        return found + (
            [self.previous] if self.previous is not None and now_s < self.previous_until_s else []
        )


class Endpoints:
    """The endpoints. `update` is called from the thread that follows `control`; `get` from any thread."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._by_key: dict[tuple[str, str], WebhookEndpoint] = {}

    def update(self, changes: Changes) -> None:
        """Apply changes of definitions."""
        for namespace, name, endpoint, _ in changes.of(Endpoint):
            if endpoint is None or endpoint.is_deleted:
                self._by_key.pop((namespace, name), None)
            else:
                self._by_key[namespace, name] = _opened(namespace, endpoint, self._seal)

    def get(self, namespace: str, id: str) -> WebhookEndpoint | None:
        """The endpoint, disabled or not; None if it does not exist or was deleted."""
        return self._by_key.get((namespace, id))


def _opened(namespace: str, endpoint: Endpoint, seal: Seal) -> WebhookEndpoint:
    key = previous = None
    until_s, problem = 0, ""
    try:
        key = parse_key(seal.open(endpoint.signing_secret or "", place(namespace)))
        if endpoint.previous_secret is not None:
            previous = parse_key(seal.open(endpoint.previous_secret.secret, place(namespace)))
            until_s = ms_of(endpoint.previous_secret.until) // 1_000
    except Rejected as refusal:
        problem = f"The webhook cannot be signed: {refusal.detail}"
    return WebhookEndpoint(
        namespace,
        endpoint.id,
        endpoint.url,
        custom_headers(endpoint.custom_headers or {}),
        endpoint.disabled,
        key if not problem else None,
        previous if not problem else None,
        until_s,
        problem,
    )
