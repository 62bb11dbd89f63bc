"""The events under a line: which of them it counts, and whether they are what it bills.

Owns: the choice of events by time, holder, filters and position, three counts, the comparison with the line. Does not
own: finding the line (line_basis), values (recount), reading events.

A line bills R(usage up to its end) - R(usage up to its start), so both quantities are counted. A correction lists the
events that came to the part, or left it, since the line before it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pipeline.core.customers.attribution import Holders
from pipeline.core.explain.line_basis import LineBasis
from pipeline.core.explain.line_tally import LineQuantities, LineTally
from pipeline.core.explain.recount import MeasuredEvent
from pipeline.core.invoices.line_usage import LineUsage, seen_key
from pipeline.core.metering.partition_splits import EventPartitions
from pipeline.core.values import number
from pipeline.core.values.calendar import MINUTE_S, floor_minute
from pipeline.core.values.filters import filter_string, matches
from pipeline.errors import Broken

EventChange = Literal["counted", "added", "removed"]
NS_PER_S = 1_000_000_000


class UsageOwner(NamedTuple):
    """Whose usage is counted. customer: id. partitions: of `events-unique`."""

    namespace: str
    customer: str
    holders: Holders
    partitions: EventPartitions


class LineInclusion(NamedTuple):
    """Whether an event is counted.

    Attributes:
        source: its key in SeenPositions.
        now: the line counts it. before: the line before a correction counted it.
    """

    source: int
    now: bool
    before: bool


class LineRecount:
    """Counts the events of a line. Call `take` for every event that its meter counted in `span`, then `check`."""

    def __init__(self, basis: LineBasis, owner: UsageOwner) -> None:
        self._basis, self._owner = basis, owner
        self._counted, self._before = basis.counted, basis.before
        self._filters = [(name, filter_string(name, body)) for name, body in basis.counted.filters.items()]
        self.tally = LineTally(basis.counted)
        self.events = 0  # under the line

    @property
    def span(self) -> tuple[int, int]:
        """[from, to) in seconds since 1970, whole minutes: the time of all events that have to be taken."""
        usages = [self._counted, *([] if self._before is None else [self._before])]
        starts = [floor_minute(one.start_s) for one in usages if one.start_s < one.end_s]
        return min(starts, default=0), max((floor_minute(one.end_s) for one in usages), default=0)

    def take(self, measured: MeasuredEvent) -> EventChange | None:
        """Count an event.

        Returns:
            What it is under the line; None: it is not under it.
        """
        inclusion = self.include(measured)
        if inclusion is None:
            return None
        minute_s = measured.event.time_ns // NS_PER_S // MINUTE_S * MINUTE_S
        now = inclusion.now and _is_in_part(self._counted, minute_s)
        was = self._before is not None and inclusion.before and _is_in_part(self._before, minute_s)
        if now == was:
            return None
        self.events += 1
        return "removed" if was else "counted" if self._before is None else "added"

    def include(self, measured: MeasuredEvent) -> LineInclusion | None:
        """Count an event.

        Returns:
            Whether the line counts it, and the line before a correction; None: neither does.
        """
        event = measured.event
        owner, minute_s = self._owner, event.time_ns // NS_PER_S // MINUTE_S * MINUTE_S
        if owner.holders.of(owner.namespace, event.subject, minute_s) != owner.customer:
            return None
        if not all(matches(wanted, measured.dimensions.get(name, "")) for name, wanted in self._filters):
            return None
        part = int(event.is_backfilled)
        source = seen_key(owner.namespace, event.subject, part, event.position - 1, owner.partitions)
        found = LineInclusion(
            source,
            self._counted.counts(minute_s, source, event.position),
            self._before is not None and self._before.counts(minute_s, source, event.position),
        )
        self.tally.add(measured.value, measured.order, minute_s, found)
        return found if found.now or found.before else None

    def check(self) -> LineQuantities:
        """Compare the counts with the line.

        Raises:
            Broken: the events are not what the line counted.
        """
        counted, line = self._counted, self._basis.line
        self.tally.check(f"The line {line.id}", counted, self._before)
        found = self.tally.quantities
        if line.metered_quantity is not None:
            part = number.parse(line.metered_quantity)
            if part != found.quantity - found.before:
                raise Broken(
                    f"The line {line.id} shows {line.metered_quantity}, but its events are "
                    f"{number.text(found.quantity - found.before)}."
                )
        return found


def _is_in_part(usage: LineUsage, minute_s: int) -> bool:
    return floor_minute(usage.part_s) <= minute_s < floor_minute(usage.end_s)
