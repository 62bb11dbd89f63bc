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
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from pipeline.core.quota import account_balance, balance
from pipeline.core.quota.account_usage import UsageChange, change_of
from pipeline.core.quota.accounts import Account, Accounts
from pipeline.core.quota.balance_result import BalanceOutcome, BalanceStatus
from pipeline.core.quota.entitlement import Entitlement, MeteredEntitlement
from pipeline.core.quota.terms import Terms
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.table import KeyedBytes, ScannedBytes
from pipeline.records import Balance, CustomerWindow, Window

DUE, SEEDED, LATEST, CALLED = b"n", b"s", b"l", b"c"
MOST_CALLED = 2_000  # accounts that one clock record moves; the others are due at the next one
_seconds = struct.Struct(">Q")
_encode = msgspec.json.Encoder().encode


class BalanceMoved(NamedTuple):
    """An account after a record.

    Args:
        account: it.
        entitlement: that is in force, or the last one; None before the first.
        balance: to be published.
        next_s: when it changes next without a record; NEVER_S if never.
        before, outcome, terms: of a metered entitlement that is in force: the balance before the record, what the
            record changed, and by which terms.
        windows: usage in the record, in order.
    """

    account: Account
    entitlement: Entitlement | None
    balance: Balance
    next_s: int
    before: BalanceStatus | None = None
    outcome: BalanceOutcome | None = None
    windows: Sequence[Window] = ()
    terms: Terms | None = None


def by_account(
    windows: Iterable[CustomerWindow], accounts: Accounts, now_s: int
) -> list[tuple[Account, list[Window]]]:
    """Find the accounts to which usage belongs.

    Args:
        windows: of one record.
        accounts: all of them.
        now_s: the broker's time, in seconds since 1970.

    Returns:
        Each account with a metered entitlement of which there is usage, with its windows in order.
    """
    by_key: dict[bytes, tuple[Account, list[Window]]] = {}
    for customer, window in ((one.customer, one.window) for one in windows):
        for account in accounts.of(window.namespace, customer):
            if _takes(accounts, account, window, now_s):
                by_key.setdefault(account.key, (account, []))[1].append(window)
    return list(by_key.values())


def _takes(accounts: Accounts, account: Account, window: Window, now_s: int) -> bool:
    entitlement = account.current(now_s)
    use = accounts.use(entitlement) if isinstance(entitlement, MeteredEntitlement) else None
    if use is None or use.meter != window.meter or not use.takes(window.dimensions):
        return False
    meter = accounts.meter(window.namespace, use)
    return meter is not None and meter.meter_id == window.meter_id


def change(window: Window) -> UsageChange:
    """A window as a change of a balance; its cause is the newest event in it."""
    last = window.events[-1] if window.events else None
    return change_of(window)._replace(cause="" if last is None else _encode(last[:2]).decode())


def move(
    accounts: Accounts,
    account: Account,
    table: KeyedBytes,
    now_s: int,
    position: int,
    windows: Sequence[Window] = (),
) -> BalanceMoved:
    """Bring an account to an instant, with the usage of a record in its balance.

    Args:
        accounts: the definitions.
        account: of the usage.
        table: the state.
        now_s: the broker's time, in seconds since 1970.
        position: offset of the record.
        windows: usage in the record, in order.
    """
    entitlement, now_s = _newest(account, table, now_s)
    next_s = account.next_change_s(now_s)
    received_at_ms = max((window.received_at_ms for window in windows), default=0)
    if entitlement is None or not account.in_force(entitlement.id, now_s):
        nothing = account_balance.no_access(account, entitlement, position, now_s, next_s)
        return BalanceMoved(account, entitlement, nothing, next_s)
    terms = accounts.terms(account, entitlement)
    if terms is None:
        access = account_balance.of_plain(account, entitlement, position, now_s, next_s)
        return BalanceMoved(account, entitlement, access, next_s)
    balance_key = accounts.balance_key(account, entitlement)
    before = balance.read(table, balance_key, terms)
    changes = [change(window) for window in windows]
    outcome = balance.move(table, balance_key, terms, now_s, changes, position)
    status = outcome.status
    next_s = min(next_s, status.next_at_s)
    published = account_balance.of_metered(account, status, position, next_s, received_at_ms)
    return BalanceMoved(account, entitlement, published, next_s, before, outcome, windows, terms)


def _newest(account: Account, table: KeyedBytes, now_s: int) -> tuple[Entitlement | None, int]:
    """The entitlement at `now_s`; if a later one was in force before, that one, at its start."""
    entitlement = account.current(now_s)
    if entitlement is None or len(account.entitlements) == 1:
        return entitlement, now_s
    id = entitlement.id
    (stored,) = table.get_many([LATEST + account.key])
    latest = "" if stored is None else stored.decode()
    if latest in account.spans and account.spans[latest][0] > account.spans[id][0]:
        return account.entitlements[latest], max(now_s, account.spans[latest][0])
    if latest != id:
        table.put(LATEST + account.key, id.encode())
    return entitlement, now_s


def due_at_s(table: KeyedBytes, account: Account) -> int:
    """When the account is due by the state, in seconds since 1970; NEVER_S if never."""
    (stored,) = table.get_many([DUE + account.key])
    return NEVER_S if stored is None else int(_seconds.unpack(stored)[0])


def keep_due(table: KeyedBytes, account: Account, next_s: int) -> None:
    """Write when the account is due."""
    if next_s == due_at_s(table, account):
        return
    if next_s == NEVER_S:
        table.delete(DUE + account.key)
    else:
        table.put(DUE + account.key, _seconds.pack(next_s))


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
