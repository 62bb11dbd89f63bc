"""Every scope at every endpoint, and everything that opens nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import httpx
import jwt
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from pipeline.api.app import create_app
from pipeline.api.http import portal_jwt
from pipeline.api.http.auth import PUBLIC, PUBLIC_FILES
from pipeline.api.http.bulkheads import Bulkheads
from pipeline.api.http.services import Services
from pipeline.core.access.api_key import SCOPES, ApiKey, Made
from pipeline.core.access.portal_token import PortalToken
from pipeline.core.values import timestamp
from pipeline.errors import Unavailable
from pipeline.records import Definition
from pipeline.settings import Settings
from pipeline.stores import readiness
from pipeline.stores.kafka import direct_key
from tests.api.scope_table import NEEDED, NO_KEY, PORTAL, PORTAL_CREDITS, PORTAL_INVOICES
from tests.fixtures.api_services import PORTAL_SECRET, bearer
from tests.fixtures.asgi_client import AsgiClient

pytestmark = pytest.mark.services  # it takes seconds

HOUR_S = 3600
NO_KAFKA = "127.0.0.1:1"
SERVICES = ("kafka", "topics", "definitions", "clickhouse", "redis", "lag")


class Log:
    """Definitions that know keys and one portal token; everything else of them is unavailable."""

    def __init__(self) -> None:
        self.keys_by_id: dict[str, ApiKey] = {}
        self.tokens: dict[tuple[str, str], PortalToken] = {}

    def is_decided(self) -> bool:
        return True

    def wait_loaded(self, timeout_s: float = 0) -> None:
        return

    def key(self, public: str) -> ApiKey | None:
        return self.keys_by_id.get(public)

    def portal_token(self, namespace: str, id: str) -> PortalToken | None:
        return self.tokens.get((namespace, id))

    def definition(self, namespace: str, kind: str, id: str) -> Definition | None:
        token = self.tokens.get((namespace, id)) if kind == PortalToken.kind else None
        return None if token is None else Definition(1, kind, namespace, id, "test", 0, token.members)

    def wait_for(self, *_: object) -> bool:
        return False

    def __getattr__(self, name: str) -> NoReturn:
        raise Unavailable(f"{name} is unavailable")


class Away(Services):
    """Services of which only the control log is there: a request that is let in gets 503."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self.settings = settings
        self.bulkheads = Bulkheads.of(settings)
        self.definitions = log  # type: ignore[assignment]

    def __getattr__(self, name: str) -> NoReturn:
        raise Unavailable(f"{name} is unavailable")


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


@pytest.fixture(scope="module")
def app(log: Log) -> FastAPI:
    settings = Settings.model_construct(kafka=NO_KAFKA, portal_secret=SecretStr(PORTAL_SECRET))
    app = create_app(settings)
    app.state.services = Away(log, settings)
    app.state.probes = readiness.probes(
        dict.fromkeys(SERVICES, unavailable)
    )  # the real ones wait for an answer
    return app


def unavailable() -> NoReturn:
    raise Unavailable("It is unavailable")


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[AsgiClient]:
    with AsgiClient(app) as client:
        yield client


def known(log: Log, scopes: list[str], expires_at_ms: int | None = None, revoked: bool = False) -> Made:
    made = direct_key.made("test")
    hash = "" if revoked else made.hash
    log.keys_by_id[made.public] = ApiKey(
        id=made.public, namespace="a", name="test", scopes=scopes, hash=hash, last4=made.last4,
        expires_at=None if expires_at_ms is None else timestamp.text_of(expires_at_ms),
        revoked_at="2026-01-01T00:00:00.000Z" if revoked else None,
    )  # fmt: skip
    return made


def operations(app: FastAPI) -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, item in app.openapi()["paths"].items()
        for method in item
        if method in ("get", "put", "post", "delete", "patch", "head", "options", "trace")
    }


def hidden(routes: list[Any]) -> list[str]:
    """Paths that no OpenAPI shows, the documentation's own left out."""
    found: list[str] = []
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if not hasattr(route, "path") and hasattr(inner, "routes"):
            found += hidden(inner.routes)
        elif not getattr(route, "include_in_schema", False) and route.path not in {
            *PUBLIC,
            PUBLIC_FILES + "{name}",
        }:
            found.append(route.path)
    return found


def test_no_endpoint_is_left_out(app: FastAPI) -> None:
    assert operations(app) == set(NEEDED)
    assert hidden(list(app.routes)) == []


