"""Hostile answers to every call of the client: one of its own errors, never another one, never a hang."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tallymark import Client, TallymarkError
from tallymark._json import loads

from tests.client.conftest import event
from tests.fixtures.hostile_json import TEXTS, VALUES

SHAPES = {
    "null": b"null",
    "number": b"1",
    "text": b'"x"',
    "list": b"[[]]",
    "object": b"{}",
    "items": b'{"items":1,"data":[[]],"accepted":"all"}',
    "an exponent": b'{"accepted":1e99,"items":[{"count":1e99}],"data":[{"value":1e99,"count":1e99,"windowStart":1}]}',
}
ANSWERS = {
    **TEXTS,
    **SHAPES,
    **{f"{kind} in an answer": b'{"data":' + value + b"}" for kind, value in VALUES.items()},
}
GIVEN = {"events": [event("1")], "body": {"name": "x"}, "subjects": {"key": "x"}}
NO_CALLS = {"after_fork", "buffered", "close"}
# A Decimal holds these numbers, and Python's stack this depth.
TAKEN = {"rounded by a float", "beyond 64 bits", "deeper than allowed"}


def calls(client: Client) -> Iterator[tuple[str, Any]]:
    """Each public call by its dotted name, also of a resource that is new."""
    for name, part in inspect.getmembers(client):
        if name.startswith("_") or name in NO_CALLS:
            continue
        if inspect.ismethod(part):
            yield name, part
        elif type(part).__module__.startswith("tallymark"):
            for inner, method in inspect.getmembers(part, inspect.ismethod):
                if not inner.startswith("_"):
                    yield f"{name}.{inner}", method


def arguments(method: Any) -> list[Any]:
    """Something for each argument that has no default."""
    needed = [
        param
        for param in inspect.signature(method).parameters.values()
        if param.default is param.empty and param.kind in (param.POSITIONAL_OR_KEYWORD, param.VAR_POSITIONAL)
    ]
    return [GIVEN.get(param.name, "x") for param in needed]


class Answering(httpx.BaseTransport):
    """A server that gives one answer to everything, with hostile headers."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {"tallymark-warnings": "[" * 1000, "retry-after": "9" * 99}
        return httpx.Response(self.status, headers=headers, content=self.body)


def test_every_call_with_every_answer() -> None:
    wrong, tried, server = [], 0, Answering()
    with httpx.Client(transport=server) as http, Client("http://server", deadline_s=0, http=http) as client:
        found = list(calls(client))
        assert len(found) > 25
        for name, method in found:
            for kind, body in ANSWERS.items():
                for status in (200, 400):
                    server.status, server.body = status, body
                    tried += 1
                    try:
                        method(*arguments(method))
                    except TallymarkError:
                        continue
                    except Exception as error:
                        wrong.append(f"{name}, {kind}, {status}: {error!r}")
                        continue
                    if status == 400 or (
                        kind in TEXTS.keys() - TAKEN and not name.endswith(("delete", "invalidate"))
                    ):
                        wrong.append(f"{name}, {kind}, {status}: was taken")
    print(f"{tried} answers to {len(found)} calls")
    assert wrong == []


@pytest.mark.parametrize("kind", TEXTS)
def test_the_reader_refuses(kind: str) -> None:
    if kind in TAKEN:
        pytest.skip("it is harmless here")
    with pytest.raises(ValueError):
        loads(TEXTS[kind])
