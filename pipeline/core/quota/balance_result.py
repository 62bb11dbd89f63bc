"""A balance as it leaves the state machine: for `balances`, for thresholds and for history.

Owns: these shapes, and a balance's status from its state. Does not own: how it moves (balance), what follows
from it (notifications.threshold, agents).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.core.quota import burndown
from pipeline.core.quota import terms as terms_
from pipeline.core.quota.balance_state import BalanceHead
from pipeline.core.quota.burndown import Segment, Snapshot
from pipeline.core.quota.grant import Grant
from pipeline.core.quota.terms import Terms
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


class OpenPhase(NamedTuple):
    """A balance between two records, as far as usage moves it.

    Args:
        order: its grants in burning order.
        before: the snapshot at the start of the open phase.
        to_s: end of the phase, in seconds since 1970.
        usage: of the phase so far, in atto.
        latest: whether the meter is a LATEST one.
    """

    order: Sequence[Grant]
    before: Snapshot
    to_s: int
    usage: int
    latest: bool = False

    def burnt(self) -> Snapshot:
        """The balance, its usage and what was available."""
        return burndown.step(self.order, self.before, self.to_s, self.usage, self.latest)[1]


class BalanceOutcome(NamedTuple):
    """What a move leads to.

    Args:
        status: the balance afterwards.
        resets: usage periods that have ended since the move before, oldest first.
        corrections: late usage that the record brought.
        before: the balance before the move; None if the account had none for this entitlement.
    """

    status: BalanceStatus
    resets: list[ResetDone]
    corrections: list[Correction]
    before: OpenPhase | None


def status_of(
    terms: Terms, head: BalanceHead, before: Snapshot, segment: Segment, after: Snapshot, late: int
) -> BalanceStatus:
    """The balance as of the minute of its head.

    Args:
        terms: of the entitlement.
        head: of the balance in the state.
        before: the snapshot at the start of the open phase.
        segment: the open phase as far as it has come.
        after: the snapshot at its end.
        late: usage of the period that arrived late, in atto.
    """
    balance = after.balance
    return BalanceStatus(
        entitlement=terms.entitlement,
        revision=terms.revision,
        position=head.position,
        at_s=head.now_s,
        balance=balance,
        usage=after.usage,
        overage=max(0, after.overage),
        total_available=after.burnt + balance,
        has_access=terms_.has_access(terms, balance, after.exhausted_at_s, head.now_s),
        since_s=before.since_s,
        until_s=head.period_to_s,
        exhausted_at_s=after.exhausted_at_s,
        next_at_s=_next_at_s(terms, head, before, after),
        balances=segment.balances_at_end,
        late=late,
        late_count=head.late_count,
    )


def _next_at_s(terms: Terms, head: BalanceHead, before: Snapshot, after: Snapshot) -> int:
    if head.now_s >= terms.ends_at_s:
        return NEVER_S
    ahead_s = head.ahead[0] if head.ahead else NEVER_S
    over_s = NEVER_S if after.exhausted_at_s == NEVER_S else after.exhausted_at_s + terms.grace_s
    next_s, now_s = NEVER_S, head.now_s
    for at_s in (terms.starts_at_s, before.at_s, head.phase_to_s, ahead_s, over_s):
        if now_s < at_s < next_s:
            next_s = at_s
    return next_s
