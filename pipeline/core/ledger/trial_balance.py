"""Trial balances: the sum of each account over all transactions, which is 0 in total.

Owns: adding transactions up, each id once, and naming what does not add up. Does not own: reading them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from pipeline.core.values import number
from pipeline.records import LedgerAccount, LedgerTransaction


class AccountBalance(msgspec.Struct, frozen=True, rename="camel"):
    """An account in a currency. Plain decimal text in major units; debits are below 0 in entries, and shown above."""

    account: LedgerAccount
    currency: str
    debit: str
    credit: str
    balance: str


class TrialBalance(NamedTuple):
    """rows: by currency and account. transactions: how many. differences: sentences; none if the ledger balances."""

    rows: list[AccountBalance]
    transactions: int
    differences: list[str]


def trial_balance(transactions: Iterable[LedgerTransaction], until_ms: int | None = None) -> TrialBalance:
    """Add transactions up.

    Args:
        transactions: in any order; one that is there twice counts once.
        until_ms: only what is booked for this instant (ms since 1970) or earlier; None: all.
    """
    known: dict[str, LedgerTransaction] = {}
    differences: list[str] = []
    for one in transactions:
        before = known.setdefault(one.id, one)
        if before != one:
            differences.append(f"The transaction {one.id} is there with two contents.")
    sums: dict[tuple[str, LedgerAccount], list[int]] = {}
    count = 0
    for one in known.values():
        if until_ms is not None and one.at_ms > until_ms:
            continue
        count += 1
        amounts = [number.parse(entry.amount) for entry in one.entries]
        if total := sum(amounts):
            differences.append(f"The transaction {one.id} sums to {number.text(total)}, not to 0.")
        for entry, amount in zip(one.entries, amounts, strict=True):
            sides = sums.setdefault((one.currency, entry.account), [0, 0])
            sides[amount > 0] += amount
    rows = [
        AccountBalance(
            account, currency, number.text(-debit), number.text(credit), number.text(debit + credit)
        )
        for (currency, account), (debit, credit) in sorted(sums.items())
    ]
    return TrialBalance(rows, count, differences)
