"""HTTP requests of the commands to the API.

Owns: one request, the error for its failure, the JSON of a response with all digits. Does not own: which requests are
made (cli.api), output (output).

It uses the standard library. The project's own client (deploy/client-python) needs httpx, whose import takes 0.2 s of
CPU, more than a whole command, and it has no entitlements, grants, rules, endpoints, deliveries, keys or audit.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from pipeline.core.values import json_value
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.settings import LOCAL_KEY_FILE, Settings, is_loopback

PREFIX = "/api/v"
CONNECT_S = 5.0
# `reconcile` and `meters apply` wait for the pipeline for up to 600 s.
ANSWER_S = 660.0

Params = Iterable[tuple[str, "str | int | float | bool | None"]]

_encode = msgspec.json.Encoder(decimal_format="number").encode


class ApiAnswer(NamedTuple):
    """A successful response of the API. content_type: of its header. content: the bytes of its body."""

    content_type: str
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


def ask(
    settings: Settings,
    method: str,
    path: str,
    *,
    params: Params = (),
    json: Any = None,
    accept: str = "application/json",
    version: int = 1,
    headers: Mapping[str, str] | None = None,
) -> ApiAnswer:
    """Send one request and return the response if it is successful.

    Args:
        settings: For the address of the API and the key.
        method: Of the request.
        path: Below /api/v1, or below the prefix of another `version`; its segments are quoted.
        params: Of the query; a name may be repeated.
        json: The body; Decimals are written with all their digits. None: no body.
        accept: The content type to request.
        version: Of the API.
        headers: More of them, such as `idempotency-key`.

    Raises:
        Unavailable: The API cannot be reached, or a service that it needs is down.
        Rejected: The API's own reason and sentence.
        Broken: Any other response.
    """
    url = settings.api_url.rstrip("/") + PREFIX + str(version) + path
    if asked := urlencode([(name, _text(value)) for name, value in params]):
        url += "?" + asked
    sent = {"accept": accept, **(headers or {}), **authorization(settings)}
    if json is not None:
        sent["content-type"] = "application/json"
    request = urllib.request.Request(
        url, None if json is None else _encode(json), headers=sent, method=method
    )
    try:
        with opener().open(request, timeout=CONNECT_S) as response:
            answer = ApiAnswer(response.headers.get("content-type", ""), response.read())
    except http.client.InvalidURL as error:
        raise Rejected("bad-setting", f"api_url: {settings.api_url} is not a URL: {error}.") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"The API at {settings.api_url} does not answer ({cause_of(error)}); "
            "is `tallymark dev` or `tallymark api` running?"
        ) from error
    if 200 <= response.status < 300:
        return answer
    raise _error(settings, response.status, answer.content)


def cause_of(error: Exception) -> str:
    """Why a request got no response, in a few words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(cause) or type(cause).__name__


def json_of(answer: ApiAnswer) -> Any:
    """The JSON of a response, fractions as Decimal. Raises Broken if it is not valid."""
    try:
        return json_value.read_decimals(answer.content)
    except Rejected as error:
        raise Broken(f"The response is not that of Tallymark's API. {error.detail}") from error


def authorization(settings: Settings) -> dict[str, str]:
    """The header with the key of `settings`: api_key, else api_key_file; empty if there is none.

    The key that `tallymark dev` stores in this folder is sent to this machine only. Raises Rejected `bad-setting`.
    """
    key = settings.api_key.get_secret_value() or _key_in_file(settings)
    if not (key.isascii() and key.isprintable()):
        raise Rejected("bad-setting", "api_key: a key consists of letters, digits and _.")
    return {"authorization": f"Bearer {key}"} if key else {}


def _key_in_file(settings: Settings) -> str:
    path = Path(settings.api_key_file or LOCAL_KEY_FILE)
    if not settings.api_key_file and not is_loopback(urlsplit(settings.api_url).hostname or ""):
        return ""
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and not settings.api_key_file:
            return ""
        raise Rejected("bad-setting", f"api_key_file: {path} cannot be read as a key.") from error


def _text(value: str | int | float | bool | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _error(settings: Settings, status: int, content: bytes) -> Exception:
    try:
        body = json_value.read(content)
        reason, detail = str(body["reason"]), str(body["detail"])
    except (Rejected, KeyError, TypeError):
        return Broken(f"{settings.api_url} responded with {status}, but not as Tallymark's API does.")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unavailable(detail)
    if status == HTTPStatus.UNAUTHORIZED:
        detail += " The commands send api_key (TALLYMARK_API_KEY), or the content of api_key_file."
    facts = body.get("extensions")
    refused = Rejected(reason, detail, facts if isinstance(facts, dict) else None)
    return refused if 400 <= status < 500 else Broken(detail)


class _Patient(http.client.HTTPConnection):
    """A connection with a short limit for connecting, and a long one for the response."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(ANSWER_S)


class _PatientHttps(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(ANSWER_S)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Patient, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PatientHttps, request)


def opener() -> urllib.request.OpenerDirector:
    """An opener that uses the environment's proxies and follows no redirects, since the key must not go elsewhere."""
    made = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), _Http(), _Https(), urllib.request.UnknownHandler()):
        made.add_handler(handler)
    return made
