"""A portal token is checked in memory; only one that has to be waited for takes a turn at Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import anyio
import pytest
from pydantic import SecretStr
from starlette.types import Message, Receive, Scope, Send

from pipeline.api.http import portal_jwt
from pipeline.api.http.auth import PORTAL_PREFIX, Authentication
from pipeline.api.http.bulkheads import Bulkhead
from pipeline.core.access.portal_token import PortalToken
from pipeline.core.values import timestamp
from pipeline.records import Definition
from pipeline.settings import Settings

SECRET = "s" * 32


class InMemory:
    """The definitions of a process: those that were read."""

    def __init__(self, *tokens: PortalToken) -> None:
        self._tokens = {token.id: token for token in tokens}

    def is_decided(self) -> bool:
        return True

    def wait_loaded(self, timeout_s: float) -> None:
        pass

    def portal_token(self, namespace: str, id: str) -> PortalToken | None:
        return self._tokens.get(id)

    def wait_for(self, is_there: Callable[[object], bool], timeout_s: float) -> bool:
        raise AssertionError("there is no turn to wait in")

    def definition(self, namespace: str, kind: str, id: str) -> Definition | None:
        token = self._tokens.get(id)
        return None if token is None else Definition(7, kind, namespace, id, "", 0, token.members)


def token(id: str, invalidated_at: str | None = None) -> PortalToken:
    now_ms = time.time_ns() // 1_000_000
    now = timestamp.text_of(now_ms)
    return PortalToken(
        id=id,
        subject="ann",
        expires_at=timestamp.text_of(now_ms + 60_000),
        created_at=now,
        updated_at=now,
        invalidated_at=invalidated_at,
    )


def status_of(sent: PortalToken, *known: PortalToken) -> int:
    """The status of a request with the token, while every turn at Kafka is taken."""
    statuses: list[int] = []

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    bulkheads = SimpleNamespace(kafka=Bulkhead("Kafka", 0, 0.01))
    services = SimpleNamespace(definitions=InMemory(*known), bulkheads=bulkheads)
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"{PORTAL_PREFIX}x",
        "headers": [(b"authorization", f"Bearer {portal_jwt.sign(SECRET, 'default', sent)}".encode())],
        "app": SimpleNamespace(state=SimpleNamespace(services=services)),
    }
    settings = Settings.model_construct(portal_secret=SecretStr(SECRET))
    anyio.run(Authentication(route, settings), scope, receive, send)
    return statuses[0]


@pytest.mark.parametrize(
    ("known", "status"),
    [
        ([token("a")], 200),
        ([token("a", invalidated_at="2026-01-01T00:00:00.000Z")], 401),
        ([token("b")], 503),
    ],
    ids=["known", "invalidated", "unknown"],
)
def test_a_known_token_waits_for_no_turn_at_kafka(known: list[PortalToken], status: int) -> None:
    assert status_of(token("a"), *known) == status
