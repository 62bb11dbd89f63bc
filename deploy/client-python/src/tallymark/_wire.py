"""The use of httpx, the same in both clients.

Owns: headers, URLs, the meaning of httpx's errors. Does not own: sending (the clients).
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

import httpx

from tallymark._request import Answer, Lost, Try

# Shorter than the idle timeout of servers (uvicorn: 5 s), so that no connection is used while it closes.
LIMITS = httpx.Limits(max_connections=100, keepalive_expiry=3.0)
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Wire:
    """The base URL, and the headers of each request. Raises ValueError.

    encrypts: whether connections use TLS. Without it a client needs no certificates, which take 40 ms to load.
    """

    def __init__(self, url: str, key: str | None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not an http or https URL")
        self.encrypts = url.startswith("https://")
        self._base = url.rstrip("/")
        self._headers = {"user-agent": f"tallymark-client/{_version()}", "accept": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"

    def arguments(self, step: Try) -> dict[str, Any]:
        """The arguments for `request` of an httpx client."""
        request = step.request
        return {
            "method": request.method,
            "url": self._base + request.below + request.path,
            "params": list(request.params) or None,
            "content": request.content,
            "headers": {**self._headers, **request.headers},
            "timeout": step.timeout_s,
            "follow_redirects": False,
        }


def answer(response: httpx.Response) -> Answer:
    """The response in the form of the core."""
    return Answer(response.status_code, response.headers, response.content)


def lost(error: httpx.RequestError) -> Lost:
    """A lost response in the form of the core."""
    return Lost(not isinstance(error, _UNSENT), f"{type(error).__name__}: {error}".rstrip(": "))


def _version() -> str:
    try:
        return metadata.version("tallymark-client")
    except metadata.PackageNotFoundError:
        return "0"
