"""ALERT: usage by customer in, balances out; what is due without an event comes as a clock record.

Owns: which accounts a record changes, the change that a window is, how an account moves, when it is due, which stored
usage it has. Does not own: the balance itself (balance), what fires (notifications.balance_alerts), the order of a
step (notifications.account_step).

In the state, beside the rows of balance (under `Accounts.balance_key`), by `accounts.account_key`:
    n + account   when it is due next, seconds (u64)
    s + account   the stored usage that was loaded: `seed_key`
    l + account   the newest entitlement (id) of the account: time never goes back to the one before
    c + position of a clock record (u64) + account   empty: it was due at the record. Removed after the next records
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from pipeline.core.quota import account_balance
from pipeline.core.quota.account_usage import UsageChange, change_of
from pipeline.core.quota.accounts import Account, Accounts, Counting
from pipeline.core.quota.balance import HeldBalances
from pipeline.core.quota.balance_result import BalanceOutcome, OpenPhase
from pipeline.core.quota.entitlement import Entitlement
from pipeline.core.quota.terms import Terms
from pipeline.core.values.cached_rows import CachedRows
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.table import KeyedBytes, ScannedBytes
from pipeline.records import Balance, CustomerWindow, Window

DUE, SEEDED, LATEST, CALLED = b"n", b"s", b"l", b"c"
MOST_CALLED = 2_000  # accounts that one clock record moves; the others are due at the next one
_seconds = struct.Struct(">Q")


class BalanceMoved(NamedTuple):
    """An account after a record.

    Args:
        account: it.
        entitlement: that is in force, or the last one; None before the first.
        published: makes the balance to be published, which only the last record of a chunk needs.
        next_s: when it changes next without a record; NEVER_S if never.
        before, outcome, terms: of a metered entitlement that is in force: the balance before the record, what the
            record changed, and by which terms.
        windows: usage in the record, in order.
        received_at_ms: when the newest usage in the balance was received; 0 if the record has none.
    """

    account: Account
    entitlement: Entitlement | None
    published: Callable[[], Balance]
    next_s: int
    before: OpenPhase | None = None
    outcome: BalanceOutcome | None = None
    windows: Sequence[Window] = ()
    terms: Terms | None = None
    received_at_ms: int = 0


class AccountUsage(NamedTuple):
    """The usage that a record has of an account.

    Args:
        account: it.
        counting: of the entitlement that is in force.
        windows: in order.
        changes: that the windows are.
    """

    account: Account
    entitlement: Entitlement
    counting: Counting
    windows: list[Window]
    changes: list[UsageChange]


class AccountStates(NamedTuple):
    """The state of all accounts: each row is read once and written once a chunk, by `flush`.

    Args:
        balances: of them.
        due: `n` rows, seconds since 1970.
        latest: `l` rows, ids of entitlements.
    """

    balances: HeldBalances
    due: CachedRows[int]
    latest: CachedRows[str]

    @classmethod
    def of(cls, table: KeyedBytes) -> AccountStates:
        """That in a table."""
        due = CachedRows(table, lambda value: int(_seconds.unpack(value)[0]), _seconds.pack)
        return cls(HeldBalances(table), due, CachedRows(table, bytes.decode, str.encode))

    def load(self, usage: Sequence[AccountUsage]) -> None:
        """Read at once what `move` and `keep_due` need of a record."""
        self.balances.load([(one.counting.key, {change.minute_s for change in one.changes}) for one in usage])
        self.due.load([DUE + one.account.key for one in usage])
        self.latest.load([LATEST + one.account.key for one in usage if len(one.account.entitlements) > 1])

    def flush(self) -> None:
        """Write what has changed to the table."""
        self.balances.flush()
        self.due.flush()
        self.latest.flush()


def by_account(windows: Iterable[CustomerWindow], accounts: Accounts, now_s: int) -> list[AccountUsage]:
    """Find the accounts to which usage belongs.

    Args:
        windows: of one record.
        accounts: all of them.
        now_s: the broker's time, in seconds since 1970.

    Returns:
        Each account with a metered entitlement of which there is usage.
    """
    metered: dict[tuple[str, str], list[AccountUsage]] = {}
    found: dict[bytes, AccountUsage] = {}
    for one in windows:
        window, change = one.window, None
        customer = (window.namespace, one.customer)
        if customer not in metered:
            metered[customer] = _metered(accounts, customer, now_s)
        for usage in metered[customer]:
            use = usage.counting.use
            if use is None or usage.counting.meter_id != window.meter_id or use.meter != window.meter:
                continue
            if use.takes(window.dimensions):
                change = change or change_of(window)
                usage.windows.append(window)
                usage.changes.append(change)
                found.setdefault(usage.account.key, usage)
    return list(found.values())


def _metered(accounts: Accounts, customer: tuple[str, str], now_s: int) -> list[AccountUsage]:
    """The accounts of a customer whose present entitlement is metered, without usage."""
    found = []
    for account in accounts.of(*customer):
        entitlement = account.current(now_s)
        counting = None if entitlement is None else accounts.counting(account, entitlement)
        if entitlement is not None and counting is not None and counting.use is not None:
            found.append(AccountUsage(account, entitlement, counting, [], []))
    return found


def move(
    accounts: Accounts,
    account: Account,
    states: AccountStates,
    now_s: int,
    position: int,
    windows: Sequence[Window] = (),
    changes: Sequence[UsageChange] = (),
) -> BalanceMoved:
    """Bring an account to an instant, with the usage of a record in its balance.

    Args:
        accounts: the definitions.
        account: of the usage.
        states: the state, which is changed.
        now_s: the broker's time, in seconds since 1970.
        position: offset of the record.
        windows: usage in the record, in order.
        changes: that the windows are.
    """
    entitlement, now_s = _newest(account, states.latest, now_s)
    next_s = account.next_change_s(now_s)
    if entitlement is None or not account.in_force(entitlement.id, now_s):
        nothing = partial(account_balance.no_access, account, entitlement, position, now_s, next_s)
        return BalanceMoved(account, entitlement, nothing, next_s)
    counting = accounts.counting(account, entitlement)
    terms = counting.terms
    if terms is None:
        access = partial(account_balance.of_plain, account, entitlement, position, now_s, next_s)
        return BalanceMoved(account, entitlement, access, next_s)
    outcome = states.balances.move(counting.key, terms, now_s, changes, position)
    status = outcome.status
    next_s = min(next_s, status.next_at_s)
    received_at_ms = max([window.received_at_ms for window in windows], default=0)
    published = partial(account_balance.of_metered, account, status, position, next_s, received_at_ms)
    return BalanceMoved(
        account, entitlement, published, next_s, outcome.before, outcome, windows, terms, received_at_ms
    )


def _newest(account: Account, latest: CachedRows[str], now_s: int) -> tuple[Entitlement | None, int]:
    """The entitlement at `now_s`; if a later one was in force before, that one, at its start."""
    entitlement = account.current(now_s)
    if entitlement is None or len(account.entitlements) == 1:
        return entitlement, now_s
    id, key = entitlement.id, LATEST + account.key
    stored = latest.get(key) or ""
    if stored in account.spans and account.spans[stored][0] > account.spans[id][0]:
        return account.entitlements[stored], max(now_s, account.spans[stored][0])
    if stored != id:
        latest.put(key, id)
    return entitlement, now_s


def keep_due(due: CachedRows[int], account: Account, next_s: int) -> None:
    """Keep when the account is due next, in seconds since 1970; NEVER_S if never."""
    key, at_s = DUE + account.key, None if next_s == NEVER_S else next_s
    if due.get(key) != at_s:
        due.put(key, at_s)


def read_due(row: tuple[bytes, bytes]) -> tuple[bytes, int]:
    """(key of the account, seconds since 1970) of a row under DUE."""
    key, value = row
    return key[len(DUE) :], int(_seconds.unpack(value)[0])


def called(table: ScannedBytes, position: int) -> list[bytes]:
    """The keys of the accounts that were due at the clock record at `position` when it was read before."""
    start = CALLED + _seconds.pack(position)
    return [key[len(start) :] for key, _ in table.scan(start, MOST_CALLED) if key.startswith(start)]


def keep_called(table: ScannedBytes, position: int, accounts: Iterable[bytes], first: int) -> None:
    """Write which accounts are due at the record at `position`. Records before `first` will not be read again."""
    for account in accounts:
        table.put(CALLED + _seconds.pack(position) + account, b"")
    end = CALLED + _seconds.pack(first)
    for key, _ in table.scan(CALLED, 2 * MOST_CALLED):
        if key >= end:
            break
        table.delete(key)


def seed_key(accounts: Accounts, account: Account, entitlement: Entitlement) -> str:
    """A name for the stored usage that an entitlement needs: it differs by entitlement, meter and newest subject."""
    subjects = accounts.subjects(account.name[0], account.name[1])
    meter = accounts.meter(account.name[0], accounts.use(entitlement))
    meter_id = 0 if meter is None else meter.meter_id
    return f"{entitlement.id}/{meter_id}/{max(subjects.values(), default=0)}"


def is_seeded(table: KeyedBytes, account: Account, mark: str) -> bool:
    """Whether the stored usage of this name was loaded."""
    (stored,) = table.get_many([SEEDED + account.key])
    return stored == mark.encode()


def keep_seeded(table: KeyedBytes, account: Account, mark: str) -> None:
    """Write that the stored usage of this name was loaded."""
    table.put(SEEDED + account.key, mark.encode())
