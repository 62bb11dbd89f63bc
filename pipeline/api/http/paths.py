"""Paths of requests: split into segments first, decoded afterwards, so that a `/` within a key stays in its segment.

Owns: the path that middleware and routing see, the decoding of path parameters, `Router`, which every module of routes
uses, and that a route has no parameter but those it declares. Does not own: which routes there are (app).

A server decodes the whole path, after which `acme%2Faccess` and `acme/access` are the same. Here `scope["path"]` is
the path as it was sent, in one spelling: `%61cme` becomes `acme`, and what is not a letter, a digit or one of `-._~`
stays percent-encoded until its route is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.http.parameters import only_known
from pipeline.api.http.problem import answer
from pipeline.errors import Rejected

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})").search
_UNENCODED = "/:@!$&'()*+,;="  # what a path may hold beside letters, digits and -._~


class SegmentRoute(APIRoute):
    """A route whose path parameters are decoded after the path was split."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As starlette's, with decoded parameters."""
        match, child_scope = super().matches(scope)
        if match is not Match.NONE:
            parameters = child_scope["path_params"]
            child_scope["path_params"] = {name: decoded(text) for name, text in parameters.items()}
        return match, child_scope


class CheckedRoute(SegmentRoute):
    """A route that refuses query parameters which it does not declare, once it is known who asks."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        given = list(options.pop("dependencies", None) or ())
        if all(one.dependency is not only_known for one in given):
            given.append(Depends(only_known))
        super().__init__(path, endpoint, dependencies=given, **options)


Router = partial(APIRouter, route_class=CheckedRoute)
# For routes whose parameters have names that cannot be listed: they check them.
OpenRouter = partial(APIRouter, route_class=SegmentRoute)


class CanonicalPath:
    """ASGI middleware, before all others: from here on `path` is the path as sent, in its one spelling."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            scope["path"] = canonical(_as_sent(scope))
        except Rejected as refusal:
            response = await answer(Request(scope), refusal)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def canonical(raw: bytes) -> str:
    """A path in its one spelling: ASCII, each segment percent-encoded.

    raw: as the client sent it, without the query. Raises Rejected `bad-path` for what is not percent-encoded UTF-8.
    """
    if b"%" not in raw and raw.isascii():
        return raw.decode("ascii")
    if _BAD_ESCAPE(raw):
        raise Rejected(
            "bad-path", "The path has a % without two hexadecimal digits; a % in a key is sent as %25."
        )
    try:
        segments = [unquote_to_bytes(part).decode() for part in raw.split(b"/")]
    except UnicodeDecodeError:
        raise Rejected("bad-path", "The path is not percent-encoded UTF-8.") from None
    return "/".join(quote(segment, safe="") for segment in segments)


def decoded(segment: str) -> str:
    """The text of one segment of a canonical path."""
    return unquote_to_bytes(segment).decode() if "%" in segment else segment


def _as_sent(scope: Scope) -> bytes:
    """The path before a server decoded it."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return quote(scope["path"], safe=_UNENCODED).encode()
    return raw.partition(b"?")[0]
