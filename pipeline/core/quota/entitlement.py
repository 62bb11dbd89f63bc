"""An entitlement as it is stored: what a customer may use of a feature, and from when to when.

Owns: the Structs of a definition on `control`, when it is in force, its usage periods. Does not own: the commands
(entitlement_commands), which entitlement a name means (entitlement_lookup), its grants (grant), its terms (terms).

Instants are RFC 3339 on whole minutes, but for createdAt, updatedAt and deletedAt. Amounts are plain decimal text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Final

import msgspec

from pipeline.core.definitions.definition_body import BodyClass, DefinitionBody
from pipeline.core.definitions.kinds import ENTITLEMENT
from pipeline.core.values import calendar, timestamp
from pipeline.core.values import zone as zones
from pipeline.core.values.calendar import DAY_S, MINUTE_S, NEVER_S, Recurrence, Reset, Schedule
from pipeline.errors import Rejected

BOOLEAN: Final = "boolean"
STATIC: Final = "static"
METERED: Final = "metered"
TYPES = (BOOLEAN, STATIC, METERED)


class UsagePeriod(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How often a usage period of a metered entitlement begins.

    Args:
        interval: DAY, WEEK, MONTH, YEAR or an ISO 8601 duration.
        anchor: the start of one of the usage periods, with the offset in which it was sent.
        time_zone: the IANA zone in which days and months are counted; without it, the offset of the anchor.
    """

    interval: str
    anchor: str
    time_zone: str | None = None


class EntitlementReset(msgspec.Struct, frozen=True, rename="camel"):
    """A reset by command.

    Args:
        effective_at: when the usage period begins.
        anchor: of this usage period and those after it.
        preserve_overage: whether the overage is carried over.
    """

    effective_at: str
    anchor: str
    preserve_overage: bool


class Entitlement(DefinitionBody, frozen=True, kw_only=True):
    """What every entitlement has; a boolean one has nothing else. managed_by: id of a subscription."""

    kind: ClassVar[str] = ENTITLEMENT

    id: str
    type: str
    customer_id: str
    feature_id: str
    feature_key: str
    active_from: str
    active_to: str | None = None
    metadata: dict[str, str] | None = None
    managed_by: str | None = None
    created_at: str = ""
    updated_at: str = ""
    deleted_at: str | None = None

    @classmethod
    def shape(cls, members: Mapping[str, object]) -> BodyClass:
        """The class that holds the members of the entitlement's type."""
        shapes: dict[str, BodyClass] = {STATIC: StaticEntitlement, METERED: MeteredEntitlement}
        return shapes.get(str(members.get("type")), cls)

    @cached_property
    def span(self) -> tuple[int, int]:
        """[start, end) in which it is in force, in seconds since 1970; the end is NEVER_S if none is set."""
        ends = [timestamp.minute_s(text) for text in (self.active_to, self.deleted_at) if text is not None]
        return timestamp.minute_s(self.active_from), min(ends, default=NEVER_S)

    def in_force(self, at_s: int) -> bool:
        """Whether it is in force at an instant, in seconds since 1970."""
        start_s, end_s = self.span
        return start_s <= at_s < end_s


class StaticEntitlement(Entitlement, frozen=True, kw_only=True):
    """config: JSON, as text."""

    config: str


class MeteredEntitlement(Entitlement, frozen=True, kw_only=True):
    """An entitlement with a balance.

    Args:
        usage_period: how often its usage periods begin.
        measure_usage_from: since when usage counts.
        is_soft_limit, is_unlimited: access continues when nothing is left.
        issue_after_reset: the balance from which each usage period begins, and the priority of that grant.
        preserve_overage_at_reset: whether automatic resets carry the overage over.
        grace_period: how long access continues when nothing is left: an interval without months.
        resets: those by command, oldest first.
    """

    usage_period: UsagePeriod
    measure_usage_from: str
    is_soft_limit: bool
    is_unlimited: bool | None = None
    issue_after_reset: str | None = None
    issue_after_reset_priority: int | None = None
    preserve_overage_at_reset: bool
    grace_period: str | None = None
    resets: list[EntitlementReset]

    @cached_property
    def schedule(self) -> Schedule:
        """Its usage periods."""
        period = self.usage_period
        zone = zones.named_or_offset(period.time_zone, period.anchor)
        recurrence = Recurrence(calendar.parse(period.interval), timestamp.minute_s(period.anchor), zone)
        resets = (self._reset(one) for one in self.resets)
        return Schedule(timestamp.minute_s(self.measure_usage_from), recurrence, tuple(resets))

    def _reset(self, reset: EntitlementReset) -> Reset:
        return Reset(
            timestamp.minute_s(reset.effective_at),
            timestamp.minute_s(reset.anchor),
            reset.preserve_overage,
            zones.named_or_offset(self.usage_period.time_zone, reset.anchor),
        )

    @property
    def anchor(self) -> str:
        """The anchor of the newest usage periods."""
        return self.resets[-1].anchor if self.resets else self.usage_period.anchor

    @property
    def zone(self) -> str:
        """The zone in which the newest usage periods step: an IANA name or an offset."""
        return zones.named_or_offset(self.usage_period.time_zone, self.anchor)

    @property
    def grace_s(self) -> int:
        """The grace period, in seconds."""
        return 0 if self.grace_period is None else grace_s(self.grace_period)


def grace_s(text: str) -> int:
    """A grace period in seconds.

    Args:
        text: an interval without months.

    Raises:
        Rejected: `bad-interval`.
    """
    interval = calendar.parse(text, MINUTE_S)
    if interval.months:
        raise Rejected("bad-interval", "a grace period is given in minutes, hours, days or weeks")
    return interval.days * DAY_S + interval.seconds
