"""The state machine of a balance, in memory from the first record of a chunk that moves it to the last.

Owns: what it keeps between records, what a record and time change of it. Does not own: its doors (balance), the
burn-down (burndown), sums of usage (account_usage), bytes (balance_state).

Each move leaves what it would leave if the state were written and read again after it, so that neither the state nor
any outcome depends on how records are cut into chunks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from pipeline.core.quota import burndown
from pipeline.core.quota import terms as terms_
from pipeline.core.quota.account_usage import StoredUsage, UsageChange, UsageMoved, UsageRows
from pipeline.core.quota.balance_result import (
    BalanceOutcome,
    BalanceStatus,
    Correction,
    OpenPhase,
    ResetDone,
    status_of,
)
from pipeline.core.quota.balance_state import (
    BalanceHead,
    BalanceStore,
    StoredBalances,
    keep,
    restore,
    schedule_digest,
)
from pipeline.core.quota.burndown import Segment, Snapshot
from pipeline.core.quota.terms import Terms
from pipeline.core.values import calendar, number
from pipeline.core.values.calendar import DAY_S, HOUR_S, MINUTE_S, NEVER_S
from pipeline.errors import Broken

# How old usage may be when it arrives: the dedupe horizon of 32 days, and 3 days to pass through the pipeline.
KEEP_S = 35 * DAY_S
# Usage that is older than this, or of a phase that has ended, is late.
LATE_S = HOUR_S
# How many hours of stored usage a move removes at most.
PURGED_HOURS = 24


class BalanceMachine:
    """The balance of one account. `head` has the amounts and the snapshot of the last reading or writing only."""

    head: BalanceHead
    terms: Terms  # of the present move
    before: Snapshot  # at the start of the open phase
    rows: UsageRows

    def __init__(self, stored: StoredBalances, usage: StoredUsage, account: bytes, keep_s: int) -> None:
        self._usage = usage
        self._account = account
        self._keep_s = keep_s
        self._store = BalanceStore(stored, account)
        self._is_read = self._latest = False
        self._since_s = NEVER_S  # the usage period before the move
        self._opened: Mapping[str, int] | None = None  # balances at the start of the open phase
        self._read_before: Snapshot | None = None  # as head.before has it
        self._amount = self._late = 0  # of the head
        self.resets: list[ResetDone] = []
        self.corrections: list[Correction] = []

    def move(self, terms: Terms, now_s: int, changes: Sequence[UsageChange], position: int) -> BalanceOutcome:
        """As balance.move; nothing is written."""
        now_s = calendar.floor_minute(now_s)
        self.resets, self.corrections = [], []
        before = self.enter(terms, now_s)
        head = self.head
        if changes and position > head.position:
            self._take(changes, now_s)
            head.position = position
        self._advance(now_s)
        status = self.status()
        self._settle()
        return BalanceOutcome(status, self.resets, self.corrections, before)

    # -- loading and storing ------------------------------------------------------------------------------------

    def read(self, terms: Terms) -> bool:
        """Read the head as of these terms; whether there is one."""
        head = self._store.head()
        if head is None:
            return False
        self._follow(terms, head.rows_since_s)
        self.head = head
        self.before = self._read_before = restore(head.before)
        self._since_s = self.before.since_s
        self._amount, self._late = number.exact(head.amount), number.exact(head.late)
        return True

    def _follow(self, terms: Terms, rows_since_s: int) -> None:
        self._is_read, self._opened = True, None
        self.terms, self._latest = terms, terms.latest
        self.rows = UsageRows(self._usage, self._account, terms.aggregation, rows_since_s)

    def enter(self, terms: Terms, now_s: int) -> OpenPhase | None:
        """Continue, or begin, under these terms. Gives the open phase before; None if there was none."""
        if self._is_read:
            if self.terms is not terms:
                self._follow(terms, self.rows.since_s)
        elif not self.read(terms):
            self._follow(terms, min(terms.schedule.start_s, now_s - self._keep_s) // HOUR_S * HOUR_S)
            self._begin(terms, -1, now_s, [])
            return None
        head = self.head
        self._since_s = self.before.since_s
        is_same = head.entitlement == terms.entitlement
        before = OpenPhase(terms.order, self.before, head.phase_to_s, self._amount, self._latest)
        if not is_same or head.revision != terms.revision:
            self._change(terms, is_same)
        return before if is_same else None

    def _change(self, terms: Terms, is_same: bool) -> None:
        """Go on under other terms than those of the head: of the same entitlement, or of another one."""
        head = self.head
        if terms.aggregation == "UNIQUE_COUNT" and head.schedule != schedule_digest(terms.schedule):
            self.rows.rebuild_members(terms.schedule, self.end_s())
        if is_same:
            self._recount(terms)
        else:
            # Usage that was purged arrives again from ClickHouse: it may be older than all stored rows.
            self.rows.since_s = min(self.rows.since_s, terms.schedule.start_s // HOUR_S * HOUR_S)
            self._begin(terms, head.position, head.now_s, head.ahead)

    def end_s(self) -> int:
        """A whole hour that is later than all stored usage."""
        return (max([self.head.now_s, *self.head.ahead]) // HOUR_S + 1) * HOUR_S

    def _begin(self, terms: Terms, position: int, now_s: int, ahead: list[int]) -> None:
        """Begin the head of an entitlement without one; stored usage of the account counts for it."""
        snapshot = terms_.begin(terms)
        self.head = BalanceHead(
            terms.entitlement, terms.revision, position, now_s, keep(snapshot), 0,
            ahead=ahead, schedule=schedule_digest(terms.schedule),
        )  # fmt: skip
        self._amount = self._late = 0
        self._store.trail = []
        self._run_on(snapshot)
        self.resets = []  # resets before the first move of an entitlement are not reported

    def _recount(self, terms: Terms) -> None:
        """Burn again under other terms, from the oldest snapshot on."""
        snapshots = [*self._store.trail, self.before]
        self.head.revision, self.head.schedule = terms.revision, schedule_digest(terms.schedule)
        self._store.trail = []
        first = snapshots[0]
        self._run_on(first if first.at_s > terms.schedule.start_s else terms_.begin(terms))
        periods = {snapshot.since_s for snapshot in snapshots}
        newest_s = self._since_s
        self.resets = [
            done for done in self.resets if done.at_s not in periods and (done.manual or done.at_s > newest_s)
        ]

    def _settle(self) -> None:
        """End a move: remove some of the usage and the snapshots that are not needed."""
        head, kept_s = self.head, self.head.now_s - self._keep_s
        base_s = self._store.trim(self.before, min(self.before.since_s, kept_s))
        if base_s is not None:
            head.base_s = base_s
        purgeable_s = min(head.base_s, kept_s)
        if purgeable_s - self.rows.since_s >= HOUR_S:
            self.rows.purge(purgeable_s, PURGED_HOURS)

    def store(self) -> None:
        """Write the head, and the trail if it was used."""
        head = self.head
        if self.before is not self._read_before:
            head.before, self._read_before = keep(self.before), self.before
        head.amount, head.late = number.text(self._amount), number.text(self._late)
        head.rows_since_s = self.rows.since_s
        self._store.write(head)

    def delete(self) -> None:
        """Remove the head, the trail and all usage."""
        end_s = self.end_s()
        self.rows.purge(end_s, (end_s - self.rows.since_s) // HOUR_S)
        self._store.delete()

    # -- time ---------------------------------------------------------------------------------------------------

    def _advance(self, now_s: int) -> None:
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
            if row.value < 0 or (self._latest and len(due) > 1):
                head.exhausted_at_s = NEVER_S
            self._count(minute_s, row.value)
        self._close_until(now_s)
        head.now_s = now_s

    def _close_until(self, now_s: int) -> None:
        while self.head.phase_to_s <= now_s and self.head.phase_to_s < self.terms.ends_at_s:
            self._close()

    def _open(self, snapshot: Snapshot) -> None:
        terms, head = self.terms, self.head
        self.before, self._opened = snapshot, None
        at_s = snapshot.at_s
        head.period_to_s = calendar.usage_period(terms.schedule, at_s)[1]
        head.phase_to_s = min(burndown.next_cut(terms.order, at_s), head.period_to_s, terms.ends_at_s)
        self._amount, head.order, head.exhausted_at_s = 0, "", NEVER_S

    def _close(self) -> None:
        """End the phase, and the usage period with it where they end together."""
        terms, end_s = self.terms, self.head.phase_to_s
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
        before, terms, opened = self.before, self.terms, self._opened
        if opened is None:
            opened = burndown.opening(terms.order, before.balances, before.at_s, self._latest)
            self._opened = opened
        end_s = self.head.phase_to_s
        return burndown.spend(opened, before, end_s, self._amount, self._latest, self._crossing)

    def _crossing(self, from_s: int, to_s: int, available: int) -> int:
        head = self.head
        if head.exhausted_at_s == NEVER_S:
            head.exhausted_at_s = self.rows.crossing(from_s, min(to_s, head.now_s + MINUTE_S), available)
        return head.exhausted_at_s

    # -- usage --------------------------------------------------------------------------------------------------

    def _take(self, changes: Sequence[UsageChange], now_s: int) -> None:
        """Count the changes; those after head.now_s wait."""
        earliest_s = min([change.minute_s for change in changes])
        base_s = self._base_s(earliest_s)
        lost = [] if earliest_s >= base_s else [one for one in changes if one.minute_s < base_s]
        taken = [one for one in changes if one.minute_s >= base_s] if lost else changes
        moved = self.rows.record(taken, self.terms.schedule)
        now_s = max(now_s, self.head.now_s)
        self._reset_late()
        late_before_s = max(self.before.at_s, now_s - LATE_S)
        self._count_moved(moved)
        self.corrections += [Correction(one.minute_s, one.value, now_s, False) for one in lost]
        start_s = self.terms.schedule.start_s
        late = [one for one in moved if start_s <= one.minute_s < late_before_s and one.change]
        if late:
            self._correct(late, now_s)

    def _correct(self, late: Sequence[UsageMoved], now_s: int) -> None:
        self.corrections += [Correction(one.minute_s, one.change, now_s, True) for one in late]
        inside = [one.change for one in late if one.minute_s >= self.before.since_s]
        self._late += sum(inside)
        self.head.late_count += len(inside)

    def _base_s(self, earliest_s: int) -> int:
        """Usage before it is refused. Usage before the entitlement's start is stored for one that may follow it."""
        if earliest_s >= self.before.at_s:
            return self.rows.since_s
        trail = self._store.trail
        first = trail[0] if trail else self.before
        return max(self.rows.since_s, first.at_s if first.at_s > self.terms.schedule.start_s else 0)

    def _reset_late(self) -> None:
        """Start the late usage of a new usage period at zero."""
        if self.before.since_s != self._since_s:
            self._late, self.head.late_count, self._since_s = 0, 0, self.before.since_s

    def _count_moved(self, moved: Sequence[UsageMoved]) -> None:
        head, start_s = self.head, self.terms.schedule.start_s
        ahead = {one.minute_s for one in moved if one.minute_s > head.now_s}
        if ahead:
            head.ahead = sorted(ahead.union(head.ahead))
        on_time = [one for one in moved if start_s <= one.minute_s <= head.now_s]
        earliest_s = min((one.minute_s for one in on_time), default=NEVER_S)
        if earliest_s < self.before.at_s:
            self._rewind(earliest_s)
            return
        if self._latest and len(on_time) > 1:
            head.exhausted_at_s = NEVER_S
        for one in on_time:
            self._recheck_exhaustion(one)
            self._count(one.minute_s, one.change)

    def _recheck_exhaustion(self, moved: UsageMoved) -> None:
        """Drop the instant of exhaustion if the change may move it, so that it is searched again."""
        head = self.head
        if self._latest:
            if self.rows.minute(moved.minute_s).order <= head.order or moved.minute_s <= head.exhausted_at_s:
                head.exhausted_at_s = NEVER_S
        elif moved.change < 0 or moved.minute_s < head.exhausted_at_s:
            head.exhausted_at_s = NEVER_S

    def _count(self, minute_s: int, change: int) -> None:
        """Add the change of a minute to the open phase, if the minute is in it."""
        head = self.head
        if not self.before.at_s <= minute_s < head.phase_to_s:
            return
        if not self._latest:
            self._amount += change
            return
        row = self.rows.minute(minute_s)
        if row.order > head.order:
            self._amount, head.order = row.value, row.order

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
            over = head.phase_to_s <= head.now_s and head.phase_to_s < self.terms.ends_at_s
            to_s = head.phase_to_s if over else min(head.phase_to_s, head.now_s + MINUTE_S)
            usage = self.rows.between(self.before.at_s, to_s)
            self._amount, head.order = usage.value, usage.order
            if not over:
                return
            self._close()

    def status(self) -> BalanceStatus:
        """The balance as of head.now_s."""
        segment, after = self._step()
        self._reset_late()
        if after.exhausted_at_s == NEVER_S:
            self.head.exhausted_at_s = NEVER_S
        return status_of(self.terms, self.head, self.before, segment, after, self._late)
