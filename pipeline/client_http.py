"""How the commands ask the API.

Owns: one HTTP request, and what its failure means. Does not own: what is asked (cli_user).
"""

from __future__ import annotations

from typing import Any

import httpx

from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.settings import Settings

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
    try:
        with httpx.Client(timeout=TIMEOUT, transport=transport) as client:
            response = client.request(method, url, params=params, json=json, headers={"accept": accept})
    except httpx.TransportError as error:
        raise Unavailable(
            f"The API at {settings.api_url} does not answer ({type(error).__name__}); "
            "is `tallymark dev` or `tallymark api` running?"
        ) from error
    if response.is_success:
        return response
    raise _error(settings, response)


def _error(settings: Settings, response: httpx.Response) -> Exception:
    try:
        body = response.json()
        reason, detail = str(body["reason"]), str(body["detail"])
    except (ValueError, KeyError, TypeError):
        return Broken(f"{settings.api_url} answered {response.status_code}, and not as Tallymark's API does.")
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return Unavailable(detail)
    return Rejected(reason, detail) if response.is_client_error else Broken(detail)
