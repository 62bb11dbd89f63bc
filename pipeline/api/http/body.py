"""A request's body, whole and bounded, and its JSON read strictly before any route sees it.

Owns: how many bytes are taken, unpacking gzip within the same bound, that a body has one meaning. Does not own: time
limits (server), what counts as JSON (core.values.strict_json), what a body may say (the routes).
"""

from __future__ import annotations

import zlib

from orjson import dumps
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.http.auth import SIGNED
from pipeline.api.http.problem import answer
from pipeline.api.http.rate_limits import INGEST_PATH
from pipeline.core.values import json_value
from pipeline.errors import Rejected

MAX_BODY_BYTES = 1 << 20  # as sent, and again after unpacking
DISCARDED_BYTES = (
    8 << 20
)  # read on to the end of a body that is too large, so that its sender reads the answer
JSON_BODY = "json_body"  # the member of a request's state with the value of its body, not to be changed
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
_GZIP = 16 + zlib.MAX_WBITS
_MEMBERS = 16  # of one gzip file: each costs a copy of the rest


async def read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The unpacked body.

    Raises Rejected: body-too-large, unsupported-encoding, bad-content; ClientDisconnect when the client went away.
    """
    encoding = _encoding(headers)
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Rejected("unsupported-encoding", f"content-encoding {encoding[:40]!r} is not gzip or identity.")
    body = await _bounded(headers, receive)
    return body if encoding in ("", "identity") else unpack(body)


def _encoding(headers: dict[bytes, bytes]) -> str:
    return headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()


def check_plain(headers: dict[bytes, bytes]) -> None:
    """Raises Rejected `unsupported-encoding` for a packed body."""
    if (encoding := _encoding(headers)) not in ("", "identity"):
        detail = f"content-encoding {encoding[:40]!r} is taken for POST /events only, where it may be gzip."
        raise Rejected("unsupported-encoding", detail)


async def _bounded(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    declared = _declared_bytes(headers)
    if declared > MAX_BODY_BYTES:
        if headers.get(b"expect", b"").lower() != b"100-continue" and declared <= DISCARDED_BYTES:
            await _discard(receive)
        raise _too_large()
    return await _read(receive)


def _declared_bytes(headers: dict[bytes, bytes]) -> int:
    """What content-length says, at most a number of 18 digits; 0 where it says no number."""
    digits = headers.get(b"content-length", b"0")
    return int(digits if len(digits) <= 18 else b"9" * 18) if digits.isdigit() else 0


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            if message.get("more_body", False):
                parts.clear()
                await _discard(receive, size)
            raise _too_large()
        if not message.get("more_body", False):
            return part if not parts else b"".join([*parts, part])
        parts.append(part)


async def _discard(receive: Receive, size: int = 0) -> None:
    more = True
    while more and size <= DISCARDED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        more = bool(message.get("more_body", False))


def unpack(packed: bytes) -> bytes:
    """What gzip packed. Raises Rejected: body-too-large, bad-content."""
    parts: list[bytes] = []
    room = MAX_BODY_BYTES + 1
    for _ in range(_MEMBERS):
        unpacker = zlib.decompressobj(_GZIP)
        try:
            part = unpacker.decompress(packed, room)
        except zlib.error as error:
            raise Rejected("bad-content", f"The body is not gzip: {error}.") from None
        room -= len(part)
        if room <= 0:
            raise _too_large()
        if not unpacker.eof:
            raise Rejected("bad-content", "The body is not gzip: its end is missing.")
        parts.append(part)
        packed = unpacker.unused_data
        if not packed:
            return b"".join(parts)
    raise Rejected("bad-content", f"The body is gzip of more than {_MEMBERS} members.")


def _too_large() -> Rejected:
    return Rejected("body-too-large", f"The body has more than {MAX_BODY_BYTES} bytes.")


def checked(body: bytes) -> tuple[bytes, object]:
    """A JSON body in the one spelling that every reader of JSON understands alike, and its value.

    The framework's own reader takes NaN, repeated names and half surrogates, and rounds numbers: it gets none of these.
    An empty body stays empty, and its value is None. Raises Rejected `bad-request`.
    """
    if not body:
        return body, None
    try:
        value = json_value.read(body)
        return dumps(value), value
    except Rejected as refusal:
        raise Rejected("bad-request", f"The body cannot be read. {refusal.detail}") from refusal


def _is_raw(path: str) -> bool:
    """Whether a route reads its body itself, byte by byte."""
    return path == INGEST_PATH or SIGNED(path) is not None


class Bodies:
    """ASGI middleware: no route but those that read their own ever sees a body that is too large or ambiguous."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY or _is_raw(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            headers = dict(scope["headers"])
            check_plain(headers)  # before the body is read
            body, value = checked(await _bounded(headers, receive))
            scope.setdefault("state", {})[JSON_BODY] = value
        except ClientDisconnect:
            return
        except Rejected as refusal:
            response = await answer(Request(scope), refusal)
            await response(scope, receive, send)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)
