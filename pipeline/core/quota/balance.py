"""The balance of a metered entitlement in a stream: moved by usage, by time and by other terms, never by a query.

Owns: the state machine of one account (a customer's feature), what it keeps, when it changes next. Does not own: the
burn-down (burndown), sums of usage (account_usage), thresholds (notifications.threshold), the stage and its clock
(agents).

Whatever the order in which windows arrive, and however often time moves on, the balance is that of a full recount over
the stored usage: a late window goes back to the snapshot before its minute and burns again from there.
A minute counts as a whole as soon as it has begun; what begins or ends at an instant does so at that instant.
OpenMeter (openmeter/entitlement/metered/balance.go at commit 7e57a394) rounds the instant itself up to the next minute,
and so resets up to a minute early.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from pipeline.core.quota import burndown
from pipeline.core.quota import terms as terms_
from pipeline.core.quota.account_usage import UsageChange, UsageMoved, UsageRows
from pipeline.core.quota.balance_result import (
    BalanceOutcome,
    BalanceStatus,
    Correction,
    ResetDone,
    status_of,
)
from pipeline.core.quota.balance_state import (
    BalanceHead,
    BalanceStore,
    keep,
    restore,
    schedule_digest,
)
from pipeline.core.quota.burndown import Segment, Snapshot
from pipeline.core.quota.terms import Terms
from pipeline.core.values import calendar, number
from pipeline.core.values.calendar import DAY_S, HOUR_S, MINUTE_S, NEVER_S
from pipeline.core.values.table import KeyedBytes
from pipeline.errors import Broken

# How old usage may be when it arrives: the dedupe horizon of 32 days, and 3 days to pass through the pipeline.
KEEP_S = 35 * DAY_S
# Usage that is older than this, or of a phase that has ended, is late.
LATE_S = HOUR_S
# How many hours of stored usage a move removes at most.
PURGED_HOURS = 24


def move(
    table: KeyedBytes,
    account: bytes,
    terms: Terms,
    now_s: int,
    changes: Sequence[UsageChange] = (),
    position: int = -1,
    keep_s: int = KEEP_S,
) -> BalanceOutcome:
    """Bring an account to an instant under its terms, with the changes of a record, each in its minute.

    A record at or before the position of the last one changes nothing. Under other terms than before the balance is
    computed again.

    Args:
        table: the state.
        account: a key of fixed length, the same for all entitlements of one customer and feature, so that a new
            entitlement has the usage before it.
        terms: of the entitlement that is in force.
        now_s: the broker's time, in seconds since 1970; an earlier one than before changes nothing.
        changes: windows of usage with their newest values.
        position: offset of the record.
        keep_s: how long usage stays in the state, in seconds.

    Returns:
        The balance, and what the record changed.

    Late usage goes back to the snapshot before its minute and is burnt again from there. Grant `a` of 10 ends after an
    hour, then `b` begins. Usage of 4 in the second hour is paid by `b`. Usage of 6 in the first hour, which arrives
    later, is paid by `a` all the same; of another 6 `a` pays 4, and the overage of 2 is paid by `b` when it begins.

    >>> from pipeline.core.quota.grant import Grant
    >>> from pipeline.core.values.calendar import Interval, Recurrence, Schedule
    >>> class State(dict):
    ...     get_many = lambda self, keys: [self.get(key) for key in keys]
    ...     put, delete = dict.__setitem__, lambda self, key: self.pop(key, None)
    >>> unit, state, day_s = number.SCALE, State(), 1_767_225_600
    >>> grants = (Grant("a", 10 * unit, day_s, expires_at_s=day_s + HOUR_S), Grant("b", 10 * unit, day_s + HOUR_S))
    >>> terms = Terms("e", 1, "SUM", Schedule(day_s, Recurrence(Interval(1, 0), day_s)), grants)
    >>> for position, (minute, value) in enumerate([(61, 4), (1, 6), (2, 6)]):
    ...     change = UsageChange(b"", day_s + minute * MINUTE_S, value * unit, revision=1)
    ...     status = move(state, b"account", terms, day_s + 2 * HOUR_S, [change], position).status
    ...     print({id: left // unit for id, left in status.balances.items()})
    {'b': 6}
    {'b': 6}
    {'b': 4}
    """
    machine = _Machine(table, account, terms, keep_s)
    now_s = calendar.floor_minute(now_s)
    machine.load(now_s)
    cause = ""
    if changes and position > machine.head.position:
        cause = machine.take(changes, now_s)
        machine.head.position = position
    machine.advance(now_s)
    status = machine.status()
    machine.store()
    return BalanceOutcome(status, machine.resets, machine.corrections, cause)


def read(table: KeyedBytes, account: bytes, terms: Terms) -> BalanceStatus | None:
    """The balance as of the last move.

    Args:
        table: the state.
        account: as for `move`.
        terms: those of the last move.

    Returns:
        None if the account has no balance, or that of another entitlement.
    """
    machine = _Machine(table, account, terms, KEEP_S)
    same = machine.read_head() and machine.head.entitlement == terms.entitlement
    return machine.status() if same else None


def forget(table: KeyedBytes, account: bytes, terms: Terms) -> None:
    """Remove all state of an account. Arguments as for `read`."""
    machine = _Machine(table, account, terms, KEEP_S)
    if machine.read_head():
        end_s = machine.end_s()
        machine.rows.purge(end_s, (end_s - machine.rows.since_s) // HOUR_S)
        BalanceStore(table, account).delete()


class _Machine:
    """One move of one account."""

    head: BalanceHead
    before: Snapshot  # of head.before
    rows: UsageRows

    def __init__(self, table: KeyedBytes, account: bytes, terms: Terms, keep_s: int) -> None:
        self._table = table
        self._account = account
        self._terms = terms
        self._keep_s = keep_s
        self._store = BalanceStore(table, account)
        self._since_s = NEVER_S  # the usage period at loading
        self.resets: list[ResetDone] = []
        self.corrections: list[Correction] = []

    # -- loading and storing ------------------------------------------------------------------------------------

    def read_head(self) -> bool:
        """Read the head; whether there is one."""
        head = self._store.head()
        if head is None:
            return False
        self.head = head
        self.before = restore(self.head.before)
        self._since_s = self.before.since_s
        self.rows = UsageRows(self._table, self._account, self._terms.aggregation, self.head.rows_since_s)
        return True

    def load(self, now_s: int) -> None:
        """Read the head, or begin one, under the present terms."""
        terms = self._terms
        if not self.read_head():
            since_s = min(terms.schedule.start_s, now_s - self._keep_s) // HOUR_S * HOUR_S
            self.rows = UsageRows(self._table, self._account, terms.aggregation, since_s)
            self._begin(-1, now_s, [])
            return
        head = self.head
        if head.entitlement == terms.entitlement and head.revision == terms.revision:
            return
        if terms.aggregation == "UNIQUE_COUNT" and head.schedule != schedule_digest(terms.schedule):
            self.rows.rebuild_members(terms.schedule, self.end_s())
        if head.entitlement == terms.entitlement:
            self._recount()
        else:
            # Usage that was purged arrives again from ClickHouse: it may be older than all stored rows.
            self.rows.since_s = min(self.rows.since_s, terms.schedule.start_s // HOUR_S * HOUR_S)
            self._begin(head.position, head.now_s, head.ahead)

    def end_s(self) -> int:
        """A whole hour that is later than all stored usage."""
        return (max([self.head.now_s, *self.head.ahead]) // HOUR_S + 1) * HOUR_S

    def _begin(self, position: int, now_s: int, ahead: list[int]) -> None:
        """Begin the head of an entitlement without one; stored usage of the account counts for it."""
        terms = self._terms
        snapshot = terms_.begin(terms)
        self.head = BalanceHead(
            terms.entitlement, terms.revision, position, now_s, keep(snapshot), 0,
            ahead=ahead, schedule=schedule_digest(terms.schedule),
        )  # fmt: skip
        self._store.trail = []
        self._run_on(snapshot)
        self.resets = []  # resets before the first move of an entitlement are not reported

    def _recount(self) -> None:
        """Burn again under other terms, from the oldest snapshot on."""
        terms, snapshots = self._terms, [*self._store.trail, self.before]
        self.head.revision, self.head.schedule = terms.revision, schedule_digest(terms.schedule)
        self._store.trail = []
        first = snapshots[0]
        self._run_on(first if first.at_s > terms.schedule.start_s else terms_.begin(terms))
        periods = {snapshot.since_s for snapshot in snapshots}
        newest_s = self._since_s
        self.resets = [
            done for done in self.resets if done.at_s not in periods and (done.manual or done.at_s > newest_s)
        ]

    def store(self) -> None:
        """Write what has changed, and purge some of the usage that is not needed."""
        head = self.head
        base_s = self._store.write_trail(self.before, min(self.before.since_s, head.now_s - self._keep_s))
        if base_s is not None:
            head.base_s = base_s
        purgeable_s = min(head.base_s, head.now_s - self._keep_s)
        if purgeable_s - self.rows.since_s >= HOUR_S:
            self.rows.purge(purgeable_s, PURGED_HOURS)
        head.rows_since_s = self.rows.since_s
        head.before = keep(self.before)
        self._store.write_head(head)

    # -- time ---------------------------------------------------------------------------------------------------

    def advance(self, now_s: int) -> None:
        """Go on to the minute `now_s`: count usage up to it, and end the phases that are over."""
        head = self.head
        if now_s <= head.now_s:
            return
        due = [minute_s for minute_s in head.ahead if minute_s <= now_s]
        head.ahead = head.ahead[len(due) :]
        for minute_s in due:
            self._close_until(minute_s)
            head.now_s = minute_s
            row = self.rows.minute(minute_s)
            if row.value < 0 or (self._terms.latest and len(due) > 1):
                head.exhausted_at_s = NEVER_S
            self._count(minute_s, row.value)
        self._close_until(now_s)
        head.now_s = now_s

    def _close_until(self, now_s: int) -> None:
        while self.head.phase_to_s <= now_s and self.head.phase_to_s < self._terms.ends_at_s:
            self._close()

    def _open(self, snapshot: Snapshot) -> None:
        terms, head = self._terms, self.head
        self.before = snapshot
        at_s = snapshot.at_s
        head.period_to_s = calendar.usage_period(terms.schedule, at_s)[1]
        head.phase_to_s = min(burndown.next_cut(terms.order, at_s), head.period_to_s, terms.ends_at_s)
        head.amount, head.order, head.exhausted_at_s = "0", "", NEVER_S

    def _close(self) -> None:
        """End the phase, and the usage period with it where they end together."""
        terms, end_s = self._terms, self.head.phase_to_s
        self._store.trail.append(self.before)
        _, after = self._step()
        if self.head.period_to_s == end_s:
            manual = calendar.manual_reset(terms.schedule, end_s) is not None
            done = (after.balance, after.usage, max(0, after.overage), after.total_available)
            self.resets.append(ResetDone(end_s, self.before.since_s, *done, manual))
            _, after = burndown.reset(terms.order, after, terms_.preserves(terms, end_s))
        self._open(after)

    def _step(self) -> tuple[Segment, Snapshot]:
        """Burn the usage of the open phase so far."""
        head, terms = self.head, self._terms
        usage = number.exact(head.amount)
        return burndown.step(terms.order, self.before, head.phase_to_s, usage, terms.latest, self._crossing)

    def _crossing(self, from_s: int, to_s: int, available: int) -> int:
        head = self.head
        if head.exhausted_at_s == NEVER_S:
            head.exhausted_at_s = self.rows.crossing(from_s, min(to_s, head.now_s + MINUTE_S), available)
        return head.exhausted_at_s

    # -- usage --------------------------------------------------------------------------------------------------

    def take(self, changes: Sequence[UsageChange], now_s: int) -> str:
        """Count the changes; those after head.now_s wait. Gives the cause of the newest one that has an effect."""
        head, base_s = self.head, self._base_s(min(change.minute_s for change in changes))
        lost = [change for change in changes if change.minute_s < base_s]
        moved = self.rows.record(
            [change for change in changes if change.minute_s >= base_s], self._terms.schedule
        )
        now_s = max(now_s, head.now_s)
        self._reset_late()
        late_before_s = max(self.before.at_s, now_s - LATE_S)
        self._count_moved(moved)
        self.corrections += [Correction(one.minute_s, one.value, now_s, False) for one in lost]
        start_s = self._terms.schedule.start_s
        late = [one for one in moved if start_s <= one.minute_s < late_before_s and one.change]
        self.corrections += [Correction(one.minute_s, one.change, now_s, True) for one in late]
        inside = [one.change for one in late if one.minute_s >= self.before.since_s]
        if inside:
            head.late = number.text(number.exact(head.late) + sum(inside))
            head.late_count += len(inside)
        return next(
            (c.cause for c in reversed(changes) if any(c.minute_s == one.minute_s for one in moved)), ""
        )

    def _base_s(self, earliest_s: int) -> int:
        """Usage before it is refused. Usage before the entitlement's start is stored for one that may follow it."""
        if earliest_s >= self.before.at_s:
            return self.rows.since_s
        trail = self._store.trail
        first = trail[0] if trail else self.before
        return max(self.rows.since_s, first.at_s if first.at_s > self._terms.schedule.start_s else 0)

    def _reset_late(self) -> None:
        """Start the late usage of a new usage period at zero."""
        if self.before.since_s != self._since_s:
            self.head.late, self.head.late_count, self._since_s = "0", 0, self.before.since_s

    def _count_moved(self, moved: Sequence[UsageMoved]) -> None:
        head, start_s = self.head, self._terms.schedule.start_s
        ahead = {one.minute_s for one in moved if one.minute_s > head.now_s}
        if ahead:
            head.ahead = sorted(ahead.union(head.ahead))
        on_time = [one for one in moved if start_s <= one.minute_s <= head.now_s]
        earliest_s = min((one.minute_s for one in on_time), default=NEVER_S)
        if earliest_s < self.before.at_s:
            self._rewind(earliest_s)
            return
        if self._terms.latest and len(on_time) > 1:
            head.exhausted_at_s = NEVER_S
        for one in on_time:
            self._recheck_exhaustion(one)
            self._count(one.minute_s, one.change)

    def _recheck_exhaustion(self, moved: UsageMoved) -> None:
        """Drop the instant of exhaustion if the change may move it, so that it is searched again."""
        head = self.head
        if self._terms.latest:
            if self.rows.minute(moved.minute_s).order <= head.order or moved.minute_s <= head.exhausted_at_s:
                head.exhausted_at_s = NEVER_S
        elif moved.change < 0 or moved.minute_s <= head.exhausted_at_s:
            head.exhausted_at_s = NEVER_S

    def _count(self, minute_s: int, change: int) -> None:
        """Add the change of a minute to the open phase, if the minute is in it."""
        head = self.head
        if not self.before.at_s <= minute_s < head.phase_to_s:
            return
        if not self._terms.latest:
            head.amount = number.text(number.exact(head.amount) + change)
            return
        row = self.rows.minute(minute_s)
        if row.order > head.order:
            head.amount, head.order = number.text(row.value), row.order

    def _rewind(self, minute_s: int) -> None:
        """Burn again from the snapshot before a late minute.

        The trail holds a snapshot at the start of each earlier phase. The phases after the minute depend on it, so
        their snapshots go, and are made again.
        """
        trail = self._store.trail
        newest = bisect_right(trail, minute_s, key=lambda snapshot: snapshot.at_s) - 1
        if newest < 0:
            raise Broken(
                f"A late minute {minute_s} lies before the first snapshot of {self.head.entitlement}."
            )
        snapshot = trail[newest]
        del trail[newest:]
        done = self.resets.copy()
        self._run_on(snapshot)
        self.resets = done  # the same resets happen again

    def _run_on(self, snapshot: Snapshot) -> None:
        """Burn all stored usage from `snapshot` to now."""
        head = self.head
        self._open(snapshot)
        while True:
            over = head.phase_to_s <= head.now_s and head.phase_to_s < self._terms.ends_at_s
            to_s = head.phase_to_s if over else min(head.phase_to_s, head.now_s + MINUTE_S)
            usage = self.rows.between(self.before.at_s, to_s)
            head.amount, head.order = number.text(usage.value), usage.order
            if not over:
                return
            self._close()

    def status(self) -> BalanceStatus:
        """The balance as of head.now_s."""
        segment, after = self._step()
        self._reset_late()
        if after.exhausted_at_s == NEVER_S:
            self.head.exhausted_at_s = NEVER_S
        return status_of(self._terms, self.head, self.before, segment, after)