@pytest.mark.parametrize("scope", [*SCOPES, NO_KEY, PORTAL])
def test_every_scope_at_every_endpoint(client: AsgiClient, log: Log, scope: str) -> None:
    headers = {} if scope == NO_KEY else bearer(portal(log) if scope == PORTAL else known(log, [scope]).text)
    of_all_meters = bearer(portal(log, [])) if scope == PORTAL else headers  # it opens invoices too
    wrong = {}
    for (method, path), needed in NEEDED.items():
        filled = path.replace("{meterSlug}", "tokens").replace("{listingType}", "stripe")
        filled = filled.replace("{", "").replace("}", "")
        sent = of_all_meters if path.startswith((PORTAL_INVOICES, PORTAL_CREDITS)) else headers
        response = client.request(method, filled, headers=sent)
        if needed in (NO_KEY, scope) or (scope == "admin" and needed != PORTAL):
            why = f"{response.status_code}" if response.status_code in (401, 403, 404, 405, 500) else ""
        else:
            why = not_refused(response, 401 if PORTAL in (scope, needed) or scope == NO_KEY else 403)
        if why:
            wrong[method, path] = why
    assert wrong == {}


def not_refused(response: httpx.Response, expected: int) -> str:
    """How an answer differs from the refusal that is expected, 401 or 403; empty where it does not."""
    content_type, reason = "application/problem+json", "unauthorized" if expected == 401 else "forbidden"
    if (response.status_code, response.headers["content-type"]) != (expected, content_type):
        return f"{response.status_code} {response.headers['content-type']}, not {expected} {content_type}"
    if not response.headers["www-authenticate"].startswith('Bearer realm="tallymark"'):
        return f"www-authenticate: {response.headers['www-authenticate']}"
    found = response.json()["reason"]
    return "" if found == reason else f"{found}, not {reason}"


def portal(log: Log, slugs: Sequence[str] = ("tokens",), **changes: Any) -> str:
    """A portal token that is in order, or one with claims changed; None leaves a claim out."""
    return signed(claims(log, slugs) | changes)


def claims(log: Log, slugs: Sequence[str] = ("tokens",)) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    token = PortalToken(
        id="01M7ZBE9NHXWNTG23BVHC9YKW5" if slugs else "01M7ZBE9NHXWNTG23BVHC9YKW6",
        subject="acme",
        allowed_meter_slugs=[*slugs] or None,
        expires_at=timestamp.text_of(now_ms + 1000 * HOUR_S),
        created_at=timestamp.text_of(now_ms),
        updated_at=timestamp.text_of(now_ms),
    )
    log.tokens["a", token.id] = token
    text = portal_jwt.sign(PORTAL_SECRET, "a", token)
    found: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    return found


def signed(members: dict[str, Any], key: str = PORTAL_SECRET, alg: str = "HS256", **header: Any) -> str:
    kept = {name: value for name, value in members.items() if value is not None}
    return jwt.encode(kept, key, alg, headers=header or None)


def raw(members: object) -> str:
    """Signed as it is, without any check."""
    return jwt.PyJWS().encode(json.dumps(members).encode(), PORTAL_SECRET, "HS256")


def attacks(log: Log) -> dict[str, str]:
    members, now_s = claims(log), int(time.time())
    good = signed(members)
    head, body, signature = good.split(".")
    public_pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----"
    spoilt = "A" if signature[0] != "A" else "B"
    return {
        "alg none": signed(members, "", "none"),
        "alg none, signature kept": ".".join((signed(members, "", "none").split(".")[0], body, signature)),
        "no signature": f"{head}.{body}.",
        "changed signature": f"{head}.{body}.{spoilt}{signature[1:]}",
        "another secret": signed(members, "x" * 40),
        "the empty secret": signed(members, "\0" * 32),
        "HS512": signed(members, alg="HS512"),
        "kid": signed(members, kid="../../dev/null"),
        "jku": signed(members, jku="https://evil.example/keys"),
        "jwk": signed(members, jwk={"kty": "oct", "k": "AAAA"}),
        "typ": signed(members, typ="at+jwt"),
        "expired": signed(members | {"nbf": now_s - 7200, "exp": now_s - 1}),
        "not yet": signed(members | {"nbf": now_s + 600, "exp": now_s + 1200}),
        "too long a life": signed(members | {"exp": now_s + 10 * HOUR_S}),
        "ends before it begins": signed(members | {"nbf": now_s - 5, "exp": now_s - 10}),
        "another audience": signed(members | {"aud": "tallymark"}),
        "several audiences": signed(members | {"aud": ["tallymark-portal", "x"]}),
        "another issuer": signed(members | {"iss": "openmeter"}),
        **{
            f"without {name}": signed(members | {name: None})
            for name in ("iss", "aud", "sub", "exp", "nbf", "jti", "ns")
        },
        "another subject": signed(members | {"sub": "globex"}),
        "more meters": signed(members | {"meters": ["tokens", "calls"]}),
        "all meters": signed(members | {"meters": None}),
        "another namespace": signed(members | {"ns": "b"}),
        "unknown jti": signed(members | {"jti": "01M7ZBE9NHXWNTG23BVHC9YKW6"}),
        "exp as text": jwt.encode(members | {"exp": "soon"}, PORTAL_SECRET, "HS256")
        if False
        else f"{head}.e30.{signature}",
        "numbers for texts": signed(members | {"meters": [1]}),
        "public key as secret": signed(members, public_pem.replace("PUBLIC", "P")),
        "no token": "x",
        "huge": good + "A" * 20_000,
        "an API key": known(log, ["admin"]).text,
    }


