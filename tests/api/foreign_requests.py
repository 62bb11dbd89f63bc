"""Requests that no program should send: hostile bytes in the body, the query, the path and the headers of every route.

Owns: finding the routes and their parameters in the OpenAPI document, so that a new route is tried by itself, and
asking an app as a server does. Does not own: the texts (tests.fixtures.hostile_json), what an answer has to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote, urlencode

from fastapi import FastAPI

from tests.fixtures.hostile_json import EMPTY, TEXTS, VALUES, bent

JSON_TYPE = (b"content-type", b"application/json")
AT_ONCE = 8

# What a path segment, a query parameter and a header may be.
WORDS: dict[str, bytes] = {
    "open arrays": b"[" * 1000,
    "deep": b"[" * 70 + b"]" * 70,
    "an object": b'{"$eq":' * 70 + b"1" + b"}" * 70,
    "digits": b"9" * 5000,
    "a large number": b"1e400",
    "NaN": b"NaN",
    "beyond 64 bits": b"18446744073709551616",
    "half a pair": b'"\\ud800"',
    "a surrogate in UTF-8": b"\xed\xa0\x80",
    "not UTF-8": b"\xff\xfe",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a repeated name": b'{"a":1,"a":2}',
    "truncated": b'{"a":',
    "NUL": b"a\0b",
    "nothing": b"",
    "percent": b"%",
    "a long word": b"a" * 8000,
    "a slash": b"a/../b",
}
HEADERS = (
    "authorization", "accept", "content-type", "content-encoding", "content-length", "expect", "host", "prefer",
    "idempotency-key", "x-request-id", "if-none-match", "origin", "traceparent", "ce-id", "ce-specversion",
)  # fmt: skip


@dataclass(frozen=True)
class Route:
    """One operation of the OpenAPI document. params: names by place, `path` or `query`.

    known: something that there is, by the name of its path parameter.
    """

    method: str
    path: str
    params: dict[str, list[str]]
    has_body: bool
    example: Any
    known: Mapping[str, str]


@dataclass(frozen=True)
class Asked:
    """One request. path: percent-encoded. refused: whether only a refusal is right."""

    what: str
    method: str
    path: str
    query: str = ""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    refused: bool = False


@dataclass
class Answered:
    """The answer, or what the app raised in its place."""

    asked: Asked
    status: int = 0
    content_type: str = ""
    body: bytes = b""
    error: BaseException | None = None
    headers: dict[str, str] = field(default_factory=dict)


def routes(app: FastAPI, known: Mapping[str, str]) -> list[Route]:
    """Every operation that the API publishes. known: what there is to be asked for; nothing of it is deleted."""
    found = []
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            params: dict[str, list[str]] = {"path": [], "query": []}
            for one in operation.get("parameters", []):
                params.setdefault(one["in"], []).append(one["name"])
            body = operation.get("requestBody", {}).get("content", {})
            there = known if method != "delete" else {}
            example = _example(body)
            if isinstance(example, dict):
                example = {
                    name: value for name, value in example.items() if name != "data"
                }  # any JSON is right
            found.append(Route(method.upper(), path, params, bool(body), example, there))
    return found


def _example(content: dict[str, Any]) -> Any:
    for described in content.values():
        if "example" in described:
            return described["example"]
        examples = described.get("examples") or described["schema"].get("examples")
        if examples:
            return examples[0] if isinstance(examples, list) else next(iter(examples.values()))["value"]
    return {}


def bodies(route: Route) -> Iterator[Asked]:
    """No JSON, as the whole body, and at each place of the route's example."""
    path, query = _place(route)
    for kind, text in TEXTS.items():
        refused = route.has_body and kind not in EMPTY
        yield Asked(f"body: {kind}", route.method, path, query, [JSON_TYPE], text, refused)
        if route.has_body:
            for content_type in (b"text/plain", b"application/json; charset=utf-16", b"\xff", b""):
                headers = [(b"content-type", content_type)]
                yield Asked(
                    f"body: {kind}, {content_type!r}", route.method, path, query, headers, text, refused
                )
    if not route.has_body:
        return
    for kind, value in VALUES.items():
        for number, text in enumerate(bent(route.example, value)):
            what = f"body: {kind} at place {number}"
            yield Asked(what, route.method, path, query, [JSON_TYPE], text, refused=kind not in EMPTY)


