"""Ingest: sends batches, and reads acknowledgements and warnings.

Owns: the effect of a refused or lost batch on its events. Does not own: retries (_retry), queues (_pending).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tallymark._batch import Batch, batches, halves, ingest_request
from tallymark._errors import Broken, Failure, Refused, TallymarkError
from tallymark._event import Prepared
from tallymark._json import loads
from tallymark._request import Answer, Asking

_TOO_LARGE = 413
_ABOUT_AN_EVENT = (400, _TOO_LARGE, 422)


@dataclass(frozen=True)
class IngestWarning:
    """A warning on events that the server has accepted, but will not count.

    code: a stable slug such as `no-meter`, `beyond-horizon`, `future`. events: their number. first: the index of the
    first of them in the call, from 0 (in a buffer: in the batch); None if unknown. json: the whole warning.
    """

    code: str
    detail: str
    events: int
    first: int | None
    json: Any


@dataclass(frozen=True)
class Ingested:
    """All events were accepted: the broker has stored them."""

    accepted: int
    warnings: tuple[IngestWarning, ...] = ()


@dataclass(frozen=True)
class Delivered:
    """The result for the events of a buffer: each was accepted, or is in `failures`."""

    failures: tuple[Failure, ...]
    warnings: tuple[IngestWarning, ...] = ()


def ingest(events: Sequence[Prepared]) -> Asking[Ingested]:
    """Send batches one after the other. The first failure ends it, and its error holds the remaining events.

    A batch that is too large for the server (413) is split.
    """
    left, warnings, accepted = deque(batches(events)), list[IngestWarning](), 0
    while left:
        batch = left.popleft()
        try:
            warnings += accepted_with((yield ingest_request(batch)), len(batch), accepted)
        except TallymarkError as error:
            if isinstance(error, Refused) and error.status == _TOO_LARGE and len(batch) > 1:
                left.extendleft(reversed(halves(batch)))
                continue
            error.accepted = accepted
            error.unaccepted = (*batch, *(event for other in left for event in other))
            raise
        accepted += len(batch)
    return Ingested(accepted, tuple(warnings))


def deliver(events: Sequence[Prepared]) -> Asking[Delivered]:
    """Like `ingest`, but an event that is refused is left out, and the others are still sent."""
    left: deque[Batch] = deque(batches(events))
    failures, warnings, settled = list[Failure](), list[IngestWarning](), 0
    while left:
        batch = left.popleft()
        try:
            warnings += accepted_with((yield ingest_request(batch)), len(batch), settled)
        except TallymarkError as error:
            about_an_event = isinstance(error, Refused) and error.status in _ABOUT_AN_EVENT
            if isinstance(error, Refused) and about_an_event and len(batch) > 1:
                left.extendleft(reversed(parts(batch, error)))
                continue
            failures += [Failure(event, error) for event in batch]
            if not about_an_event:
                failures += [Failure(event, error) for other in left for event in other]
                break
        settled += len(batch)
    return Delivered(tuple(failures), tuple(warnings))


def accepted_with(answer: Answer, events: int, base: int) -> list[IngestWarning]:
    """The warnings of a successful response. base: index in the call of the batch's first event.

    Raises Broken for a response that does not acknowledge all events, such as the login page of a proxy.
    """
    try:
        if answer.status == 204:
            found = loads(answer.headers.get("tallymark-warnings") or "[]")
        else:
            body = answer.json()
            if body["accepted"] != events:
                raise ValueError(f"{body['accepted']} of {events} events accepted")
            found = body.get("warnings", [])
        return [_warning(one, base) for one in found]
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise Broken(answer.status, f"no acknowledgement ({error!r}): {answer.body[:200]!r}") from error


def parts(batch: Batch, error: Refused) -> tuple[Batch, ...]:
    """A refused batch in smaller ones, in order: around the event that the server names, else in halves."""
    extensions = error.problem.get("extensions")
    place = extensions.get("event") if isinstance(extensions, dict) else None
    if error.status == _TOO_LARGE or not isinstance(place, int) or not 0 <= place < len(batch):
        return halves(batch)
    # The rest is halved: if all of it were invalid, one step at a time would send it a thousand times.
    around = (batch[:place], batch[place : place + 1], *halves(batch[place + 1 :]))
    return tuple(part for part in around if part)


def _warning(json: Any, base: int) -> IngestWarning:
    first = json.get("first")
    return IngestWarning(
        code=str(json["code"]),
        detail=str(json["detail"]),
        events=int(json.get("events", 1)),
        first=base + first if isinstance(first, int) else None,
        json=json,
    )