ATTACKS = sorted(attacks(Log()))


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_on_a_portal_token_works(client: AsgiClient, log: Log, name: str) -> None:
    url = "/api/v1/portal/meters/tokens/query"
    assert client.get(url, headers=bearer(portal(log))).status_code == 503  # past the door
    response = client.get(url, headers=bearer(attacks(log)[name]))
    assert (response.status_code, response.json()["reason"]) == (401, "unauthorized")
    assert response.headers["access-control-allow-origin"] == "*"


def test_an_invalidated_portal_token_opens_nothing(client: AsgiClient, log: Log) -> None:
    text = portal(log)
    for place, token in list(log.tokens.items()):
        log.tokens[place] = token.changed(invalidated_at=token.created_at)
    assert client.get("/api/v1/portal/meters/tokens/query", headers=bearer(text)).status_code == 401


def test_a_portal_token_is_for_its_meters(client: AsgiClient, log: Log) -> None:
    headers = bearer(portal(log))
    response = client.get("/api/v1/portal/meters/calls/query", headers=headers)
    assert (response.status_code, response.json()["reason"]) == (401, "unauthorized")
    asked = client.get("/api/v1/portal/meters/tokens/query?filterCustomerId=x", headers=headers)
    assert asked.status_code == 400


def test_only_the_portal_is_open_to_browsers(client: AsgiClient, log: Log) -> None:
    asks = {"origin": "https://shop.example", "access-control-request-method": "GET"}
    allowed = client.options("/api/v1/portal/meters/tokens/query", headers=asks)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "*")
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    for path in ("/api/v1/meters", "/api/v1/portal/tokens"):
        headers = asks | bearer(known(log, ["query"]).text)
        for response in (client.options(path, headers=headers), client.get(path, headers=headers)):
            assert "access-control-allow-origin" not in response.headers


def wrong_keys(log: Log) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    good, unknown = known(log, ["admin"]).text, direct_key.made("test").text
    mixed = good[: good.index("_", 8) + 9] + unknown[good.index("_", 8) + 9 :]
    return {
        "unknown": bearer(unknown),
        "the secret of another": bearer(mixed),
        "expired": bearer(known(log, ["admin"], now_ms).text),
        "revoked": bearer(known(log, ["admin"], revoked=True).text),
        "cut off": bearer(good[:-1]),
        "mistyped": bearer(good[:-9] + ("x" if good[-9] != "x" else "y") + good[-8:]),
        "upper case": bearer(good.upper()),
        "empty": {"authorization": "Bearer "},
        "basic": {"authorization": "Basic YTpi"},
        "twice": [("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}")],
        "in another header": {"x-api-key": good},
        "not ASCII": [(b"authorization", b"Bearer \xfcm_test")],
    }


@pytest.mark.parametrize("name", sorted(wrong_keys(Log())))
def test_a_wrong_key_opens_nothing(client: AsgiClient, log: Log, name: str) -> None:
    headers = wrong_keys(log)[name]
    response = client.get("/api/v1/customers", headers=headers)
    assert (response.status_code, response.json()["reason"]) == (401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_a_key_in_the_address_is_no_key(client: AsgiClient, log: Log) -> None:
    text = known(log, ["admin"]).text
    for name in ("key", "token", "access_token", "api_key"):
        assert client.get(f"/api/v1/customers?{name}={text}").status_code == 401


def test_ends_of_a_key_are_exact(client: AsgiClient, log: Log) -> None:
    later_ms = time.time_ns() // 1_000_000 + 60_000
    assert (
        client.get("/api/v1/customers", headers=bearer(known(log, ["query"], later_ms).text)).status_code
        == 503
    )


def test_what_is_unknown_shows_nothing_without_a_key(client: AsgiClient) -> None:
    assert client.get("/api/v1/nowhere").status_code == 401
    assert client.get("/api/v1/healthz").status_code == 200
    assert client.get("/openapi.json").status_code == 200


def test_a_request_has_an_id(client: AsgiClient) -> None:
    assert client.get("/api/v1/healthz", headers={"x-request-id": "my-1"}).headers["x-request-id"] == "my-1"
    for bad in ("a b", "x" * 65, "a\u00e9"):
        given = client.get("/api/v1/healthz", headers={"x-request-id": bad.encode("latin-1")})
        assert len(given.headers["x-request-id"]) == 32
