"""The client against a server that misbehaves; each call through both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from tallymark import AsyncClient, Client

from tests.client.server import Server


class Ask(Protocol):
    """Makes a client, calls `call` (dotted, as `meters.list`), gives its result."""

    def __call__(self, call: str, *args: Any, deadline_s: float = 20.0, **named: Any) -> Any: ...


def _part(client: object, call: str) -> Any:
    for name in call.split("."):
        client = getattr(client, name)
    return client


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, server: Server) -> Ask:
    def ask_sync(call: str, *args: Any, deadline_s: float = 20.0, **named: Any) -> Any:
        with Client(server.url, "um_test", deadline_s=deadline_s) as client:
            return _part(client, call)(*args, **named)

    def ask_async(call: str, *args: Any, deadline_s: float = 20.0, **named: Any) -> Any:
        async def main() -> Any:
            async with AsyncClient(server.url, "um_test", deadline_s=deadline_s) as client:
                return await _part(client, call)(*args, **named)

        return asyncio.run(main())

    return ask_sync if request.param == "sync" else ask_async


def event(id: str | None = None, **more: Any) -> dict[str, Any]:
    """A good event; without an id the client makes one."""
    given = {"source": "/app", "type": "prompt", "subject": "ann", "data": {"tokens": 1}, **more}
    return given if id is None else {"id": id, **given}
