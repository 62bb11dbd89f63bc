"""The two sides of a migration: the OpenMeter that is read, and the API of this Tallymark.

Owns: their requests, retries, pages. Does not own: what is asked (migrate_definitions, migrate_quota, migrate_events,
migrate_compare), our API's errors (http).
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import time
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from pipeline.cli.http import CONNECT_S, PREFIX, Params, ask, cause_of, json_of, opener
from pipeline.core.values import json_value
from pipeline.errors import Broken, Rejected, Unavailable
from pipeline.settings import Settings, is_loopback

PAGE_SIZE = 100  # OpenMeter's own default
EVENTS_PAGE = 100  # the most that OpenMeter lists
TRIES = 8
FIRST_DELAY_S = 0.25  # doubled after each try: 32 s until the last one
LATER = "rate-limited"
T = TypeVar("T")

_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


def patient(call: Callable[[], T]) -> T:
    """The result of a call that is repeated while its service is down or limits its rate.

    Raises:
        Unavailable: It was still down at the last try.
    """
    for number in range(TRIES):
        try:
            return call()
        except (Unavailable, Rejected) as error:
            if isinstance(error, Rejected) and error.reason != LATER:
                raise
            if number == TRIES - 1:
                raise Unavailable(f"{error} Run the command again: it continues.") from error
            time.sleep(FIRST_DELAY_S * 2**number)
    raise Broken("A loop that returns or raises has ended.")


class OpenMeter:
    """An OpenMeter, or another Tallymark, that is only read."""

    def __init__(self, url: str, key: str = "") -> None:
        """Raises Rejected `bad-request` if the address is none, or the key would be sent in clear text."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise Rejected(
                "bad-request", f"{url} is not the URL of an OpenMeter, such as https://openmeter.cloud."
            )
        if key and parts.scheme == "http" and not is_loopback(parts.hostname):
            raise Rejected(
                "bad-request", f"The key would be sent to {parts.hostname} without TLS: use https."
            )
        self.url = url.rstrip("/").removesuffix("/api/v1")
        self._headers = {"accept": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})

    def get(self, path: str, params: Params = (), version: int = 1) -> Any:
        """The JSON at a path below /api/v1, numbers with all the digits that were sent.

        Raises:
            Rejected: The source's own sentence.
            Unavailable: It does not answer, after several tries.
        """
        asked = urlencode(list(params))
        url = f"{self.url}{PREFIX}{version}{path}" + (f"?{asked}" if asked else "")
        return patient(lambda: self._get(url))

    def pages(self, path: str, params: Params = (), version: int = 1) -> Iterator[dict[str, Any]]:
        """All items of a list."""
        return _pages(self.get, path, params, version)

    def events(self, filter_: str) -> Iterator[list[dict[str, Any]]]:
        """The pages of stored events that a filter selects, newest first."""
        cursor: str | None = None
        while True:
            params: list[tuple[str, str | int]] = [("filter", filter_), ("limit", EVENTS_PAGE)]
            if cursor:
                params.append(("cursor", cursor))
            page = self.get("/events", params, version=2)
            yield page["items"]
            cursor = page.get("nextCursor")
            if not cursor or len(page["items"]) < EVENTS_PAGE:  # OpenMeter has a cursor on the last page too
                return

    def _get(self, url: str) -> Any:
        request = urllib.request.Request(url, headers=self._headers)
        try:
            with opener().open(request, timeout=CONNECT_S) as response:
                status, content = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self.url} does not answer ({cause_of(error)}).") from error
        if status == HTTPStatus.OK:
            return self._json(content)
        detail = f"{self.url} answered {urlsplit(url).path} with {status}{_detail(content)}"
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable(detail)
        raise Rejected("not-found" if status == HTTPStatus.NOT_FOUND else "source-refused", detail)

    def _json(self, content: bytes) -> Any:
        try:
            return json_value.read_decimals(content)
        except Rejected as error:
            raise Rejected("bad-source", f"{self.url} is not an OpenMeter. {error.detail}") from error


def _pages(
    get: Callable[[str, Params, int], Any], path: str, params: Params, version: int
) -> Iterator[dict[str, Any]]:
    """All items of a list, whether its pages are objects with `items` or arrays."""
    for number in itertools.count(1):
        found = get(path, [*params, ("page", number), ("pageSize", PAGE_SIZE)], version)
        items = found["items"] if isinstance(found, dict) else found
        yield from items
        if len(items) < PAGE_SIZE:
            return


def _detail(content: bytes) -> str:
    """The source's own sentence, if its body is a problem."""
    try:
        body = json_value.read(content)
    except Rejected:
        return "."
    detail = body.get("detail") if isinstance(body, dict) else None
    return f": {str(detail).rstrip('.')}." if detail else "."


def read_key(path: Path | None) -> str:
    """The key in a file; "" without one. Raises Rejected `bad-file`."""
    if path is None:
        return ""
    try:
        key = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise Rejected("bad-file", f"{path} cannot be read as a key.") from error
    if not key or not key.isprintable():
        raise Rejected("bad-file", f"{path} holds no key.")
    return key


def idempotency_key(*asked: Any) -> str:
    """The same for the same request of the same source in every run."""
    return "migrate-" + hashlib.sha256(_encode(asked)).hexdigest()


class TargetApi:
    """The API of this Tallymark. Requests are repeated while it is down.

    The idempotency key of a change depends only on the source and on what is asked. So a request that a run gave up,
    and that was done all the same, creates nothing twice when the next run asks again within 24 hours.
    """

    def __init__(self, settings: Settings, source: str) -> None:
        """source: the URL of the system that is taken over."""
        self.settings, self._source = settings, source

    def get(self, path: str, params: Params = (), version: int = 1) -> Any:
        """The JSON at a path."""
        asked = list(params)
        return patient(lambda: json_of(ask(self.settings, "GET", path, params=asked, version=version)))

    def pages(self, path: str, params: Params = (), version: int = 1) -> list[dict[str, Any]]:
        """All items of a list."""
        return list(_pages(self.get, path, params, version))

    def send(
        self, method: str, path: str, body: Any = None, params: Params = (), version: int = 1, part: str = ""
    ) -> Any:
        """Change something, and return the JSON of the answer, None if it has none.

        part: distinguishes two requests that ask the same, such as a plan and a draft with the same content.
        """
        asked = list(params)
        key = idempotency_key(self._source, method, path, asked, body, part)
        headers = {"idempotency-key": key}
        answer = patient(
            lambda: ask(
                self.settings, method, path, json=body, params=asked, version=version, headers=headers
            )
        )
        return json_of(answer) if answer.content else None

    def ingest(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send events. Returns the API's warnings. Raises Rejected, with the place of an invalid event in `facts`."""
        headers = {"prefer": "return=representation"}
        answer = patient(lambda: ask(self.settings, "POST", "/events", json=events, headers=headers))
        warnings: list[dict[str, Any]] = json_of(answer)["warnings"]
        return warnings
