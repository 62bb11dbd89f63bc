"""Whether and when to retry.

Owns: which failures are temporary, backoff, Retry-After, the deadline. Does not own: sockets and sleep (the clients).

Why no retry library: the decision is one function that both clients share, it has to know Retry-After, whether the
request may be repeated and how much of the deadline is left, and so httpx stays the only dependency.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from tallymark._errors import Broken, TallymarkError, Unavailable, error_of
from tallymark._request import Answer, Asking, Lost, Request, Steps, T, Try, Wait

_PASSING = (429, 502, 503, 504)
_NOT_DONE = (429,)  # the request had no effect
_FIRST_WAIT_S = 0.1
_MAX_WAIT_S = 10.0
_MIN_TIMEOUT_S = 0.1


@dataclass(frozen=True)
class Patience:
    """Limits. deadline_s: for all attempts and pauses of a request. timeout_s: of silence within one attempt."""

    deadline_s: float
    timeout_s: float
    clock: Callable[[], float] = time.monotonic  # seconds
    dice: Callable[[], float] = random.random  # 0 to 1


def may_repeat(request: Request, outcome: Answer | Lost) -> bool:
    """Whether the failure may be temporary, and a retry cannot apply the request twice."""
    if isinstance(outcome, Lost):
        return request.repeatable or not outcome.sent
    return outcome.status in (_PASSING if request.repeatable else _NOT_DONE)


def wait_s(outcome: Answer | Lost, tries: int, dice: float) -> float:
    """Seconds until the next attempt: 0.1 doubled each time up to 10, half of it random, added to Retry-After."""
    backoff_s = min(_MAX_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(tries - 1, 30)) * (0.5 + dice / 2)
    return backoff_s + (retry_after_s(outcome) if isinstance(outcome, Answer) else 0.0)


def retry_after_s(answer: Answer) -> float:
    """Retry-After in seconds: a number, or a date minus the server's date. 0 if it is missing or invalid."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
        since = parsedate_to_datetime(answer.headers.get("date", ""))
        return max(0.0, (_utc(until) - _utc(since)).total_seconds())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


def attempt(request: Request, patience: Patience) -> Steps[Answer]:
    """Repeat a request until it succeeds. Raises Refused, Broken, and Unavailable when it must not be repeated."""
    started_s, tries = patience.clock(), 0
    while True:
        left_s = patience.deadline_s - (patience.clock() - started_s)
        outcome = yield Try(request, max(_MIN_TIMEOUT_S, min(patience.timeout_s, left_s)))
        assert outcome is not None
        tries += 1
        if isinstance(outcome, Answer):
            if 200 <= outcome.status < 300:
                return outcome
            if outcome.status not in _PASSING:
                raise error_of(outcome)
        pause_s = wait_s(outcome, tries, patience.dice())
        spent_s = patience.clock() - started_s
        if not may_repeat(request, outcome) or spent_s + pause_s > patience.deadline_s:
            raise Unavailable(_why(request, outcome, tries, spent_s))
        yield Wait(pause_s)


def patiently(asking: Asking[T], patience: Patience) -> Steps[T]:
    """Execute a call: each request that it yields is repeated until it succeeds; errors are raised in the call."""
    try:
        request = next(asking)
        while True:
            try:
                answer = yield from attempt(request, patience)
            except TallymarkError as error:
                request = asking.throw(error)
            else:
                request = _give(asking, answer)
    except StopIteration as done:
        result: T = done.value
        return result


def _give(asking: Asking[T], answer: Answer) -> Request:
    try:
        return asking.send(answer)
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise Broken(
            answer.status, f"not a response of Tallymark ({error!r}): {answer.body[:200]!r}"
        ) from error


def _why(request: Request, outcome: Answer | Lost, tries: int, spent_s: float) -> str:
    cause = outcome.why if isinstance(outcome, Lost) else str(error_of(outcome))
    again = "" if may_repeat(request, outcome) else ", and it is unknown whether it was applied"
    return f"{request.method} {request.path}: {tries} attempts in {spent_s:.1f} s{again}; the last: {cause}"


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)
