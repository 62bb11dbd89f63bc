"""Requests and responses, without I/O.

Owns: the form of a request and of a response, and safe paths. Does not own: the requests of each call (_api), I/O.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

from tallymark._json import loads

T = TypeVar("T")
Params: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Request:
    """One request. path: below `below`, quoted. repeatable: sending it twice has the effect of once."""

    method: str
    path: str
    params: Params = ()
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    below: str = "/api/v1"


class Answer(NamedTuple):
    """A whole response. headers: names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, fractions as Decimal. Raises ValueError."""
        return loads(self.body)


class Lost(NamedTuple):
    """There was no whole response. sent: the server may have received the request. why: one sentence."""

    sent: bool
    why: str


class Try(NamedTuple):
    """Send the request once. timeout_s: longest silence, in seconds."""

    request: Request
    timeout_s: float


class Wait(NamedTuple):
    """Sleep, in seconds."""

    seconds: float


Asking: TypeAlias = Generator[Request, Answer, T]
"""A call's logic: yields requests, receives successful responses, returns the result."""

Steps: TypeAlias = Generator[Try | Wait, Answer | Lost | None, T]
"""The same with retries: the steps that a client with sockets and a clock executes."""


def path(*segments: str) -> str:
    """A path of literal segments, each quoted, so that a name cannot become several segments.

    Raises ValueError if one is empty.
    """
    quoted = []
    for segment in segments:
        if not segment:
            raise ValueError("a slug, key or id is empty")
        quoted.append("%2E" * len(segment) if segment in (".", "..") else quote(segment, safe=""))
    return "/" + "/".join(quoted)
