"""The refusals that every operation has, made from the OpenAPI document: a new operation is asked by itself."""

from __future__ import annotations

import re
from typing import Any

from tests.api.recording.recorder import CHANGING
from tests.api.recording.world import World
from tests.api.scope_table import NEEDED, NO_KEY, PORTAL

# A body that nothing but the rules refuses, where the usual one is refused before.
BODIES: dict[str, Any] = {
    "POST /api/v1/meters/apply": [],
    "POST /api/v1/subjects": [],
    "PUT /api/v1/customers/{customerIdOrKey}/apps": [],
    "POST /api/v1/endpoints/{channelId}/replay": {
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-02T00:00:00Z",
    },
}


def refusals(world: World, document: dict[str, Any]) -> None:
    """401, 403, 404 and 422 of every operation that has them."""
    for path, item in document["paths"].items():
        for method, described in item.items():
            operation = f"{method.upper()} {path}"
            scope = NEEDED.get((method.upper(), path), "query")
            if scope not in (NO_KEY, PORTAL):
                _refused(world, operation, "requestBody" in described, scope)


def _refused(world: World, operation: str, has_body: bool, scope: str) -> None:
    ask = world.recorder.ask
    method, path = operation.split()
    place = re.sub(r"\{\w+\}", "nothing", path)
    body = BODIES.get(operation, {}) if has_body else None
    ask(operation, "no key", place, body, key="")
    ask(operation, "a key without the scope", place, body, key="query" if scope == "ingest" else "ingest")
    if "{" in path:
        ask(operation, "what the path names is not there", place, body)
    ask(operation, "a parameter that there is not", f"{place}?zz=1", body)
    if any(one["name"] == "Idempotency-Key" for one in world.parameters(operation)) and method in CHANGING:
        ask(operation, "the Idempotency-Key was used", place, body, headers={"idempotency-key": "used"})
