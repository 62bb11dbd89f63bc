"""What one record does to one account: its balance moves, and everything that follows from that, in one step.

Owns: the order of it, and when usage from before is missing. Does not own: the balance (quota.balance_update), what
fires (balance_alerts), what is late (quota.late_usage), writing any of it (agents.alert).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.core.notifications.balance_alerts import AlertAt, Rules, evaluate, next_warning_s
from pipeline.core.quota import balance_update
from pipeline.core.quota.accounts import Account, AccountName, Accounts
from pipeline.core.quota.balance_update import BalanceMoved
from pipeline.core.quota.late_usage import late_usage
from pipeline.core.values.table import KeyedBytes
from pipeline.records import Alert, Balance, LateUsage, Window


class AccountRecord(NamedTuple):
    """What a record of `customer-usage` brings to an account. windows: in order; none where only time passes."""

    at: AlertAt
    windows: Sequence[Window] = ()


class StepState(NamedTuple):
    """What a step reads and writes, and the definitions by which it decides."""

    table: KeyedBytes
    accounts: Accounts
    rules: Rules


class MissingHistory(NamedTuple):
    """Stored usage that an account lacks: of its meter and these subjects, from the minute `since_s` on.

    revision: of the newest definition that attribution must know to give it to the account. mark: names it; a clock
    record carries it once the usage is in.
    """

    account: AccountName
    meter_id: int
    subjects: tuple[str, ...]
    since_s: int
    revision: int
    mark: str


class AccountStep(NamedTuple):
    """What a record made of an account. The state has it already; the rest is to be sent.

    balance: to be published. alerts, late: to be sent. due_s: when the account changes next without a record, in
    seconds; NEVER_S if never. needs_history: None where no stored usage is missing.
    """

    balance: Balance
    alerts: list[Alert]
    late: list[LateUsage]
    due_s: int
    needs_history: MissingHistory | None


def update(account: Account, record: AccountRecord, state: StepState) -> AccountStep:
    """Take a record into an account.

    A record that was taken before changes nothing, and gives the same alerts again. Records are given in the order
    of their positions, except those that are read again.

    Args:
        account: of the customer that the record is about.
        record: with its offset and the broker's time.
        state: of the partition; the account's rows in it are changed.

    Returns:
        What is to be sent.
    """
    table, accounts, rules = state
    at, now_s = record.at, record.at.at_ms // 1000
    moved = balance_update.move(accounts, account, table, now_s, at.position, record.windows)
    alerts = evaluate(table, moved, rules, at)
    due_s = min(moved.next_s, next_warning_s(moved, rules, now_s))
    balance_update.keep_due(table, account, due_s)
    begun_early = (
        moved.outcome is not None and moved.before is None
    )  # usage came before the clock record of its beginning
    looks = not record.windows or begun_early
    return AccountStep(
        moved.balance, alerts, late_usage(moved, at.at_ms), due_s, _missing(moved, state) if looks else None
    )


def _missing(moved: BalanceMoved, state: StepState) -> MissingHistory | None:
    account, entitlement, accounts = moved.account, moved.entitlement, state.accounts
    if entitlement is None:
        return None
    terms, use = accounts.terms(account, entitlement), accounts.use(entitlement)
    meter = None if use is None else accounts.meter(account.name[0], use.meter)
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
