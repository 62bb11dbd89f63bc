"""The burn-down of grants: which grant pays for which usage, phase by phase and reset by reset.

Owns: the algorithm. Does not own: calendars (values.calendar), where usage comes from, state in a stream (balance).
Source: OpenMeter, openmeter/credit/engine/run.go, burnphase.go and reset.go at commit 7e57a394.
Amounts are atto, instants whole minutes in seconds since 1970.

A phase is a span in which no grant begins, ends or is filled. What a phase leaves depends only on the snapshot at its
start and on its usage as a whole; so a late event needs that one phase and those after it, never the events.
A snapshot holds the state before anything that begins at its instant, and after a reset at its instant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pipeline.core.quota.grant import Grant, burn_order
from pipeline.core.values.calendar import NEVER_S
from pipeline.errors import Broken

# Usage of [from_s, to_s) in atto; of UNIQUE_COUNT the members that are new in the usage period.
UsageBetween = Callable[[int, int], int]
# The minute in [from_s, to_s) since which usage has been at or above an amount.
Crossing = Callable[[int, int, int], int]
Reason = Literal["", "usageReset", "rollover"]


class Snapshot(NamedTuple):
    """The state at an instant.

    Args:
        at_s: the instant.
        balances: of grants by id; absent is 0.
        overage: usage that no grant has paid for; below zero where more was taken back than used.
        since_s: start of the usage period.
        usage: of the period so far.
        burnt: the part of it that grants paid for.
        exhausted_at_s: since when the balance is zero without a pause; NEVER_S while it is not, or never was above.
    """

    at_s: int
    balances: Mapping[str, int]
    overage: int
    since_s: int
    usage: int = 0
    burnt: int = 0
    exhausted_at_s: int = NEVER_S

    @property
    def balance(self) -> int:
        return sum(self.balances.values())

    @property
    def total_available(self) -> int:
        """What grants gave in the period: what they paid for and what is left."""
        return self.burnt + self.balance


class Segment(NamedTuple):
    """A phase, or a rollover, which has no length.

    Args:
        from_s, to_s: [start, end).
        usage: of the phase.
        overage_at_start, overage: before and after it.
        balances_at_start: of the active grants by id, once what begins at the start has begun.
        balances_at_end: of the same grants.
        burnt: what each of them paid for.
        reason: why the phase ends; empty at a change of grants and at the end of the run.
    """

    from_s: int
    to_s: int
    usage: int
    overage_at_start: int
    overage: int
    balances_at_start: Mapping[str, int]
    balances_at_end: Mapping[str, int]
    burnt: Mapping[str, int]
    reason: Reason = ""


class Run(NamedTuple):
    """A whole burn-down.

    Args:
        segments: in order of time.
        last: the state at the end, with a balance of every grant that was given.
    """

    segments: list[Segment]
    last: Snapshot


class Burnt(NamedTuple):
    """What `burn` leaves.

    Args:
        balances: afterwards, of the active grants by id.
        burnt: what each grant paid for.
        overage: the need that no grant met.
    """

    balances: dict[str, int]
    burnt: dict[str, int]
    overage: int


def begin(grants: Iterable[Grant], at_s: int) -> Snapshot:
    """The state at which measuring begins: every active grant is full."""
    return Snapshot(at_s, {grant.id: grant.amount for grant in grants if grant.active(at_s)}, 0, at_s)


def opening(
    order: Sequence[Grant], balances: Mapping[str, int], at_s: int, latest: bool = False
) -> dict[str, int]:
    """The balances with which a phase begins.

    Args:
        order: all grants, in burning order.
        balances: before the instant, by id.
        at_s: start of the phase.
        latest: whether the meter is a LATEST one: then every phase starts with full grants.

    Returns:
        Of the grants that are active at `at_s`, in burning order.
    """
    return {
        grant.id: grant.amount if latest or grant.filled(at_s) else balances.get(grant.id, 0)
        for grant in order
        if grant.active(at_s)
    }


def burn(balances: Mapping[str, int], need: int) -> Burnt:
    """Meet `need` from `balances`, in their order.

    A need below zero (usage was taken back) goes to the first grant that has something left, else to the first; without
    a grant it stays a negative overage, which later usage takes up. So no amount is lost or made: the need is the sum
    of what was burnt and of the overage, and balances fall by what was burnt.

    Args:
        balances: of the active grants by id, in burning order; in atto, as all amounts.
        need: usage of a phase and the overage that it began with.

    Returns:
        The balances afterwards, what each grant paid, and the overage that is left.

    >>> burn({"monthly": 5, "bonus": 10}, 8)
    Burnt(balances={'monthly': 0, 'bonus': 7}, burnt={'monthly': 5, 'bonus': 3}, overage=0)
    >>> burn({"monthly": 0, "bonus": 7}, 9)
    Burnt(balances={'monthly': 0, 'bonus': 0}, burnt={'bonus': 7}, overage=2)
    >>> burn({"monthly": 0, "bonus": 7}, -4)
    Burnt(balances={'monthly': 0, 'bonus': 11}, burnt={'bonus': -4}, overage=0)
    """
    left, burnt = dict(balances), {}
    if need < 0:
        back = next((name for name, balance in left.items() if balance), next(iter(left), None))
        if back is not None:
            left[back] -= need
            burnt[back] = need
            need = 0
        return Burnt(left, burnt, need)
    for name, balance in balances.items():
        if not need:
            break
        taken = min(balance, need)
        if taken:
            left[name] = balance - taken
            burnt[name] = taken
            need -= taken
    return Burnt(left, burnt, need)


def next_cut(order: Iterable[Grant], after_s: int) -> int:
    """The end of the phase in which `after_s` lies: when a grant begins, ends or is filled next; NEVER_S if never."""
    return min((grant.next_change(after_s) for grant in order), default=NEVER_S)


def step(
    order: Sequence[Grant],
    before: Snapshot,
    to_s: int,
    usage: int,
    latest: bool = False,
    crossing: Crossing | None = None,
) -> tuple[Segment, Snapshot]:
    """Burn the usage of one phase.

    Args:
        order: all grants, in burning order.
        before: the state at the start of the phase.
        to_s: end of the phase, at most the next change of a grant.
        usage: of the phase.
        latest: whether the meter is a LATEST one.
        crossing: finds where in the phase the balance reached zero; without it, at the start.

    Returns:
        The segment, and the state at its end.

    One of the two grants ends after an hour; the other one begins then and pays for what is left of the usage.

    >>> grants = burn_order([Grant("a", 5, 0, expires_at_s=3600), Grant("b", 10, 3600)])
    >>> first, after = step(grants, begin(grants, 0), next_cut(grants, 0), usage=8)
    >>> first.burnt, after.overage, after.at_s
    ({'a': 5}, 3, 3600)
    >>> second, after = step(grants, after, to_s=7200, usage=1)
    >>> second.burnt, after.balances, (after.usage, after.burnt)
    ({'b': 4}, {'b': 6}, (9, 9))
    """
    opened = opening(order, before.balances, before.at_s, latest)
    return spend(opened, before, to_s, usage, latest, crossing)


def spend(
    opened: Mapping[str, int],
    before: Snapshot,
    to_s: int,
    usage: int,
    latest: bool = False,
    crossing: Crossing | None = None,
) -> tuple[Segment, Snapshot]:
    """As `step`. opened: the `opening` of the phase, which stays the same while its usage grows."""
    at_s = before.at_s
    owed, counted, paid = (0, 0, 0) if latest else (before.overage, before.usage, before.burnt)
    left, burnt, overage = burn(opened, usage + owed)
    segment = Segment(at_s, to_s, usage, owed, overage, opened, left, burnt)
    after = Snapshot(
        at_s=to_s,
        balances=left,
        overage=overage,
        since_s=before.since_s,
        usage=counted + usage,
        burnt=paid + sum(burnt.values()),
        exhausted_at_s=_exhausted(before, segment, crossing),
    )
    return segment, after


def _exhausted(before: Snapshot, segment: Segment, crossing: Crossing | None) -> int:
    available = sum(segment.balances_at_start.values())
    if available and any(segment.balances_at_end.values()):
        return NEVER_S
    at_s = segment.from_s
    if available and available > segment.overage_at_start:
        return (
            at_s if crossing is None else crossing(at_s, segment.to_s, available - segment.overage_at_start)
        )
    if before.exhausted_at_s == NEVER_S and (available or before.balance):
        return at_s
    return before.exhausted_at_s


def reset(order: Sequence[Grant], before: Snapshot, preserve: bool) -> tuple[Segment, Snapshot]:
    """Begin a new usage period.

    A grant that begins at that very instant is not rolled over: it is filled afterwards, and pays then.

    Args:
        order: all grants, in burning order.
        before: the state at the end of the period before.
        preserve: whether what rolls over pays the overage at once; else the overage is dropped.

    Returns:
        The rollover as a segment, and the state at the start of the new period.

    >>> monthly = Grant("monthly", 10, 0, min_rollover=10, max_rollover=10)
    >>> _, after = reset([monthly], Snapshot(60, {"monthly": 0}, 4, 0, usage=14, burnt=10), preserve=True)
    >>> after.balances, after.overage, (after.since_s, after.usage)
    ({'monthly': 6}, 0, (60, 0))
    """
    at_s = before.at_s
    rolled = {
        grant.id: grant.rolled_over(before.balances.get(grant.id, 0))
        for grant in order
        if grant.effective_at_s < at_s < grant.ends_at_s
    }
    owed = before.overage if preserve else 0
    left, burnt, overage = burn(rolled, owed)
    segment = Segment(at_s, at_s, 0, owed, overage, rolled, left, burnt, "rollover")
    fell = before.balance > 0 and not any(left.values())
    after = Snapshot(
        at_s=at_s,
        balances=left,
        overage=overage,
        since_s=at_s,
        burnt=sum(burnt.values()),
        exhausted_at_s=at_s if fell else before.exhausted_at_s,
    )
    return segment, after


def run(
    grants: Iterable[Grant],
    before: Snapshot,
    until_s: int,
    usage: UsageBetween,
    resets: Iterable[tuple[int, bool]] = (),
    latest: bool = False,
    crossing: Crossing | None = None,
    inclusive: bool = True,
) -> Run:
    """Burn all usage from a state to an instant.

    Args:
        grants: all of them, in any order.
        before: the state to start from.
        until_s: the instant.
        usage: sums usage of a span.
        resets: (instant, whether the overage is preserved) after the start, in order.
        latest: whether the meter is a LATEST one.
        crossing: as for `step`.
        inclusive: whether a reset or a tick of a recurrence at `until_s` itself is done too, as OpenMeter answers for
            an instant; without it the result can be run on from there.

    Raises:
        Broken: a balance belongs to no grant.
    """
    order = burn_order(grants)
    unknown = set(before.balances) - {grant.id for grant in order}
    if unknown:
        raise Broken(f"A snapshot has balances of grants that are not given: {', '.join(sorted(unknown))}.")
    segments: list[Segment] = []
    for at_s, preserve in resets:
        if at_s > until_s or (at_s == until_s and not inclusive):
            break
        before = _phases(order, before, at_s, usage, latest, crossing, segments)
        segments[-1] = segments[-1]._replace(reason="usageReset")
        segment, before = reset(order, before, preserve)
        segments.append(segment)
    before = _phases(order, before, until_s, usage, latest, crossing, segments)
    ticks = any(grant.active(until_s) and grant.filled(until_s) for grant in order if grant.recurrence)
    if inclusive and ticks and segments[-1].from_s < until_s:
        before = _phases(order, before, until_s, usage, latest, crossing, segments)
    balances = {grant.id: before.balances.get(grant.id, 0) for grant in order}
    return Run(segments, before._replace(balances=balances))


def _phases(
    order: Sequence[Grant],
    before: Snapshot,
    end_s: int,
    usage: UsageBetween,
    latest: bool,
    crossing: Crossing | None,
    segments: list[Segment],
) -> Snapshot:
    """Burn all phases up to `end_s`, at least one, and append their segments."""
    while True:
        to_s = min(next_cut(order, before.at_s), end_s)
        segment, before = step(order, before, to_s, usage(before.at_s, to_s), latest, crossing)
        segments.append(segment)
        if to_s == end_s:
            return before
