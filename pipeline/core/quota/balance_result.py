"""A balance as it leaves the state machine: for `balances`, for thresholds and for history.

Owns: these shapes, and a balance's status from its state. Does not own: how it moves (balance), what follows
from it (notifications.threshold, agents).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pipeline.core.quota import terms as terms_
from pipeline.core.quota.balance_state import BalanceHead
from pipeline.core.quota.burndown import Segment, Snapshot
from pipeline.core.quota.terms import Terms
from pipeline.core.values import number
from pipeline.core.values.calendar import NEVER_S


class BalanceStatus(NamedTuple):
    """A balance as of a minute. Amounts are atto, instants seconds since 1970.

    Args:
        entitlement: its id.
        revision: of the terms.
        position: offset of the last record whose usage is in.
        at_s: the minute.
        balance: what is left of all active grants.
        usage: of the usage period so far.
        overage: the part that no grant has paid for; never below zero.
        total_available: what grants gave in the usage period.
        has_access: whether the customer may go on.
        since_s, until_s: the usage period.
        exhausted_at_s: since when the balance is zero; NEVER_S while it is not.
        next_at_s: when something changes next without an event; NEVER_S if never.
        balances: of the active grants by id.
        late, late_count: usage of the period that arrived late, and in how many minutes.
    """

    entitlement: str
    revision: int
    position: int
    at_s: int
    balance: int
    usage: int
    overage: int
    total_available: int
    has_access: bool
    since_s: int
    until_s: int
    exhausted_at_s: int
    next_at_s: int
    balances: Mapping[str, int]
    late: int = 0
    late_count: int = 0


class ResetDone(NamedTuple):
    """A usage period [since_s, at_s) that has ended, with its totals before the rollover. manual: by a command."""

    at_s: int
    since_s: int
    balance: int
    usage: int
    overage: int
    total_available: int
    manual: bool


class Correction(NamedTuple):
    """Usage that arrived late.

    Args:
        minute_s: its minute, in seconds since 1970.
        change: in atto.
        at_s: when it arrived.
        counted: false where usage of that time is not in the state any more, so that no balance has it.
    """

    minute_s: int
    change: int
    at_s: int
    counted: bool


class BalanceOutcome(NamedTuple):
    """What a move leads to.

    Args:
        status: the balance afterwards.
        resets: usage periods that have ended since the move before, oldest first.
        corrections: late usage that the record brought.
        cause: of the newest change that has an effect.
    """

    status: BalanceStatus
    resets: list[ResetDone]
    corrections: list[Correction]
    cause: str


def status_of(
    terms: Terms, head: BalanceHead, before: Snapshot, segment: Segment, after: Snapshot
) -> BalanceStatus:
    """The balance as of the minute of its head.

    Args:
        terms: of the entitlement.
        head: of the balance in the state.
        before: the snapshot at the start of the open phase.
        segment: the open phase as far as it has come.
        after: the snapshot at its end.
    """
    return BalanceStatus(
        entitlement=terms.entitlement,
        revision=terms.revision,
        position=head.position,
        at_s=head.now_s,
        balance=after.balance,
        usage=after.usage,
        overage=max(0, after.overage),
        total_available=after.total_available,
        has_access=terms_.has_access(terms, after.balance, after.exhausted_at_s, head.now_s),
        since_s=before.since_s,
        until_s=head.period_to_s,
        exhausted_at_s=after.exhausted_at_s,
        next_at_s=_next_at_s(terms, head, before, after),
        balances=segment.balances_at_end,
        late=number.exact(head.late),
        late_count=head.late_count,
    )


def _next_at_s(terms: Terms, head: BalanceHead, before: Snapshot, after: Snapshot) -> int:
    if head.now_s >= terms.ends_at_s:
        return NEVER_S
    instants = [terms.starts_at_s, before.at_s, head.phase_to_s, *head.ahead[:1]]
    if after.exhausted_at_s != NEVER_S:
        instants.append(after.exhausted_at_s + terms.grace_s)
    return min((at_s for at_s in instants if at_s > head.now_s), default=NEVER_S)
