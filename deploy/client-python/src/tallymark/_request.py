"""What is asked and what came back, without any I/O.

Owns: the form of a request and of an answer, and safe paths. Does not own: what each call asks (_api), the wire.
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
    """One request. path: below /api/v1, quoted. repeatable: to send it twice does no more than to send it once."""

    method: str
    path: str
    params: Params = ()
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False


class Answer(NamedTuple):
    """A whole answer. headers: names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, fractions as Decimal. Raises ValueError."""
        return loads(self.body)


class Lost(NamedTuple):
    """No whole answer came. sent: the server may have got the request. why: one sentence."""

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
"""A call's logic: yields requests, is given good answers, returns the result."""

Steps: TypeAlias = Generator[Try | Wait, Answer | Lost | None, T]
"""The same with retries: what a shell with sockets and a clock carries out."""


def path(*segments: str) -> str:
    """A path of literal segments, each quoted, so that no name can leave its place.

    Raises ValueError if one is empty.
    """
    quoted = []
    for segment in segments:
        if not segment:
            raise ValueError("a slug, key or id is empty")
        quoted.append("%2E" * len(segment) if segment in (".", "..") else quote(segment, safe=""))
    return "/" + "/".join(quoted)
