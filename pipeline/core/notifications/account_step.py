"""What one record changes of one account: its balance moves, and all that follows from it, in one step.

Owns: the order of these changes, and when stored usage is missing. Does not own: the balance (quota.balance_update),
what fires (balance_alerts), what is late (quota.late_usage), sending any of it (agents.alert).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.core.notifications.balance_alerts import AlertAt, evaluate, next_warning_s
from pipeline.core.notifications.entitlement_rules import Rules
from pipeline.core.notifications.fired_rows import FiredRows
from pipeline.core.quota import balance_update
from pipeline.core.quota.account_usage import UsageChange, change_of
from pipeline.core.quota.accounts import Account, AccountName, Accounts
from pipeline.core.quota.balance_update import AccountStates, AccountUsage, BalanceMoved
from pipeline.core.quota.late_usage import late_usage
from pipeline.core.values.table import CurrentTable, KeyedBytes
from pipeline.records import Alert, Balance, LateUsage, Window

# What stays in memory of each partition: balances and rows of usage, of 1.6 kB each with what belongs to them; and
# bytes of usage as it is stored, which take four times as much in memory.
MOST_KEPT, MOST_STORED_BYTES = 15_000, 8 << 20


class AccountRecord(NamedTuple):
    """What a record of `customer-usage` brings to an account.

    Args:
        at: the record.
        windows: usage, in order; none where only time passes.
        changes: that the windows are; None: they are found here.
    """

    at: AlertAt
    windows: Sequence[Window] = ()
    changes: Sequence[UsageChange] | None = None


class StepState:
    """The state that steps read and write, and the definitions by which they decide.

    It may stay in memory from chunk to chunk, as long as each chunk is committed and nothing else writes these rows.
    """

    def __init__(self, table: KeyedBytes, accounts: Accounts, rules: Rules, most: int = MOST_KEPT) -> None:
        """Nothing is read.

        Args:
            table: the state.
            accounts: the definitions, which stay the same within a chunk.
            rules: in force, likewise.
            most: balances and rows of usage in memory; of more, all are written and forgotten.
        """
        self._most = most
        self.table, self.accounts, self.rules = CurrentTable(table), accounts, rules
        self.states, self.fired = AccountStates.of(self.table), FiredRows.of(self.table)

    def begin(self, table: KeyedBytes) -> None:
        """Begin a chunk. table: the state, as the last chunk has left it."""
        self.table.table = table

    def make_room(self) -> None:
        """Write and forget everything if too much is in memory."""
        balances = self.states.balances
        if max(len(balances), len(self.states.due)) > self._most or balances.stored_bytes > MOST_STORED_BYTES:
            self.flush()
            self.states, self.fired = AccountStates.of(self.table), FiredRows.of(self.table)

    def load(self, usage: Sequence[AccountUsage]) -> None:
        """Read at once what the steps of a record need of accounts that are not in memory."""
        unread = [one for one in usage if one.counting.key not in self.states.balances]
        if unread:
            self.states.load(unread)
            self.fired.load([(one.account, one.entitlement) for one in unread], self.rules)

    def flush(self) -> None:
        """Write what has changed to the table."""
        self.states.flush()
        self.fired.flush()


class MissingHistory(NamedTuple):
    """Stored usage that an account lacks.

    Args:
        account: namespace, customer and feature.
        meter_id: of its meter.
        subjects: whose usage it is.
        since_s: from this minute on, in seconds since 1970.
        revision: of the newest definition that attribution must have to attribute the usage to the account.
        mark: names the usage; a clock record carries it once the usage was loaded.
    """

    account: AccountName
    meter_id: int
    subjects: tuple[str, ...]
    since_s: int
    revision: int
    mark: str


class AccountStep(NamedTuple):
    """The result of a record for an account. The state is changed already; this is to be sent.

    Args:
        moved: the account, with the balance to be published.
        alerts, late: to be sent.
        due_s: when the account changes next without a record, in seconds since 1970; NEVER_S if never.
        needs_history: None where no stored usage is missing.
    """

    moved: BalanceMoved
    alerts: list[Alert]
    late: list[LateUsage]
    due_s: int
    needs_history: MissingHistory | None

    @property
    def balance(self) -> Balance:
        """The balance after the record."""
        return self.moved.published()


def update(account: Account, record: AccountRecord, state: StepState) -> AccountStep:
    """Apply a record to an account.

    A record that was applied before changes nothing, and gives the same alerts again. Records are given in the order
    of their positions, except those that are read again.

    Args:
        account: of the customer that the record is about.
        record: with its offset and the broker's time.
        state: of the partition; the account's rows in it are changed.
    """
    state.make_room()
    at, windows, changes = record
    now_s, rules = at.at_ms // 1000, state.rules
    if changes is None:
        changes = [change_of(window) for window in windows]
    moved = balance_update.move(state.accounts, account, state.states, now_s, at.position, windows, changes)
    alerts = evaluate(state.fired, moved, rules, at)
    due_s = min(moved.next_s, next_warning_s(moved, rules, now_s))
    balance_update.keep_due(state.states.due, account, due_s)
    # Usage may come before the clock record with which an entitlement begins.
    is_first = moved.outcome is not None and moved.before is None
    missing = _missing(moved, state) if is_first or not windows else None
    return AccountStep(moved, alerts, late_usage(moved, at.at_ms), due_s, missing)


def _missing(moved: BalanceMoved, state: StepState) -> MissingHistory | None:
    account, entitlement, accounts = moved.account, moved.entitlement, state.accounts
    if entitlement is None:
        return None
    terms = accounts.terms(account, entitlement)
    meter = accounts.meter(account.name[0], accounts.use(entitlement))
    if terms is None or meter is None:
        return None
    mark = balance_update.seed_key(accounts, account, entitlement)
    if balance_update.is_seeded(state.table, account, mark):
        return None
    subjects = accounts.subjects(account.name[0], account.name[1])
    return MissingHistory(
        account=account.name,
        meter_id=meter.meter_id,
        subjects=tuple(sorted(subjects)),
        since_s=terms.schedule.start_s,
        revision=max(account.revision, *subjects.values(), 0),
        mark=mark,
    )
