"""The balance of a metered entitlement in a stream: moved by usage, by time and by other terms, never by a query.

Owns: the balances that a chunk moves, what a move is. Does not own: how a balance moves (balance_machine), the
burn-down (burndown), sums of usage (account_usage), thresholds (notifications.threshold), the stage and
its clock (agents).

Whatever the order in which windows arrive, and however often time moves on, the balance is that of a full recount over
the stored usage: a late window goes back to the snapshot before its minute and burns again from there.
A minute counts as a whole as soon as it has begun; what begins or ends at an instant does so at that instant.
OpenMeter (openmeter/entitlement/metered/balance.go at commit 7e57a394) rounds the instant itself up to the next minute,
and so resets up to a minute early.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.core.quota.account_usage import StoredUsage, UsageChange
from pipeline.core.quota.balance_machine import KEEP_S, BalanceMachine
from pipeline.core.quota.balance_result import BalanceOutcome, BalanceStatus
from pipeline.core.quota.balance_state import HEAD, StoredBalances
from pipeline.core.quota.terms import Terms
from pipeline.core.values.table import KeyedBytes


class HeldBalances:
    """Balances in memory: each is read once, and written by each `flush` after it has moved."""

    def __init__(self, table: KeyedBytes, keep_s: int = KEEP_S) -> None:
        """Nothing is read.

        Args:
            table: the state.
            keep_s: how long usage stays in the state, in seconds.
        """
        self._stored, self._usage, self._keep_s = StoredBalances.of(table), StoredUsage.of(table), keep_s
        self._machines: dict[bytes, BalanceMachine] = {}
        self._moved: dict[bytes, BalanceMachine] = {}  # since the last flush

    def load(self, accounts: Sequence[tuple[bytes, Iterable[int]]]) -> None:
        """Read at once what a record needs. accounts: keys as for `move`, each with its minutes of usage."""
        self._stored.heads.load([key + HEAD for key, _ in accounts])
        self._usage.load((key, minute_s) for key, minutes in accounts for minute_s in minutes)

    def __contains__(self, account: bytes) -> bool:
        """Whether a balance is in memory."""
        return account in self._machines

    def __len__(self) -> int:
        """How many balances and rows of usage are in memory."""
        return len(self._machines) + len(self._usage.minutes) + len(self._usage.hours)

    @property
    def stored_bytes(self) -> int:
        """Size of the rows of usage in memory, as they are stored: one of many subjects is large."""
        return self._usage.minutes.stored_bytes + self._usage.hours.stored_bytes

    def move(
        self,
        account: bytes,
        terms: Terms,
        now_s: int,
        changes: Sequence[UsageChange] = (),
        position: int = -1,
    ) -> BalanceOutcome:
        """As the function `move`; the state is written by `flush`."""
        machine = self._machines.get(account)
        if machine is None:
            machine = BalanceMachine(self._stored, self._usage, account, self._keep_s)
            self._machines[account] = machine
        self._moved[account] = machine
        return machine.move(terms, now_s, changes, position)

    def flush(self) -> None:
        """Write what has changed to the table. The balances may be moved on afterwards."""
        for machine in self._moved.values():
            machine.store()
        self._moved = {}
        self._stored.flush()
        self._usage.flush()


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
    >>> from pipeline.core.values.calendar import HOUR_S, MINUTE_S, Interval, Recurrence, Schedule
    >>> from pipeline.core.values.number import SCALE as unit
    >>> class State(dict):
    ...     get_many = lambda self, keys: [self.get(key) for key in keys]
    ...     put, delete = dict.__setitem__, lambda self, key: self.pop(key, None)
    >>> state, day_s = State(), 1_767_225_600
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
    balances = HeldBalances(table, keep_s)
    outcome = balances.move(account, terms, now_s, changes, position)
    balances.flush()
    return outcome


def read(table: KeyedBytes, account: bytes, terms: Terms) -> BalanceStatus | None:
    """The balance as of the last move.

    Args:
        table: the state.
        account: as for `move`.
        terms: those of the last move.

    Returns:
        None if the account has no balance, or that of another entitlement.
    """
    machine = BalanceMachine(StoredBalances.of(table), StoredUsage.of(table), account, KEEP_S)
    same = machine.read(terms) and machine.head.entitlement == terms.entitlement
    return machine.status() if same else None


def forget(table: KeyedBytes, account: bytes, terms: Terms) -> None:
    """Remove all state of an account. Arguments as for `read`."""
    stored, usage = StoredBalances.of(table), StoredUsage.of(table)
    machine = BalanceMachine(stored, usage, account, KEEP_S)
    if machine.read(terms):
        machine.delete()
        stored.flush()
        usage.flush()
