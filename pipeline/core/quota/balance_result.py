"""What a balance comes to: the shapes that leave the state machine, for snapshots, thresholds and history.

Owns: these shapes. Does not own: how they come about (balance), what is made of them (notifications.threshold, agents).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class BalanceStatus(NamedTuple):
    """A balance as of the minute `at_s`. Amounts are atto; balances: of active grants by id.

    overage is never shown below zero. since_s, until_s: the usage period. next_at_s: the next instant at which
    something changes without an event (NEVER_S: none). late: usage of this period that arrived late, in atto, and in
    how many minutes. position: of the last record in it.
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
    """A usage period that began at `since_s` ended at `at_s`: what it came to, before anything was rolled over."""

    at_s: int
    since_s: int
    balance: int
    usage: int
    overage: int
    total_available: int
    manual: bool


class Correction(NamedTuple):
    """Usage that came late: `change` in minute `minute_s`, seen at `at_s`.

    counted: false where the usage of that time is no longer kept, so that no balance saw it.
    """

    minute_s: int
    change: int
    at_s: int
    counted: bool


class BalanceOutcome(NamedTuple):
    """standing: afterwards. resets: done since, oldest first. cause: of the newest change that moved something."""

    status: BalanceStatus
    resets: list[ResetDone]
    corrections: list[Correction]
    cause: str
