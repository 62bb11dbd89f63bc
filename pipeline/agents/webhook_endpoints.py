"""The webhook endpoints in force, as a worker knows them: where each is and what it is signed with.

Owns: reading an endpoint's definition, opening its sealed secrets. Does not own: the rules of a definition, or
disabling one (control).

    body: {id, url, signingSecret, previousSecret?: {secret, until: RFC 3339}, customHeaders?: {name: value},
           disabled?: bool, deletedAt?}; secrets as given or as core.values.sealed wrote them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.notifications.endpoint import place
from pipeline.core.notifications.standard_webhooks import SigningKey, parse_key
from pipeline.core.values.sealed import Seal
from pipeline.core.values.timestamp import parse_ns
from pipeline.errors import Rejected
from pipeline.records import Definition
from pipeline.stores.webhook_http import custom_headers

KIND = "endpoint"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`problem` says why nothing can be signed for it; then there are no keys."""

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
        """What a try is signed with now: the newest key first."""
        found = [self.key] if self.key is not None else []
        return found + (
            [self.previous] if self.previous is not None and now_s < self.previous_until_s else []
        )


class Endpoints:
    """`update` is called from the thread that follows `control`; `get` from anywhere."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._by_key: dict[tuple[str, str], Endpoint] = {}

    def update(self, changes: Mapping[str, Definition | None]) -> None:
        """Take changed definitions; those of other kinds mean nothing here."""
        for name, definition in changes.items():
            if definition is None:
                namespace, _, rest = name.partition(f"/{KIND}/")
                self._by_key.pop((namespace, rest), None)
            elif definition.kind == KIND:
                self._take(definition)

    def get(self, namespace: str, id: str) -> Endpoint | None:
        """The endpoint, be it disabled or not; None: there is none, or not any more."""
        return self._by_key.get((namespace, id))

    def _take(self, definition: Definition) -> None:
        place_of = (definition.namespace, definition.name)
        if definition.body is None or definition.body.get("deletedAt"):
            self._by_key.pop(place_of, None)
        else:
            self._by_key[place_of] = _endpoint(
                definition.namespace, definition.name, definition.body, self._seal
            )


def _endpoint(namespace: str, id: str, body: Mapping[str, Any], seal: Seal) -> Endpoint:
    key = previous = None
    until_s, problem = 0, ""
    try:
        key = parse_key(seal.open(str(body.get("signingSecret", "")), place(namespace)))
        if isinstance(older := body.get("previousSecret"), dict):
            previous = parse_key(seal.open(str(older.get("secret")), place(namespace)))
            until_s = parse_ns(str(older.get("until"))) // 1_000_000_000
    except Rejected as refusal:
        problem = f"Nothing can be signed: {refusal.detail}"
    return Endpoint(
        namespace,
        id,
        str(body.get("url", "")),
        custom_headers(body.get("customHeaders") or {}),
        bool(body.get("disabled")),
        key if not problem else None,
        previous if not problem else None,
        until_s,
        problem,
    )
