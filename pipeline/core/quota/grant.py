"""Grants: an amount of usage that an entitlement may take, when, in which order, and what of it outlives a reset.

Owns: the Structs of a definition on `control`, when a grant is active, when it is filled, the order of burning,
rollover. Does not own: the commands (grant_commands), burning (burndown), calendars (values.calendar).

Source: OpenMeter, openmeter/credit/grant/grant.go at commit 7e57a394; the zones are ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import GRANT
from pipeline.core.values import calendar, number, timestamp
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import NEVER_S, Recurrence


class GrantExpiration(msgspec.Struct, frozen=True):
    """After `effectiveAt`: so many hours, days, weeks, months or years."""

    duration: str
    count: int


class GrantRecurrence(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """At each tick the balance becomes the amount, whatever was left.

    Args:
        interval: DAY, WEEK, MONTH, YEAR or an ISO 8601 duration.
        anchor: one of the ticks, with the offset in which it was sent.
        time_zone: the IANA zone in which it steps; without it, the offset of the anchor.
    """

    interval: str
    anchor: str
    time_zone: str | None = None


class GrantDefinition(DefinitionBody, frozen=True, kw_only=True):
    """A grant as it is stored. Instants are RFC 3339, amounts plain decimal text.

    Args:
        expires_at: `effective_at` plus the expiration. It and the recurrence step in the recurrence's zone, else in
            that of the entitlement's usage period, else in the customer's, else in the offset of their first instant.
        issued_after_reset: it is the entitlement's `issueAfterReset`.
        voided_at: since when it gives nothing.
    """

    kind: ClassVar[str] = GRANT

    id: str
    entitlement_id: str
    amount: str
    priority: int
    effective_at: str
    expiration: GrantExpiration | None = None
    expires_at: str | None = None
    recurrence: GrantRecurrence | None = None
    min_rollover_amount: str
    max_rollover_amount: str
    created_at: str
    updated_at: str
    metadata: dict[str, str] | None = None
    issued_after_reset: bool | None = None
    voided_at: str | None = None


class Grant(msgspec.Struct, frozen=True):
    """A grant as it burns, active in [effective_at_s, ends_at_s). Amounts are atto, instants seconds since 1970.

    Args:
        amount: its balance when it is filled.
        priority: a lower one burns first.
        expires_at_s: by its expiration, NEVER_S without one; it orders the burning even of a voided grant.
        recurrence: at each tick the balance becomes the amount, whatever was left.
        min_rollover, max_rollover: what a reset leaves at least and at most.
        created_at_ms: milliseconds since 1970.
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
        return self.recurrence is not None and calendar.is_tick(self.recurrence, at_s)

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
        return min(self.ends_at_s, calendar.next_tick(self.recurrence, after_s))


def burn_order(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Grants in the order of burning: by priority, then the first to expire, then the first created, then by id."""
    return tuple(sorted(grants, key=lambda g: (g.priority, g.expires_at_s, g.created_at_ms, g.id)))


def grant_of(definition: GrantDefinition) -> Grant:
    """The grant that a definition gives."""
    expires_at, voided_at, recurrence = definition.expires_at, definition.voided_at, definition.recurrence
    return Grant(
        id=definition.id,
        amount=number.exact(definition.amount),
        effective_at_s=timestamp.minute_s(definition.effective_at),
        priority=definition.priority,
        expires_at_s=NEVER_S if expires_at is None else timestamp.minute_s(expires_at),
        voided_at_s=NEVER_S if voided_at is None else timestamp.minute_s(voided_at),
        recurrence=None if recurrence is None else _recurrence_of(recurrence),
        min_rollover=number.exact(definition.min_rollover_amount),
        max_rollover=number.exact(definition.max_rollover_amount),
        created_at_ms=timestamp.ms_of(definition.created_at),
    )


def _recurrence_of(recurrence: GrantRecurrence) -> Recurrence:
    zone = zones.named_or_offset(recurrence.time_zone, recurrence.anchor)
    return Recurrence(calendar.parse(recurrence.interval), timestamp.minute_s(recurrence.anchor), zone)
