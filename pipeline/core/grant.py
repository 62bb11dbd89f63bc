"""Grants: an amount of usage that an entitlement may take, when, in which order, and what of it outlives a reset.

Owns: when a grant is active, when it is filled, the order of burning, rollover. Does not own: burning (credit), the
commands that make and void grants (grant_command), calendars (period).
Amounts are atto (see number), instants whole minutes in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core import period
from pipeline.core.period import NEVER_S, Recurrence


class Grant(msgspec.Struct, frozen=True):
    """A grant as it burns. Active in [effective_at_s, ends_at_s).

    expires_at_s: by its expiration, NEVER_S without one; it orders the burning even where the grant was voided.
    recurrence: at each tick the balance becomes the amount, whatever was left.
    """

    id: str
    amount: int
    effective_at_s: int
    priority: int = 1
    expires_at_s: int = NEVER_S
    voided_at_s: int = NEVER_S
    recurrence: Recurrence | None = None
    min_rollover: int = 0
    max_rollover: int = 0
    created_at_ms: int = 0

    @property
    def ends_at_s(self) -> int:
        """When it is no longer active."""
        return min(self.expires_at_s, self.voided_at_s)

    def active(self, at_s: int) -> bool:
        """Whether it may be burnt at that instant."""
        return self.effective_at_s <= at_s < self.ends_at_s

    def filled(self, at_s: int) -> bool:
        """Whether its balance becomes the amount at that instant."""
        if self.effective_at_s == at_s:
            return True
        return self.recurrence is not None and period.is_tick(self.recurrence, at_s)

    def rolled_over(self, balance: int) -> int:
        """What a reset leaves of `balance`."""
        return min(self.max_rollover, max(self.min_rollover, balance))

    def next_change(self, after_s: int) -> int:
        """The next instant after `after_s` at which it begins, ends or is filled; NEVER_S if none."""
        if after_s < self.effective_at_s:
            return self.effective_at_s if self.effective_at_s < self.ends_at_s else NEVER_S
        if after_s >= self.ends_at_s:
            return NEVER_S
        if self.recurrence is None:
            return self.ends_at_s
        return min(self.ends_at_s, period.next_tick(self.recurrence, after_s))


def burn_order(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """In the order of burning: priority, then what expires first, then what was made first, then id."""
    return tuple(sorted(grants, key=lambda g: (g.priority, g.expires_at_s, g.created_at_ms, g.id)))


def issue(entitlement: str, amount: int, priority: int, from_s: int, created_at_ms: int) -> Grant:
    """The grant of `issueAfterReset`: back to the amount at every reset, for ever."""
    return Grant(
        id=entitlement,
        amount=amount,
        effective_at_s=from_s,
        priority=priority,
        min_rollover=amount,
        max_rollover=amount,
        created_at_ms=created_at_ms,
    )
