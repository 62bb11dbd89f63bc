"""Who asks: every request gets a Principal or a refusal, before anything of it is read.

Owns: bearer keys and portal tokens, scopes, the namespace of a request, request ids. Does not own: how keys
come into being (api.access.keys, core.access.api_key), portal tokens' form (portal_jwt).
Keys are looked up in the control log held in memory, so that a revocation holds as soon as the log says so
and no other system is asked. A namespace comes from the principal alone: `namespace_of` is the only source.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from secrets import token_hex

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.http import portal_jwt
from pipeline.api.http.bulkheads import Bulkheads, loaded
from pipeline.api.http.problem import REQUEST_ID, problem
from pipeline.core.access import api_key
from pipeline.core.access.api_key import ADMIN, SCOPES
from pipeline.core.access.portal_token import PortalToken
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.settings import Settings
from pipeline.stores.kafka.definitions import Definitions

PORTAL = "portal"  # no key has it: it is the scope of a portal token
PUBLIC = frozenset({"/api/v1/healthz", "/api/v1/ready", "/docs", "/openapi.json"})
PUBLIC_FILES = "/docs/"
# It is signed by Stripe, and its body is read as it was sent.
SIGNED = re.compile(r"/api/v1/apps/[^/]+/stripe/webhook").fullmatch
PORTAL_PREFIX = "/api/v1/portal/meters/"
PORTAL_PREFIXES = (PORTAL_PREFIX, "/api/v1/portal/invoices", "/api/v1/portal/credits")
PORTAL_WAIT_S = 2.0
REPLAYED = (
    "idempotent-replayed"  # in a request's state, and as a header: its answer is one that was given before
)
_OPEN_TO_ALL = {"access-control-allow-origin": "*", "vary": "origin"}
_PREFLIGHT = {
    "access-control-allow-methods": "GET",
    "access-control-allow-headers": "authorization, accept, content-type",
    "access-control-max-age": "600",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_NO_KEY = api_key.ParsedKey("live", "0" * 8, "0" * 43)
_NO_HASH = "0" * 64


@dataclass(frozen=True)
class Principal:
    """Who asks, for which namespace, and what they may do. A portal token has a subject and its meters."""

    namespace: str
    actor: str
    scopes: frozenset[str]
    key_id: str | None = None
    subject: str | None = None
    meters: frozenset[str] | None = None  # None: all
    named_at: int = 0  # revision of the definitions at which `meters` were named

    def may(self, scope: str) -> bool:
        """Whether one of its scopes allows what needs `scope`; admin allows all but a portal token's."""
        return scope in self.scopes or (ADMIN in self.scopes and scope != PORTAL)


ANYBODY = Principal("default", "anonymous", frozenset({ADMIN}))


def principal(request: Request) -> Principal:
    """Who sent `request`. Raises Broken on a path that needs no authentication."""
    found = request.scope["state"].get("principal")
    if not isinstance(found, Principal):
        raise Broken(f"No principal was authenticated for {request.scope['path']}.")
    return found


def namespace_of(request: Request) -> str:
    """The namespace that `request` is about: its principal's, whatever path, headers and body say."""
    return principal(request).namespace


def request_id(request: Request) -> str:
    """The id under which this request stands in answers and in the audit log."""
    return str(request.scope["state"]["request_id"])


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


def open_key(definitions: Definitions, text: str, now_ms: int) -> Principal | None:
    """The principal of a key, or None, which takes as long whatever is wrong with it. Raises Broken."""
    try:
        offered = api_key.parse(text)
    except Rejected:
        offered = _NO_KEY
    key = definitions.key(offered.public)
    fits = api_key.check(offered.secret, _NO_HASH if key is None else key.hash)
    if key is None or not fits or not key.holds(now_ms):
        return None
    return Principal(key.namespace, key.id, frozenset(key.scopes), key.id)


def open_portal(definitions: Definitions, claims: portal_jwt.PortalClaims) -> Principal | None:
    """The principal of a portal token that is ours and in time; None if it is unknown or invalidated."""
    stored = definitions.definition(claims.namespace, PortalToken.kind, claims.id)
    if stored is None or not portal_jwt.matches(claims, PortalToken.of(stored)):
        return None
    scopes = frozenset({PORTAL})
    return Principal(
        claims.namespace, f"portal:{claims.id}", scopes, None, claims.subject, claims.meters, stored.revision
    )


def _is_known(definitions: Definitions, claims: portal_jwt.PortalClaims) -> bool:
    return definitions.portal_token(claims.namespace, claims.id) is not None


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
        state["request_id"] = offered if _REQUEST_ID.fullmatch(offered) else token_hex(16)
        portal = scope["path"].startswith(PORTAL_PREFIXES)
        answer = _labelled(send, state, _OPEN_TO_ALL if portal else {})
        if portal and scope["method"] == "OPTIONS":
            await Response(None, 204, _PREFLIGHT)(scope, receive, answer)
            return
        if is_public(scope["path"]):
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
        definitions = scope["app"].state.services.definitions
        if scope["path"].startswith(PORTAL_PREFIXES):
            if token is None:
                raise Unauthorized("Send a portal token: `Authorization: Bearer ...`.")
            await loaded(definitions)
            secret = self._settings.portal_secret.get_secret_value()
            claims = portal_jwt.read(secret, token)
            if claims is not None and not _is_known(definitions, claims):
                # Another process may have made it just now. Only a token that has to be waited for takes a turn.
                bulkheads: Bulkheads = scope["app"].state.services.bulkheads
                known = partial(_is_known, definitions, claims)
                await bulkheads.kafka.run(partial(definitions.wait_for, lambda _: known(), PORTAL_WAIT_S))
            found = None if claims is None else open_portal(definitions, claims)
            if found is None:
                raise Unauthorized("The portal token is unknown, expired or invalidated.", "invalid_token")
            return found
        if self._settings.auth == "off":
            return ANYBODY
        if token is None:
            raise Unauthorized("Send an API key: `Authorization: Bearer um_...`.")
        await loaded(definitions)
        found = open_key(definitions, token, time.time_ns() // 1_000_000)
        if found is None:
            raise Unauthorized("The API key is unknown, expired or revoked.", "invalid_token")
        return found


def is_public(path: str) -> bool:
    """Whether a path, or its template, needs no key."""
    return path in PUBLIC or path.startswith(PUBLIC_FILES) or SIGNED(path) is not None


def bearer(headers: Headers) -> str | None:
    """The token of the one Authorization header; None without one. Raises Unauthorized for another scheme."""
    sent = headers.getlist("authorization")
    if not sent:
        return None
    scheme, _, token = sent[0].partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("The Authorization header is not `Bearer <key>`.", "invalid_request")
    return token.strip()


def _labelled(
    send: Send, state: Mapping[str, object], more: Mapping[str, str]
) -> Callable[[Message], Awaitable[None]]:
    async def labelled(message: Message) -> None:
        if message["type"] == "http.response.start":
            labels = {REQUEST_ID: str(state["request_id"]), **more}
            if state.get(REPLAYED):
                labels[REPLAYED] = "true"
            added = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in labels.items()]
            named = {name for name, _ in added}
            message["headers"] = [one for one in message.get("headers", ()) if one[0] not in named] + added
        await send(message)

    return labelled
