"""The history of a metered entitlement: by windows, and by segments of the burn-down.

Owns: the two lists, and what in them came late. Does not own: the burn-down (burndown), where minutes of usage are read
from, JSON. Source: OpenMeter's entitlement history. Amounts are atto.

Both are counted anew from the beginning of measuring, so that they agree with the live balance, which is a recount
too. OpenMeter leaves late usage of earlier periods out; here it is in, and marked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from pipeline.core.quota import burndown as credit
from pipeline.core.quota import terms as terms_
from pipeline.core.quota.balance_result import Correction
from pipeline.core.quota.burndown import Burnt, Run, Segment, Snapshot
from pipeline.core.quota.last_crossing import LastCrossing
from pipeline.core.quota.terms import Terms
from pipeline.core.values import calendar, number, time_window
from pipeline.errors import Rejected

HistorySize = Literal["MINUTE", "HOUR", "DAY", "MONTH"]
MAX_WINDOWS = 10_000


class HistoryRow(NamedTuple):
    """A window. late: the part of its usage that arrived late."""

    from_s: int
    to_s: int
    usage: int
    balance_at_start: int
    late: int


class HistorySegment(NamedTuple):
    """A segment inside the asked span, cut at its ends. late: the part of its usage that arrived late."""

    from_s: int
    to_s: int
    usage: int
    overage: int
    balance_at_start: int
    balance_at_end: int
    balances_at_start: Mapping[str, int]
    balances_at_end: Mapping[str, int]
    burnt: Mapping[str, int]
    late: int


class History(NamedTuple):
    windowed: list[HistoryRow]
    burndown: list[HistorySegment]


class MinuteUsage:
    """Usage by minute, summed over any span. values: (minute, atto, order); order only for LATEST."""

    def __init__(self, values: Iterable[tuple[int, int, str]], latest: bool) -> None:
        minutes: dict[int, tuple[int, str]] = {}
        for minute_s, value, order in values:
            before = minutes.get(minute_s)
            if before is None or (latest and order > before[1]):
                minutes[minute_s] = (value, order)
            elif not latest:
                minutes[minute_s] = (before[0] + value, "")
        self._rows = [(minute_s, *minutes[minute_s]) for minute_s in sorted(minutes)]
        self._at = [minute_s for minute_s, _, _ in self._rows]
        self._latest = latest
        self._sums = [0, *accumulate(value for _, value, _ in self._rows)]

    def between(self, from_s: int, to_s: int) -> int:
        """Usage of [from_s, to_s)."""
        first, last = bisect_left(self._at, from_s), bisect_left(self._at, to_s)
        if first >= last:
            return 0
        if self._latest:
            return max(self._rows[first:last], key=lambda row: (row[2], row[0]))[1]
        return self._sums[last] - self._sums[first]

    def crossing(self, from_s: int, to_s: int, available: int) -> int:
        """The minute since which usage has been at or above `available`; from_s if it never was.

        Usage may be taken back, so it is the last time that counts, not the first.

        >>> minutes = MinuteUsage([(0, 7, ""), (60, 4, ""), (120, -2, ""), (180, 3, "")], latest=False)
        >>> minutes.crossing(0, 120, 10), minutes.crossing(0, 240, 10), minutes.crossing(0, 240, 99)
        (60, 180, 0)
        """
        search = LastCrossing(available, self._latest)
        for minute_s, value, _ in self._rows[bisect_left(self._at, from_s) : bisect_left(self._at, to_s)]:
            search.step(minute_s, value)
        return from_s if search.since_s is None else search.since_s


def new_members(seen: Iterable[tuple[int, str]], terms: Terms) -> list[tuple[int, int, str]]:
    """Usage of UNIQUE_COUNT by minute: a member counts in the first minute of each usage period it was seen in.

    seen: minute and member, in any order, repeats allowed.
    """
    known: set[tuple[int, str]] = set()
    counts: dict[int, int] = {}
    for minute_s, member in sorted(seen):
        first = (calendar.usage_period(terms.schedule, minute_s)[0], member)
        if first not in known:
            known.add(first)
            counts[minute_s] = counts.get(minute_s, 0) + number.SCALE
    return [(minute_s, count, "") for minute_s, count in counts.items()]


def recount(terms: Terms, usage: MinuteUsage, until_s: int, inclusive: bool = True) -> Run:
    """The whole burn-down up to `until_s`, a whole minute. inclusive: see credit.run."""
    start_s = terms.schedule.start_s
    return credit.run(
        terms.order,
        terms_.begin(terms),
        max(until_s, start_s),
        usage.between,
        terms_.resets(terms, start_s, until_s),
        terms.latest,
        usage.crossing,
        inclusive,
    )


def value_at(terms: Terms, usage: MinuteUsage, at_s: int) -> tuple[Snapshot, bool]:
    """The state at an instant as OpenMeter answers it, rounded up to the next minute; and whether there is access."""
    last = recount(terms, usage, calendar.ceil_minute(at_s)).last
    return last, terms_.has_access(terms, last.balance, last.exhausted_at_s, at_s)


def history(
    terms: Terms,
    usage: MinuteUsage,
    from_s: int,
    to_s: int,
    size: HistorySize,
    zone: ZoneInfo,
    late: Sequence[Correction] = (),
) -> History:
    """Both lists for [from_s, to_s), in whole minutes: from_s counts from its minute on, to_s to the end of its own.

    The first and the last window are cut where the span begins and ends inside them, so that both lists cover the
    same span.

    Raises Rejected `bad-query` before measuring began, for an empty span, and for too many windows.
    """
    start_s, to_s = terms.schedule.start_s, calendar.ceil_minute(to_s)
    if from_s < start_s:
        raise Rejected("bad-query", "from must not be before measureUsageFrom")
    if to_s <= from_s:
        raise Rejected("bad-query", "from must be before to")
    from_s = calendar.floor_minute(from_s)
    edges = time_window.boundaries(size, zone, from_s, to_s)
    if len(edges) > MAX_WINDOWS:
        raise Rejected("bad-query", f"the history would have more than {MAX_WINDOWS} windows")
    edges[0], edges[-1] = from_s, to_s
    segments = recount(terms, usage, to_s, inclusive=False).segments
    starts = [segment.from_s for segment in segments]
    counted = [one for one in late if one.counted]
    rows = [
        HistoryRow(
            at_s,
            end_s,
            usage.between(at_s, end_s),
            sum(_burnt_until(segments[bisect_right(starts, at_s) - 1], usage, at_s).balances.values()),
            _late(counted, at_s, end_s),
        )
        for at_s, end_s in pairwise(edges)
    ]
    burndown = [
        _cut(segment, usage, terms.latest, max(from_s, segment.from_s), min(to_s, segment.to_s), counted)
        for segment in segments
        if segment.from_s < segment.to_s and segment.from_s < to_s and from_s < segment.to_s
    ]
    return History(rows, burndown)


def _burnt_until(segment: Segment, usage: MinuteUsage, at_s: int) -> Burnt:
    """What the segment has come to at an instant inside it."""
    return credit.burn(
        segment.balances_at_start, segment.overage_at_start + usage.between(segment.from_s, at_s)
    )


def _cut(
    segment: Segment, usage: MinuteUsage, latest: bool, from_s: int, to_s: int, late: Sequence[Correction]
) -> HistorySegment:
    used = usage.between(from_s, to_s)
    start = Burnt(dict(segment.balances_at_start), {}, segment.overage_at_start)
    if from_s > segment.from_s and not latest:
        start = _burnt_until(segment, usage, from_s)
    end = credit.burn(start.balances, start.overage + used)
    return HistorySegment(
        from_s,
        to_s,
        used,
        max(0, end.overage),
        sum(start.balances.values()),
        sum(end.balances.values()),
        start.balances,
        end.balances,
        end.burnt,
        _late(late, from_s, to_s),
    )


def _late(late: Iterable[Correction], from_s: int, to_s: int) -> int:
    return sum(one.change for one in late if from_s <= one.minute_s < to_s)
