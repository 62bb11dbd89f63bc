"""Errors, by the possible reaction.

Owns: the error classes, and the class for each response. Does not own: whether to retry (_retry).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tallymark._event import Prepared
from tallymark._json import loads
from tallymark._request import Answer


class TallymarkError(Exception):
    """The root of all errors of this package except `BadEvent`.

    accepted: how many events of the call the server had acknowledged before.
    unaccepted: the others, with the ids of the first attempt. It is safe to ingest them again: an event that did arrive
    is recognised by its id and not counted twice.
    """

    accepted: int = 0
    unaccepted: tuple[Prepared, ...] = ()


class Refused(TallymarkError):
    """The server refuses the request (4xx); a retry would be refused too.

    status: HTTP status. reason: a stable slug for programs (`bad-query`). detail: one sentence for a person.
    problem: the whole problem+json (RFC 7807) of the response, empty if there was none.
    """

    def __init__(self, status: int, reason: str, detail: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(status, reason, detail, problem)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.problem: dict[str, Any] = problem or {}

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.detail}"


class Unauthorized(Refused):
    """401: the key is missing, unknown, expired or revoked."""


class Forbidden(Refused):
    """403: the key is valid, but lacks the required scope."""


class NotFound(Refused):
    """404: it does not exist in the key's namespace."""


class Conflict(Refused):
    """409: it exists already, or conflicts with something else."""


class Unavailable(TallymarkError):
    """No response, or a temporary error (429, 502, 503, 504), until the deadline. The request may have been applied."""


class Broken(TallymarkError):
    """The server failed (500), does not support this (501), or is not Tallymark. status: HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


class Failure(NamedTuple):
    """An event that a buffer could not deliver, and why."""

    event: Prepared
    error: Exception


class NotAccepted(TallymarkError):
    """Events of a buffer that were not accepted. failures: each with its own error; `unaccepted`: the events."""

    def __init__(self, failures: tuple[Failure, ...]) -> None:
        super().__init__(failures)
        self.failures = failures
        self.unaccepted = tuple(failure.event for failure in failures)

    def __str__(self) -> str:
        first = self.failures[0].error
        return f"{len(self.failures)} events were not accepted; the first: {type(first).__name__}: {first}"


_REFUSED = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict}


def error_of(answer: Answer) -> Refused | Broken:
    """The error for a response other than 2xx."""
    problem = _problem(answer)
    detail = str(problem.get("detail") or problem.get("title") or f"status {answer.status}")
    if 400 <= answer.status < 500:
        reason = str(problem.get("reason") or f"http-{answer.status}")
        return _REFUSED.get(answer.status, Refused)(answer.status, reason, detail, problem)
    if 300 <= answer.status < 400:
        detail = f"it redirects to {answer.headers.get('location', '?')}: is the url that of the API?"
    return Broken(answer.status, detail)


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        found = loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
