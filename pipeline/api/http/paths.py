"""Paths of requests: split into segments first, decoded afterwards, so that a `/` within a key stays in its segment.

Owns: the path that middleware and routing see, the decoding of path parameters, `Router`, which every module of routes
uses, and that a route has no parameter but those it declares. Does not own: which routes there are (app), the
bulkheads that they wait in (bulkheads).

A server decodes the whole path, after which `acme%2Faccess` and `acme/access` are the same. Here `scope["path"]` is
the path as it was sent, in one spelling: `%61cme` becomes `acme`, and what is not a letter, a digit or one of `-._~`
stays percent-encoded until its route is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote, unquote_to_bytes

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.api.http.bulkheads import StoreName, behind
from pipeline.api.http.parameters import only_known
from pipeline.api.http.problem import answer
from pipeline.api.http.submit import refusals_recorded
from pipeline.errors import Rejected

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})").search
READING = frozenset({"GET", "HEAD", "OPTIONS"})
_UNENCODED = "/:@!$&'()*+,;="  # what a path may hold beside letters, digits and -._~


class SegmentRoute(APIRoute):
    """A route whose path parameters are decoded after the path was split, and whose waits have a bulkhead.

    waits_for: the store that every method of the route waits for; None: one that changes something waits for
    `changes_wait_for`, one that reads for nothing.
    """

    waits_for: ClassVar[StoreName | None] = None
    changes_wait_for: ClassVar[StoreName] = "commands"

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        store = self.waits_for
        if store is None and not READING.issuperset(options.get("methods") or ("GET",)):
            store = self.changes_wait_for
        super().__init__(path, behind(store, endpoint), **options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As starlette's, with decoded parameters."""
        match, child_scope = super().matches(scope)
        if match is not Match.NONE:
            parameters = child_scope["path_params"]
            child_scope["path_params"] = {name: decoded(text) for name, text in parameters.items()}
        return match, child_scope


class AsksClickHouse(SegmentRoute):
    """A route that waits for ClickHouse."""

    waits_for = "clickhouse"


class CheckedRoute(SegmentRoute):
    """A route that refuses query parameters which it does not declare, once it is known who asks."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        given = list(options.pop("dependencies", None) or ())
        if all(one.dependency is not only_known for one in given):
            given.append(Depends(only_known))
        super().__init__(path, endpoint, dependencies=given, **options)


class AsksKafka(CheckedRoute):
    """A route that reads topics."""

    waits_for = "kafka"


class ChangesBills(CheckedRoute):
    """A route about the bill of a customer: what changes it waits for the billing stage, and a refusal is recorded."""

    changes_wait_for = "billing"

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        given = list(options.pop("dependencies", None) or ())
        if not READING.issuperset(options.get("methods") or ("GET",)):
            given += [Depends(only_known), Depends(refusals_recorded(endpoint.__name__))]
        super().__init__(path, endpoint, dependencies=given, **options)


class Reconciles(CheckedRoute):
    """A route that waits until all stages are quiet."""

    waits_for = "reconcile"


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
