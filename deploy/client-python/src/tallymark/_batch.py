"""Batches: as many events in one request as the server accepts.

Owns: the limits of a batch and the cut. Does not own: what happens to a batch (_ingest).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tallymark._event import MAX_BYTES, Prepared
from tallymark._request import Request

MAX_EVENTS = 1_000
_PREFER = "return=representation"  # warnings in the body: a header may be too short for them

Batch = tuple[Prepared, ...]


def batches(
    events: Iterable[Prepared], max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES
) -> list[Batch]:
    """All events in order, in batches of at most `max_events` and `max_bytes` of body. A single event always fits."""
    found: list[Batch] = []
    batch: list[Prepared] = []
    size = 2  # the brackets; each event adds its text and a comma or bracket
    for event in events:
        more = len(event.text) + bool(batch)
        if batch and (len(batch) == max_events or size + more > max_bytes):
            found.append(tuple(batch))
            batch, size, more = [], 2, len(event.text)
        batch.append(event)
        size += more
    if batch:
        found.append(tuple(batch))
    return found


def halves(batch: Sequence[Prepared]) -> tuple[Batch, Batch]:
    """Two batches of a batch of at least two, in order."""
    middle = len(batch) // 2
    return tuple(batch[:middle]), tuple(batch[middle:])


def ingest_request(batch: Batch) -> Request:
    """The request that ingests a batch, all or nothing. The same bytes each time, so a repeat is a duplicate."""
    content = b"[" + b",".join(event.text for event in batch) + b"]"
    headers = {"content-type": "application/cloudevents-batch+json", "prefer": _PREFER}
    return Request("POST", "/events", content=content, headers=headers, repeatable=True)