def queries(route: Route) -> Iterator[Asked]:
    """Each parameter, and one that there is not."""
    path, query = _place(route)
    for name in [*route.params["query"], "x[", "filterGroupBy[model]", "a" * 300]:
        for kind, word in WORDS.items():
            more = f"{quote(name)}={quote(word, safe='')}"
            yield Asked(f"query {name[:40]}: {kind}", route.method, path, _joined(query, more))
        yield Asked(f"query {name[:40]}: raw", route.method, path, _joined(query, quote(name) + "=%ff%&=&;"))


def paths(route: Route) -> Iterator[Asked]:
    """Each segment that is a parameter."""
    path, query = _place(route, filled=False)
    for name in route.params["path"]:
        for kind, word in WORDS.items():
            segments = _segments(route) | {name: quote(word, safe="")}
            yield Asked(f"path {name}: {kind}", route.method, _filled(path, segments), query)


def headers(route: Route) -> Iterator[Asked]:
    """Each header that something reads."""
    path, query = _place(route)
    body = b"{}" if route.has_body else b""
    for name in HEADERS:
        for kind, word in WORDS.items():
            sent = [JSON_TYPE] if name != "content-type" else []
            sent.append((name.encode(), word.replace(b"\0", b"\x7f")))
            yield Asked(f"header {name}: {kind}", route.method, path, query, sent, body)


def share(found: Iterator[Asked], number: int, every: int) -> Iterator[Asked]:
    """One in `every`, other ones for each route."""
    return islice(found, number % every, None, every)


def _place(route: Route, filled: bool = True) -> tuple[str, str]:
    path = _filled(route.path, _segments(route)) if filled else route.path
    return path, urlencode({"wait_s": 0}) if "wait_s" in route.params["query"] else ""


def _segments(route: Route) -> dict[str, str]:
    return {name: route.known.get(name, "nothing") for name in route.params["path"]}


def _filled(path: str, segments: dict[str, str]) -> str:
    for name, text in segments.items():
        path = path.replace("{" + name + "}", text)
    return path


def _joined(*queries: str) -> str:
    return "&".join(one for one in queries if one)


async def ask_all(app: FastAPI, asked: Sequence[Asked], key: str = "") -> list[Answered]:
    """The answers, in order; several requests at once."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(wanted: Asked) -> Answered:
        async with turns:
            return await ask(app, wanted, key)

    return await asyncio.gather(*map(one, asked))


async def ask(app: FastAPI, asked: Asked, key: str = "") -> Answered:
    """One request as uvicorn hands it to an app. key: of the Authorization header, where the request has none."""
    found = Answered(asked)
    names = {name for name, _ in asked.headers}
    sent = [*asked.headers, *([] if b"host" in names else [(b"host", b"testserver")])]
    if key and b"authorization" not in names:
        sent.append((b"authorization", f"Bearer {key}".encode()))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": asked.method, "scheme": "http",
        "path": unquote(asked.path), "raw_path": asked.path.encode(), "query_string": asked.query.encode(),
        "root_path": "", "headers": sent, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    waiting = [{"type": "http.request", "body": asked.body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            found.status = message["status"]
            found.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            found.content_type = found.headers.get("content-type", "")
        found.body += message.get("body", b"")

    try:
        await app(scope, receive, send)  # type: ignore[arg-type]
    except Exception as error:  # the framework raises again what it has answered with 500
        found.error = error
    return found
