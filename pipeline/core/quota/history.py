"""The history of a metered entitlement: by windows, and by segments of the burn-down.

Owns: the two lists, and what in them arrived late. Does not own: the burn-down (burndown), where minutes of usage are
read from, JSON. Source: OpenMeter, openmeter/credit/engine/history.go at commit 7e57a394. Amounts are atto.

Both are computed from the beginning of measuring, so that they agree with the live balance, which is a recount too.
OpenMeter leaves late usage of earlier periods out; here it is in, and marked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from pipeline.core.quota import burndown
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
    """A window [from_s, to_s). late: the part of its usage that arrived late."""

    from_s: int
    to_s: int
    usage: int
    balance_at_start: int
    late: int


class HistorySegment(NamedTuple):
    """A segment of the burn-down, cut where the history begins and ends.

    Args:
        balances_at_start, balances_at_end: of the active grants by id.
        burnt: what each of them paid for.
        late: the part of the usage that arrived late.
    """

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
    """Usage by minute, summed over any span."""

    def __init__(self, values: Iterable[tuple[int, int, str]], latest: bool) -> None:
        """Sort usage by minute.

        Args:
            values: (minute in seconds since 1970, atto, order) in any order; `order` only for LATEST.
            latest: whether the newest value of a span counts, instead of their sum.
        """
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
        """Usage of [from_s, to_s), in atto."""
        first, last = bisect_left(self._at, from_s), bisect_left(self._at, to_s)
        if first >= last:
            return 0
        if self._latest:
            return max(self._rows[first:last], key=lambda row: (row[2], row[0]))[1]
        return self._sums[last] - self._sums[first]

    def crossing(self, from_s: int, to_s: int, available: int) -> int:
        """The minute since which usage has been at or above an amount.

        Args:
            from_s, to_s: the span, [start, end) in seconds since 1970.
            available: the amount, in atto.

        Returns:
            Seconds since 1970; `from_s` if the amount is not reached at the end of the span.

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

    Args:
        seen: (minute in seconds since 1970, member) in any order, repeats allowed.
        terms: whose usage periods count.

    Returns:
        Values for `MinuteUsage`.
    """
    counted: set[tuple[int, str]] = set()
    counts: dict[int, int] = {}
    for minute_s, member in sorted(seen):
        first = (calendar.usage_period(terms.schedule, minute_s)[0], member)
        if first not in counted:
            counted.add(first)
            counts[minute_s] = counts.get(minute_s, 0) + number.SCALE
    return [(minute_s, count, "") for minute_s, count in counts.items()]


def recount(terms: Terms, usage: MinuteUsage, until_s: int, inclusive: bool = True) -> Run:
    """The whole burn-down.

    Args:
        terms: of the entitlement.
        usage: all of it by minute.
        until_s: a whole minute, in seconds since 1970.
        inclusive: as for burndown.run.
    """
    start_s = terms.schedule.start_s
    return burndown.run(
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
    """The value of an entitlement at an instant.

    Args:
        terms: of the entitlement.
        usage: all of it by minute.
        at_s: the instant, in seconds since 1970; the state is that of the next whole minute, as OpenMeter answers.

    Returns:
        The state, and whether the customer has access at the instant.
    """
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
    """Both lists for a span of whole minutes.

    The first and the last window are cut where the span begins and ends inside them, so that both lists cover the
    same span.

    Args:
        terms: of the entitlement.
        usage: all of it by minute.
        from_s: in seconds since 1970; counts from the start of its minute.
        to_s: likewise; counts to the end of its minute.
        size: of the windows.
        zone: in which hours, days and months begin.
        late: the corrections that arrived late.

    Raises:
        Rejected: `bad-query` for a span that begins before measuring or is empty, and for too many windows.
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
    counted = [correction for correction in late if correction.counted]
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
    cut = [
        _cut(segment, usage, terms.latest, max(from_s, segment.from_s), min(to_s, segment.to_s), counted)
        for segment in segments
        if segment.from_s < segment.to_s and segment.from_s < to_s and from_s < segment.to_s
    ]
    return History(rows, cut)


def _burnt_until(segment: Segment, usage: MinuteUsage, at_s: int) -> Burnt:
    """The burn of a segment up to an instant inside it."""
    return burndown.burn(
        segment.balances_at_start, segment.overage_at_start + usage.between(segment.from_s, at_s)
    )


def _cut(
    segment: Segment, usage: MinuteUsage, latest: bool, from_s: int, to_s: int, late: Sequence[Correction]
) -> HistorySegment:
    used = usage.between(from_s, to_s)
    start = Burnt(dict(segment.balances_at_start), {}, segment.overage_at_start)
    if from_s > segment.from_s and not latest:
        start = _burnt_until(segment, usage, from_s)
    end = burndown.burn(start.balances, start.overage + used)
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
    return sum(correction.change for correction in late if from_s <= correction.minute_s < to_s)
