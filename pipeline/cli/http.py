"""How the commands ask the API.

Owns: one HTTP request, what its failure means, and the JSON of an answer. Does not own: what is asked (metering).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from pipeline.core.values import json_value
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.settings import LOCAL_KEY_FILE, Settings, is_loopback

# reconcile and apply wait for the pipeline as long as they are told, at most 600 s
TIMEOUT = httpx.Timeout(660.0, connect=5.0)
PREFIX = "/api/v"


def ask(
    settings: Settings,
    method: str,
    path: str,
    *,
    params: list[tuple[str, str | int | float | bool | None]] | None = None,
    json: Any = None,
    accept: str = "application/json",
    version: int = 1,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Response:
    """The API's answer to one request, when it is a good one.

    path: below /api/v1, or another version. Raises Unavailable when nobody answers or a neighbour is down,
    Rejected with the API's own reason and sentence, and Broken for any other answer.
    """
    url = settings.api_url.rstrip("/") + PREFIX + str(version) + path
    headers = {"accept": accept} | authorization(settings)
    encrypted = not url.startswith("http://")  # else reading the certificates is 20 ms for nothing
    try:
        with httpx.Client(timeout=TIMEOUT, transport=transport, verify=encrypted) as client:
            response = client.request(method, url, params=params, json=json, headers=headers)
    except httpx.InvalidURL as error:
        raise Rejected("bad-setting", f"api_url: {settings.api_url} is no URL: {error}.") from error
    except httpx.RequestError as error:
        raise Unavailable(
            f"The API at {settings.api_url} does not answer: {error or type(error).__name__}; "
            "is `tallymark dev` or `tallymark api` running?"
        ) from error
    if response.is_success:
        return response
    raise _error(settings, response)


def json_of(response: httpx.Response) -> Any:
    """The JSON of an answer, fractions as Decimal. Raises Broken where it is none of Tallymark's."""
    try:
        return json_value.read_decimals(response.content)
    except Rejected as error:
        where = f"{response.request.url.scheme}://{response.request.url.netloc.decode()}"
        raise Broken(f"{where} answered, but not as Tallymark's API does. {error.detail}") from error


def authorization(settings: Settings) -> dict[str, str]:
    """The header with the key of `settings`: api_key, else api_key_file; nothing where there is none.

    The key that `tallymark dev` keeps in this folder is sent to this machine alone. Raises Rejected `bad-setting`.
    """
    key = settings.api_key.get_secret_value() or _key_in_file(settings)
    if not (key.isascii() and key.isprintable()):
        raise Rejected("bad-setting", "api_key: a key is letters, digits and _ only.")
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


def _error(settings: Settings, response: httpx.Response) -> Exception:
    try:
        body = json_value.read(response.content)
        reason, detail = str(body["reason"]), str(body["detail"])
    except (Rejected, KeyError, TypeError):
        return Broken(f"{settings.api_url} answered {response.status_code}, and not as Tallymark's API does.")
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return Unavailable(detail)
    if response.status_code == httpx.codes.UNAUTHORIZED:
        detail += " The commands send api_key (TALLYMARK_API_KEY), or what stands in api_key_file."
    return Rejected(reason, detail) if response.is_client_error else Broken(detail)
