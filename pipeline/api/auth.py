"""Who asks: every request gets a Principal or a refusal, before anything of it is read.

Owns: bearer keys and portal tokens, scopes, the namespace of a request, request ids. Does not own: how keys
come into being (routes of keys, core.key), portal tokens' form (portal_token).
Keys are looked up in the control log held in memory, so that a revocation holds as soon as the log says so
and no other system is asked. A namespace comes from the principal alone: `namespace_of` is the only source.
"""

from __future__ import annotations

import hmac
import re
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import anyio.to_thread
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.problem import problem
from pipeline.control_log import Definitions
from pipeline.core import key_text, rfc3339
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.records import Definition
from pipeline.settings import Settings

ADMIN = "admin"
SCOPES = (
    "ingest",
    "query",
    "meters:write",
    "customers:write",
    "entitlements:write",
    "webhooks:write",
    "billing:write",
    "keys:write",
    "audit:read",
    ADMIN,
)
PORTAL = "portal"  # no key has it: it is the scope of a portal token
PUBLIC = frozenset({"/api/v1/healthz", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
PORTAL_PREFIX = "/api/v1/portal/meters/"
KEY = "key"
REQUEST_ID = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_NOBODY = key_text.digest("")


@dataclass(frozen=True)
class Principal:
    """Who asks, for which namespace, and what they may do. A portal token has a subject and its meters."""

    namespace: str
    actor: str
    scopes: frozenset[str]
    key_id: str | None = None
    subject: str | None = None
    meters: frozenset[str] | None = None  # None: all

    def may(self, scope: str) -> bool:
        """Whether one of its scopes allows what needs `scope`; admin allows all but a portal token's."""
        return scope in self.scopes or (ADMIN in self.scopes and scope != PORTAL)


ANYBODY = Principal("default", "anonymous", frozenset({ADMIN}))


def principal(request: Request) -> Principal:
    """Who sent `request`. Raises Broken on a path that needs nobody."""
    found = getattr(request.state, "principal", None)
    if not isinstance(found, Principal):
        raise Broken(f"Nobody was authenticated for {request.url.path}.")
    return found


def namespace_of(request: Request) -> str:
    """The namespace that `request` is about: its principal's, whatever path, headers and body say."""
    return principal(request).namespace


def request_id(request: Request) -> str:
    """The id under which this request stands in answers and in the audit log."""
    return str(request.state.request_id)


class Needs:
    """A dependency that refuses principals without one scope."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Principal:
        """Raises Rejected `forbidden`."""
        who = principal(request)
        if not who.may(self.scope):
            raise Rejected("forbidden", f"This needs the scope {self.scope}, which the key does not have.")
        return who


def needs(scope: str) -> Needs:
    """What a route declares: `dependencies=[Depends(needs("query"))]`. Each route declares exactly one."""
    if scope not in SCOPES and scope != PORTAL:
        raise Broken(f"There is no scope {scope}.")
    return Needs(scope)


class Unauthorized(Exception):
    """No credentials, or such as open nothing. The sentence is for the client."""

    def __init__(self, detail: str, error: str = "") -> None:
        super().__init__(detail)
        self.challenge = 'Bearer realm="tallymark"' + (f', error="{error}"' if error else "")


class KeyRing:
    """The keys of all namespaces by their public part, as the control log has them now."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._keys: dict[str, dict[str, Definition]] = {}
        self._lock = threading.Lock()
        definitions.on_change(self.take)

    def take(self, changes: Mapping[str, Definition | None]) -> None:
        """Takes note of changed definitions, by their key on the log."""
        with self._lock:
            for place, definition in changes.items():
                _, _, rest = place.partition("/")
                kind, _, public = rest.partition("/")
                if kind != KEY:
                    continue
                if definition is None or definition.body is None:
                    self._keys.get(public, {}).pop(place, None)
                else:
                    self._keys.setdefault(public, {})[place] = definition

    def open(self, text: str, now_s: float) -> Principal | None:
        """The principal of a key, or None, which takes as long whatever is wrong with it."""
        parts = key_text.read(text)
        with self._lock:
            found = list(self._keys.get(parts.public, {}).values()) if parts else []
        offered = key_text.digest(parts.secret if parts else text)
        opened: Definition | None = None
        hmac.compare_digest(_NOBODY, offered)  # so that an unknown key takes no less
        for definition in found:
            if hmac.compare_digest(str((definition.body or {}).get("hash", "")), offered):
                opened = definition
        if opened is None or not in_force(opened.body or {}, now_s):
            return None
        return _principal(opened)


def in_force(body: Mapping[str, object], now_s: float) -> bool:
    """Whether a key's body says that it opens something at `now_s` (seconds since 1970)."""
    if body.get("revokedAt") or body.get("deletedAt"):
        return False
    expires_at = body.get("expiresAt")
    return expires_at is None or rfc3339.parse_ns(str(expires_at)) > now_s * 1e9


def _principal(definition: Definition) -> Principal:
    scopes = (definition.body or {}).get("scopes")
    if not isinstance(scopes, list):
        raise Broken(f"The key {definition.name} has no scopes.")
    named = frozenset(str(scope) for scope in scopes) & set(SCOPES)
    return Principal(definition.namespace, f"key:{definition.name}", named, definition.name)


class Authentication:
    """ASGI middleware: a principal for every request that needs one, a request id for all."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        offered = headers.get(REQUEST_ID, "")
        state["request_id"] = offered if _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex
        answer = _labelled(send, state["request_id"])
        if scope["path"] in PUBLIC:
            await self._app(scope, receive, answer)
            return
        try:
            state["principal"] = await self._identify(scope, headers)
        except Unauthorized as refusal:
            response = problem(Request(scope), 401, "unauthorized", str(refusal))
            response.headers["www-authenticate"] = refusal.challenge
            await response(scope, receive, answer)
        except Unavailable as error:
            response = problem(Request(scope), 503, "unavailable", str(error))
            response.headers["retry-after"] = "5"
            await response(scope, receive, answer)
        else:
            await self._app(scope, receive, answer)

    async def _identify(self, scope: Scope, headers: Headers) -> Principal:
        """Raises Unauthorized; Unavailable while the control log is not read yet."""
        token = bearer(headers)
        have = scope["app"].state.neighbours
        if scope["path"].startswith(PORTAL_PREFIX):
            raise Unauthorized("Portal tokens are not known here.", "invalid_token")
        if self._settings.auth == "off":
            return ANYBODY
        if token is None:
            raise Unauthorized("Send an API key: `Authorization: Bearer um_...`.")
        await loaded(have.definitions)
        found = have.keys.open(token, time.time())
        if not isinstance(found, Principal):
            raise Unauthorized("The API key is unknown, expired or revoked.", "invalid_token")
        return found


def bearer(headers: Headers) -> str | None:
    """The token of the one Authorization header; None without one. Raises Unauthorized for another scheme."""
    sent = headers.getlist("authorization")
    if not sent:
        return None
    scheme, _, token = sent[0].partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("The Authorization header is not `Bearer <key>`.", "invalid_request")
    return token.strip()


async def loaded(definitions: Definitions) -> None:
    """Returns when the control log was read once. Raises Unavailable."""
    try:
        definitions.wait_loaded(0)
    except Unavailable:
        await anyio.to_thread.run_sync(partial(definitions.wait_loaded, 10.0))


def _labelled(send: Send, id: str) -> Callable[[Message], Awaitable[None]]:
    async def labelled(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[REQUEST_ID] = id
        await send(message)

    return labelled
