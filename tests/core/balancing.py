"""What tests of balances share: a world of windows that recounts without state, and any terms.

Owns: these. Does not own: any expectation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from pipeline.core.quota import burndown
from pipeline.core.quota import terms as terms_
from pipeline.core.quota.account_usage import Change
from pipeline.core.quota.balance_result import Standing
from pipeline.core.quota.grant import Grant, burn_order
from pipeline.core.quota.terms import COUNTED, Counted, Terms
from pipeline.core.values import calendar
from pipeline.core.values.calendar import HOUR_S, MINUTE_S, NEVER_S, Interval, Recurrence, Reset, Schedule
from pipeline.core.values.number import SCALE

START_S = 1_704_067_200  # 2024-01-01T00:00:00Z
SPAN = 400  # minutes in which things happen
ACCOUNT = b"a" * 16


@dataclass
class World:
    """Windows as AGGREGATE would send them, and a recount of them that keeps no state."""

    aggregation: Counted
    values: dict[tuple[int, bytes], tuple[int, int, str]] = field(
        default_factory=dict
    )  # revision, value, order
    members: set[tuple[int, bytes]] = field(default_factory=set)
    revision: int = 0

    def event(self, minute: int, part: bytes, value: int) -> Change:
        """One more event, and the window as it is then."""
        self.revision += 1
        at_s = START_S + minute * MINUTE_S
        _, before, order = self.values.get((at_s, part), (0, 0, ""))
        if self.aggregation == "UNIQUE_COUNT":
            member = bytes([abs(value) % 5]) * 16
            self.members.add((at_s, member))
            return Change(part, at_s, 0, self.revision, members=[member])
        if self.aggregation == "LATEST":
            order = max(order, f"{at_s:012d}{self.revision * 7919 % 64:03d}{self.revision:06d}")
            newest = order.endswith(f"{self.revision:06d}")
            self.values[at_s, part] = (self.revision, value * SCALE if newest else before, order)
        else:
            self.values[at_s, part] = (self.revision, before + value * SCALE, "")
        revision, total, order = self.values[at_s, part]
        return Change(part, at_s, total, revision, order, cause=f"event {revision}")

    def minutes(self, terms: Terms, until_s: int) -> dict[int, tuple[int, str]]:
        """Usage by minute: value and order."""
        found: dict[int, tuple[int, str]] = {}
        if self.aggregation == "UNIQUE_COUNT":
            seen: set[tuple[int, bytes]] = set()
            for at_s, member in sorted(self.members):
                key = (calendar.usage_period(terms.schedule, at_s)[0], member)
                if key not in seen and at_s < until_s:
                    seen.add(key)
                    found[at_s] = (found.get(at_s, (0, ""))[0] + SCALE, "")
            return found
        for (at_s, _), (_, value, order) in self.values.items():
            if at_s < until_s:
                before = found.get(at_s, (0, ""))
                found[at_s] = max((value, order), before, key=lambda one: one[1]) if order else (
                    before[0] + value, ""
                )  # fmt: skip
        return found

    def recount(self, terms: Terms, now_s: int) -> Standing:
        now_s = calendar.floor_minute(now_s)
        until_s = min(now_s + MINUTE_S, terms.ends_at_s)
        minutes = self.minutes(terms, until_s)

        def between(from_s: int, to_s: int) -> int:
            inside = [one for at_s, one in minutes.items() if from_s <= at_s < to_s]
            if terms.latest:
                return max(inside, key=lambda one: one[1], default=(0, ""))[0]
            return sum(value for value, _ in inside)

        def crossing(from_s: int, to_s: int, available: int) -> int:
            since, total = None, 0
            for at_s in sorted(minutes):
                if from_s <= at_s < to_s:
                    total = minutes[at_s][0] if terms.latest else total + minutes[at_s][0]
                    since = None if total < available else since or at_s
            return from_s if since is None else since

        start_s = terms.schedule.start_s
        resets = list(terms_.resets(terms, start_s, min(now_s, terms.ends_at_s - MINUTE_S)))
        last = burndown.run(
            terms.order,
            terms_.begin(terms),
            max(until_s, start_s),
            between,
            resets,
            terms.latest,
            crossing,
            False,
        ).last
        return standing_of(terms, last, now_s)


def standing_of(terms: Terms, last: burndown.Snapshot, now_s: int) -> Standing:
    since_s = last.since_s
    return Standing(
        terms.entitlement, terms.revision, 0, now_s, last.balance, last.usage, max(0, last.overage),
        last.total_available, terms_.has_access(terms, last.balance, last.exhausted_at_s, now_s), since_s,
        calendar.usage_period(terms.schedule, since_s)[1], last.exhausted_at_s, 0,
        {name: left for name, left in last.balances.items() if left},
    )  # fmt: skip


def same(found: Standing, wanted: Standing) -> None:
    left = {name: balance for name, balance in found.balances.items() if balance}
    assert found._replace(position=0, next_at_s=0, late=0, late_count=0, balances=left) == wanted


minute_numbers = st.integers(0, SPAN)
minutes = minute_numbers.map(lambda minute: START_S + minute * MINUTE_S)


@st.composite
def any_grant(draw: st.DrawFn, name: str) -> Grant:
    tick = Recurrence(Interval(0, draw(st.sampled_from([HOUR_S, 2 * HOUR_S]))), draw(minutes))
    return Grant(
        id=name,
        amount=draw(st.integers(1, 100)) * SCALE,
        effective_at_s=draw(st.one_of(st.just(START_S), minutes)),
        priority=draw(st.integers(1, 2)),
        expires_at_s=draw(st.one_of(st.just(NEVER_S), minutes)),
        voided_at_s=draw(st.sampled_from([NEVER_S, NEVER_S, START_S + 90 * MINUTE_S])),
        recurrence=draw(st.sampled_from([None, tick])),
        min_rollover=draw(st.integers(0, 50)) * SCALE,
        max_rollover=draw(st.integers(0, 100)) * SCALE,
    )


@st.composite
def any_terms(draw: st.DrawFn, aggregation: Counted | None = None) -> Terms:
    start_s = START_S + draw(st.sampled_from([0, 0, 60, 7260]))
    resets = draw(
        st.lists(st.tuples(minutes, st.booleans(), st.booleans()), max_size=2, unique_by=lambda r: r[0])
    )
    recurrence = Recurrence(
        draw(st.sampled_from([Interval(0, HOUR_S), Interval(0, 3 * HOUR_S), Interval(1, 0)])), START_S
    )
    return Terms(
        entitlement="e",
        revision=1,
        aggregation=aggregation or draw(st.sampled_from(COUNTED)),
        schedule=Schedule(
            start_s,
            recurrence,
            tuple(
                Reset(at_s, recurrence.anchor_s if retain else at_s, preserve)
                for at_s, retain, preserve in sorted(resets)
                if at_s > start_s
            ),
        ),
        order=burn_order(draw(any_grant(f"g{place}")) for place in range(draw(st.integers(0, 3)))),
        preserve=draw(st.booleans()),
        soft=draw(st.sampled_from([False, False, True])),
        grace_s=draw(st.sampled_from([0, 600])),
        ends_at_s=draw(st.one_of(st.just(NEVER_S), minutes.filter(lambda at_s: at_s > start_s + 60))),
    )  # fmt: skip


@dataclass(frozen=True)
class Arrival:
    now: int  # minutes; the newest so far counts
    minute: int
    part: bytes
    value: int


arrivals = st.lists(
    st.builds(Arrival, minute_numbers, minute_numbers, st.sampled_from([b"p", b"q"]), st.integers(-20, 60)),
    max_size=25,
)


def record(arrived: list[Arrival], place: int, size: int) -> list[Arrival]:
    return arrived[place : place + size]
