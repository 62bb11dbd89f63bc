"""Stored events of an OpenMeter as events to send, in the order of their time.

Owns: which listed events are sent, how a range is cut, how events are packed into requests. Does not own: reading and
sending (cli.migrate_events).

OpenMeter lists events newest first, so a range is read slice by slice, oldest slice first, and each slice is reversed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline.core.migration.translation import JsonObject
from pipeline.core.values import zone as zones

MOST_EVENTS = 1000  # of a request
MOST_BYTES = 1_000_000  # of a request, below the API's limit
SLICE_S = 86_400
FULL = 20_000  # events of a slice that is cut in two
# Events that another Tallymark lists and did not count: repeats, and what it could not read.
_NOT_SENT = frozenset({"duplicate", "conflict", "rejected"})

_encode = msgspec.json.Encoder(decimal_format="number").encode


class TimeSlice(NamedTuple):
    """[from_s, to_s), in seconds since 1970."""

    from_s: int
    to_s: int

    @property
    def filter(self) -> str:
        """The `filter` of `/api/v2/events`."""
        bounds = [{"$gte": zones.text_of(self.from_s)}, {"$lt": zones.text_of(self.to_s)}]
        return _encode({"time": {"$and": bounds}}).decode()

    def halves(self) -> list[TimeSlice]:
        """Itself if it cannot be cut: OpenMeter keeps whole seconds."""
        middle_s = (self.from_s + self.to_s) // 2
        return (
            [self]
            if middle_s == self.from_s
            else [TimeSlice(self.from_s, middle_s), TimeSlice(middle_s, self.to_s)]
        )


def slices(from_s: int, to_s: int, length_s: int = SLICE_S) -> Iterator[TimeSlice]:
    """A range in slices that begin at whole multiples of their length, oldest first."""
    while from_s < to_s:
        end_s = min(to_s, (from_s // length_s + 1) * length_s)
        yield TimeSlice(from_s, end_s)
        from_s = end_s


def events_of(items: Iterable[Mapping[str, Any]]) -> list[JsonObject]:
    """The events of a listed slice, oldest first, without the repeats that another Tallymark lists.

    id, source, type, subject, time and data stay as they are, so that a repeat counts nothing twice.
    """
    sent = [item["event"] for item in items if item.get("fate") not in _NOT_SENT]
    return [{name: value for name, value in event.items() if value is not None} for event in reversed(sent)]


def requests(events: Iterable[JsonObject]) -> Iterator[list[JsonObject]]:
    """Events packed into requests that are within the API's limits."""
    batch: list[JsonObject] = []
    size = 0
    for event in events:
        length = len(_encode(event)) + 1
        if batch and (len(batch) == MOST_EVENTS or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += length
    if batch:
        yield batch
