"""Thresholds: which ones a balance has met, and which of them are news.

Owns: the comparison, the dedupe, the resolved state, and our two other kinds of rule: the volume of a meter in a
window, and a grant that ends soon. Does not own: balances (quota.balance), the definition of a rule (rule), payloads
and delivery. Amounts are atto.

A threshold is met at its value: a customer that uses exactly 100 % has crossed 100 %. Everything else of the
comparison is as in OpenMeter's balance threshold rule (openmeter/notification/consumer), which asks for more than the
value.

A threshold of a rule fires once a usage period of an entitlement, whatever crashes and however records are cut:
  * of several that are crossed at once the one that OpenMeter names fires; the others are `passed` with it;
  * a threshold that has fired or was passed resolves when it is no longer met, or when its period has ended; of several
    of one firing that resolve at once the highest names it, the others are `passed` with it;
  * a new period arms all thresholds again, and with `rearm="resolved"` a threshold that has resolved is armed again.
OpenMeter also fires a lower threshold again when usage falls back to it; here it has fired already.
A firing keeps the position of the record that made it, so a record that is read again makes the same firing again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Literal, NamedTuple

import msgspec

from pipeline.core.quota.grant import Grant
from pipeline.core.values import calendar, number
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import NEVER_S, Interval

ThresholdType = Literal["balance_value", "usage_percentage", "usage_value"]
AlertState = Literal["fired", "resolved"]
Rearm = Literal["period", "resolved"]
ALIASES: dict[str, ThresholdType] = {"PERCENT": "usage_percentage", "NUMBER": "usage_value"}
TYPES: tuple[ThresholdType, ...] = ("balance_value", "usage_percentage", "usage_value")
_KINDS: dict[str, ThresholdType] = {**{kind: kind for kind in TYPES}, **ALIASES}
_HUNDRED = 100 * number.SCALE


@dataclass(frozen=True)
class Threshold:
    """type: as it was given, deprecated names too. value: atto; of percentages 100 is all."""

    type: str
    value: int

    @cached_property
    def kind(self) -> ThresholdType:
        return _KINDS[self.type]

    @cached_property
    def id(self) -> str:
        """Identifies it among the thresholds of its rule."""
        return f"{self.kind}:{number.text(self.value)}"


class Level(NamedTuple):
    """What a threshold is compared with."""

    balance: int
    usage: int
    total_available: int


class Met(NamedTuple):
    """What is met of each kind, lowest first: the last one is the one that OpenMeter names."""

    usage: list[Threshold]
    balance: list[Threshold]


def met(thresholds: Iterable[Threshold], level: Level) -> Met:
    """Compare thresholds with a level.

    Args:
        thresholds: of one rule.
        level: usage, balance and what grants gave in the period, in atto.

    Returns:
        usage: those at or below the usage; at the same height a percentage is above a value.
        balance: those at or above the balance, the lowest of them last.
        Without any grant neither percentages nor balances mean anything, and none of them is met.

    >>> ten, half = Threshold("usage_value", 10 * number.SCALE), Threshold("usage_percentage", 50 * number.SCALE)
    >>> level = Level(balance=10 * number.SCALE, usage=10 * number.SCALE, total_available=20 * number.SCALE)
    >>> [one.id for one in met([half, ten], level).usage]
    ['usage_value:10', 'usage_percentage:50']
    """
    usage: list[tuple[int, bool, Threshold]] = []
    balance: list[Threshold] = []
    for threshold in thresholds:
        if threshold.kind == "balance_value":
            if level.total_available > 0 and level.balance <= threshold.value:
                balance.append(threshold)
            continue
        percentage = threshold.kind == "usage_percentage"
        if percentage and level.total_available <= 0:
            continue
        limit = threshold.value * (
            level.total_available if percentage else _HUNDRED
        )  # in atto times 100 atto
        if limit <= level.usage * _HUNDRED:
            usage.append((limit, percentage, threshold))
    return Met(
        [one for _, _, one in sorted(usage, key=itemgetter(0, 1))],
        sorted(balance, key=lambda one: -one.value),
    )


class Firing(msgspec.Struct, array_like=True, frozen=True):
    """A threshold that fired or resolved. key: with the ids of rule and entitlement it names the alert for ever.

    passed: ids of lower thresholds that were crossed, or resolved, at once with it. position: of the record that made
    it. times: counts the firings of one threshold and period.
    """

    position: int
    since_s: int
    state: AlertState
    threshold: str  # id
    passed: list[str] = []
    times: int = 0

    @property
    def key(self) -> str:
        return f"{self.since_s}/{self.threshold}/{self.times}/{self.state}"


class FiredThresholds(msgspec.Struct, array_like=True, frozen=True):
    """What one rule has fired for one entitlement, in the usage period that began at `since_s` and the one before."""

    since_s: int
    firings: list[Firing] = []


def judge(
    fired: FiredThresholds | None,
    thresholds: Sequence[Threshold],
    levels: Sequence[tuple[int, Level]],
    position: int,
    rearm: Rearm = "period",
    first: int | None = None,
) -> tuple[FiredThresholds | None, list[Firing]]:
    """Decide what the record at `position` makes fire or resolve.

    A record that was judged before changes nothing and gives the same firings.

    Args:
        fired: of the rule and entitlement before the record; None at first.
        thresholds: of the rule.
        levels: start of the usage period (seconds) and the level, oldest first: one for each period that the record
            ended (balance.ResetDone), and the present one.
        position: offset of the record.
        rearm: whether a threshold that is no longer met may fire again in the same period.
        first: records from here on may be read again (None: this one alone), so what they fired stays in the state
            however old its period is.

    Returns:
        What has fired, to be written, and what fires or resolves with the record, in order.

    Ten of twenty crosses both thresholds at once, and the higher one names the alert; falling below both resolves it.

    >>> ten, half = Threshold("usage_value", 10 * number.SCALE), Threshold("usage_percentage", 50 * number.SCALE)
    >>> def used(units):
    ...     return [(0, Level((20 - units) * number.SCALE, units * number.SCALE, 20 * number.SCALE))]
    >>> fired, new = judge(None, [ten, half], used(10), position=1)
    >>> [(one.state, one.threshold, one.passed) for one in new]
    [('fired', 'usage_percentage:50', ['usage_value:10'])]
    >>> fired, new = judge(fired, [ten, half], used(11), position=2)
    >>> new
    []
    >>> fired, new = judge(fired, [ten, half], used(9), position=3)
    >>> [(one.state, one.threshold) for one in new]
    [('resolved', 'usage_percentage:50')]
    >>> judge(fired, [ten, half], used(10), position=4)[1]  # with rearm="resolved" it would fire again
    []
    """
    first = position if first is None else first
    earlier = [] if fired is None else fired.firings
    if any(firings.position >= position for firings in earlier):
        return fired, [firings for firings in earlier if firings.position == position]
    new: list[Firing] = []
    for since_s, level in levels:
        if fired is not None and since_s < fired.since_s:
            continue  # a period that ended long ago
        if fired is not None and since_s > fired.since_s:
            ended = _resolve(fired, set(), position)
            new += ended
            kept = [one for one in fired.firings if one.since_s == fired.since_s or one.position >= first]
            fired = FiredThresholds(since_s, [*kept, *ended])
        found = _news(fired or FiredThresholds(since_s), thresholds, level, since_s, position, rearm)
        new += found
        fired = FiredThresholds(since_s, [*(fired.firings if fired else []), *found])
    return fired, new


def close(fired: FiredThresholds, position: int) -> tuple[FiredThresholds, list[Firing]]:
    """As `judge`, for an entitlement that has ended: what has fired and has not resolved resolves."""
    if any(firings.position >= position for firings in fired.firings):
        return fired, [firings for firings in fired.firings if firings.position == position]
    ended = _resolve(fired, set(), position)
    return FiredThresholds(fired.since_s, [*fired.firings, *ended]), ended


def _news(
    fired: FiredThresholds,
    thresholds: Sequence[Threshold],
    level: Level,
    since_s: int,
    position: int,
    rearm: Rearm,
) -> list[Firing]:
    now = met(thresholds, level)
    found = _resolve(fired, {one.id for one in [*now.usage, *now.balance]}, position)
    states = _states(fired)
    for kind in now:
        new = []
        for threshold in kind:
            state = states.get(threshold.id)
            if state is None or (rearm == "resolved" and state.state == "resolved"):
                new.append(threshold.id)
        if new:
            found.append(Firing(position, since_s, "fired", new[-1], new[:-1], _times(fired, new[-1])))
    return found


def _times(fired: FiredThresholds, id: str) -> int:
    """What no firing that a threshold named in this period has; one that was only passed has taken no number."""
    taken = (one.times for one in fired.firings if (one.since_s, one.threshold) == (fired.since_s, id))
    return max(taken, default=-1) + 1


def _states(fired: FiredThresholds) -> dict[str, Firing]:
    """By id of the threshold: its newest firing in this period, be it named by it or passed with another."""
    states: dict[str, Firing] = {}
    for firings in fired.firings:
        if firings.since_s == fired.since_s:
            for id in (*firings.passed, firings.threshold):
                states[id] = firings
    return states


def _resolve(fired: FiredThresholds, met_: set[str], position: int) -> list[Firing]:
    """What has fired and is no longer met: of each firing the thresholds that resolve, by the highest of them."""
    over: dict[str, tuple[Firing, list[str]]] = {}
    for id, firing in _states(fired).items():
        if firing.state == "fired" and id not in met_:
            over.setdefault(firing.key, (firing, []))[1].append(id)
    return [_resolved(fired, firing, ids, position) for firing, ids in over.values()]


def _resolved(fired: FiredThresholds, firing: Firing, ids: Sequence[str], position: int) -> Firing:
    """ids: of thresholds of the firing."""
    *passed, highest = [id for id in (*firing.passed, firing.threshold) if id in ids]
    times = firing.times if highest == firing.threshold else _times(fired, highest)
    return Firing(position, firing.since_s, "resolved", highest, passed, times)


def crossing(amounts: Iterable[int], room: int) -> int | None:
    """Find the amount of usage with which a limit is reached.

    Args:
        amounts: in order, in atto; below zero where usage was taken back.
        room: what was left to the limit before them; zero or less if it had been reached already.

    Returns:
        The index of that amount; None if all of them together do not reach it.

    >>> crossing([3, -1, 4, 2], room=6), crossing([3, -1, 4, 2], room=9), crossing([3], room=0)
    (2, None, 0)
    """
    for index, amount in enumerate(amounts):
        room -= amount
        if room <= 0:
            return index
    return None


class Volume(msgspec.Struct, array_like=True, frozen=True):
    """The volume of a meter in one window for a rule.

    Args:
        total: plain decimal text.
        position: offset of the last record in it.
        fired_at: offset of the record with which it reached the limit; -1 if it has not.
    """

    total: str = "0"
    position: int = -1
    fired_at: int = -1


def volume(state: Volume | None, change: int, limit: int, position: int) -> tuple[Volume, bool]:
    """Add usage to a volume. A record that was added before changes nothing and gives the same result.

    Args:
        state: before the record; None at first.
        change: in atto.
        limit: in atto.
        position: offset of the record.

    Returns:
        The volume afterwards, and whether it has reached the limit with this record: once a window.

    >>> state, crosses = volume(None, 9 * number.SCALE, 10 * number.SCALE, position=1)
    >>> crosses, volume(state, 1 * number.SCALE, 10 * number.SCALE, position=2)[1]
    (False, True)
    """
    state = state or Volume()
    if position <= state.position:
        return state, state.fired_at == position
    total = number.exact(state.total) + change
    crosses = state.fired_at < 0 and total >= limit
    return Volume(number.text(total), position, position if crosses else state.fired_at), crosses


class WarnedGrants(msgspec.Struct, array_like=True, frozen=True):
    """The grants for whose end a rule has fired. firings: position of the record by id, until the grant has ended."""

    firings: dict[str, int] = {}


class Lead(NamedTuple):
    """How long before the end of a grant a rule fires: an interval of the calendar of a zone."""

    interval: Interval
    zone: str = zones.UTC

    def begins_s(self, grant: Grant) -> int:
        """When the rule fires for a grant that ends, in seconds since 1970."""
        return calendar.add(grant.ends_at_s, self.interval, -1, self.zone)

    def over_s(self, grant: Grant) -> int:
        """Until when the state holds that the rule has fired for a grant."""
        return calendar.add(grant.ends_at_s, self.interval, 1, self.zone)


def expiring(
    state: WarnedGrants | None,
    grants: Iterable[Grant],
    balances: Mapping[str, int],
    now_s: int,
    lead: Lead,
    position: int,
    first: int | None = None,
) -> tuple[WarnedGrants, list[str]]:
    """Find the grants that end soon and of which something is left. A record that is read again gives the same ids.

    Args:
        state: before the record; None at first.
        grants: of the entitlement.
        balances: of the active grants by id, in atto.
        now_s: the broker's time, in seconds since 1970.
        lead: how long before the end.
        position: offset of the record.
        first: as for `judge`.

    Returns:
        The state afterwards, and the ids for which the rule fires, each of them once.
    """
    first = position if first is None else first
    firings = {} if state is None else state.firings
    ending = [grant for grant in grants if grant.ends_at_s < NEVER_S]
    needed = {grant.id for grant in ending if now_s < lead.over_s(grant)}
    warned = {id: at for id, at in firings.items() if id in needed or at >= first}
    if not any(at >= position for at in warned.values()):
        for grant in ending:
            soon = grant.active(now_s) and lead.begins_s(grant) <= now_s
            if soon and balances.get(grant.id, 0) > 0 and grant.id not in warned:
                warned[grant.id] = position
    return WarnedGrants(warned), sorted(id for id, at in warned.items() if at == position)


def next_warning_s(grants: Iterable[Grant], now_s: int, lead: Lead) -> int:
    """When a grant comes within `lead` of its end next, in seconds since 1970; NEVER_S if never."""
    instants = (lead.begins_s(grant) for grant in grants if grant.ends_at_s < NEVER_S)
    return min((at_s for at_s in instants if at_s > now_s), default=NEVER_S)
