"""Which usage a line counts, so that anyone can count it again from the stored events.

Owns: what a line keeps of its usage, by which number the positions of a subject's events are compared. Does not own:
usage (bills.usage), the count of events (core.explain).

A window has a revision, the position of the last record that it counts. Windows of a partition arrive in the order of
their revisions, so the highest one that was seen covers all events of the partition up to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.core.metering.meter import Aggregation
from pipeline.core.metering.partition_splits import EventPartitions
from pipeline.core.values.calendar import floor_minute
from pipeline.records import Window

SeenPositions = tuple[
    tuple[int, int], ...
]  # sorted: partition of `events-unique` or BACKFILLED, and a revision
BACKFILLED = -1  # what a backfill counted; its revisions are positions in `backfill-work`


class LineUsage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The usage of a line, or of a correction, at the moment when it was rated.

    Attributes:
        meter_id, aggregation: of its meter.
        start_s: start of what is billed together: of the line, or of the first of its parts, in seconds since 1970.
        part_s, end_s: the part of it that the line bills, [part_s, end_s).
        before: the quantity of [start_s, part_s) as decimal text.
        quantity: that of [start_s, end_s).
        seen: the positions up to which events are counted.
        filters: of the feature: the FilterString of each dimension.
        later: the quantities from start_s up to the end of each later part that was rated then. The price of a unit may
            depend on them.
        is_last: the last of these parts ends the period, so that the minimum belongs to it.
    """

    meter_id: int
    aggregation: Aggregation
    start_s: int
    part_s: int
    end_s: int
    before: str
    quantity: str
    seen: SeenPositions = ()
    filters: dict[str, object] = {}
    later: tuple[str, ...] = ()
    is_last: bool = True

    def counts(self, minute_s: int, source: int, position: int) -> bool:
        """Whether an event is counted.

        Args:
            minute_s: the minute of its time, in seconds since 1970.
            source: its partition of `events-unique`, or BACKFILLED.
            position: as `Settled.position`; an event of a version before positions was counted before them.
        """
        if not floor_minute(self.start_s) <= minute_s < floor_minute(self.end_s):
            return False
        return position == 0 or any(key == source and position - 1 <= seen for key, seen in self.seen)


def seen_key(namespace: str, subject: str, part: int, revision: int, partitions: EventPartitions) -> int:
    """Under which key of SeenPositions a revision of a subject's windows is.

    Args:
        part: of the window: 0 for events that were counted on arrival.
        partitions: of `events-unique`.
    """
    return BACKFILLED if part else partitions.of(namespace, subject, revision)


def note_seen(seen: dict[int, int], window: Window, partitions: EventPartitions) -> None:
    """Note the revision of a window that was taken. What a partition continues was taken before it."""
    source = seen_key(window.namespace, window.subject, window.part, window.revision, partitions)
    for place, revision in ((source, window.revision), *partitions.before(source)):
        seen[place] = max(revision, seen.get(place, -1))


def highest_seen(seen: Iterable[Mapping[int, int]]) -> SeenPositions:
    """The highest revision under each key."""
    found: dict[int, int] = {}
    for one in seen:
        for source, revision in one.items():
            found[source] = max(revision, found.get(source, -1))
    return tuple(sorted(found.items()))
