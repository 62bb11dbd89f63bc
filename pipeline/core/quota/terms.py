"""The terms of a metered entitlement: all that its balance depends on, except usage.

Owns: the compiled form of its definitions, the resets that follow from it, access. Does not own: the definitions
(entitlement, grant), the burn-down (burndown), state (balance).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from pipeline.core.quota import burndown
from pipeline.core.quota.burndown import Snapshot
from pipeline.core.quota.entitlement import MeteredEntitlement
from pipeline.core.quota.grant import Grant, GrantDefinition, burn_order, grant_of
from pipeline.core.values import calendar
from pipeline.core.values.calendar import NEVER_S, Schedule

Counted = Literal["SUM", "COUNT", "UNIQUE_COUNT", "LATEST"]
COUNTED: tuple[Counted, ...] = ("SUM", "COUNT", "UNIQUE_COUNT", "LATEST")


def counted(aggregation: str) -> Counted | None:
    """The aggregation of a meter of which a balance can be kept; None for the others."""
    return next((one for one in COUNTED if one == aggregation), None)


class Terms(msgspec.Struct, frozen=True):
    """A metered entitlement in force.

    Args:
        entitlement: its id.
        revision: of the control log; other terms have another one.
        aggregation: of its meter.
        schedule: its usage periods; usage counts from their start on.
        order: its grants in burning order.
        preserve: whether the overage is carried over automatic resets.
        soft, unlimited: access does not end with the balance; the overage is counted all the same.
        grace_s: how long access continues once the balance is zero, in seconds.
        starts_at_s, ends_at_s: when the entitlement is in force, [start, end).
    """

    entitlement: str
    revision: int
    aggregation: Counted
    schedule: Schedule
    order: tuple[Grant, ...] = ()
    preserve: bool = False
    soft: bool = False
    grace_s: int = 0
    starts_at_s: int = 0
    ends_at_s: int = NEVER_S
    unlimited: bool = False

    @property
    def latest(self) -> bool:
        return self.aggregation == "LATEST"


def terms_of(
    entitlement: MeteredEntitlement, grants: Iterable[GrantDefinition], aggregation: Counted, revision: int
) -> Terms:
    """Compile the terms of an entitlement.

    Args:
        entitlement: its definition.
        grants: its own, in any order.
        aggregation: of its meter.
        revision: the newest of all of these definitions.
    """
    starts_at_s, ends_at_s = entitlement.span
    return Terms(
        entitlement=entitlement.id,
        revision=revision,
        aggregation=aggregation,
        schedule=entitlement.schedule,
        order=burn_order(map(grant_of, grants)),
        preserve=entitlement.preserve_overage_at_reset,
        soft=entitlement.is_soft_limit,
        unlimited=bool(entitlement.is_unlimited),
        grace_s=entitlement.grace_s,
        starts_at_s=starts_at_s,
        ends_at_s=ends_at_s,
    )


def begin(terms: Terms) -> Snapshot:
    """The state with which measuring begins."""
    return burndown.begin(terms.order, terms.schedule.start_s)


def preserves(terms: Terms, at_s: int) -> bool:
    """Whether the reset at `at_s` keeps the overage."""
    manual = calendar.manual_reset(terms.schedule, at_s)
    return terms.preserve if manual is None else manual.preserve


def resets(terms: Terms, after_s: int, until_s: int) -> Iterator[tuple[int, bool]]:
    """All resets in (after_s, until_s], automatic and manual ones: instant, whether overage is kept."""
    at_s = calendar.usage_period(terms.schedule, after_s)[1]
    while at_s <= until_s:
        yield at_s, preserves(terms, at_s)
        at_s = calendar.usage_period(terms.schedule, at_s)[1]


def has_access(terms: Terms, balance: int, exhausted_at_s: int, at_s: int) -> bool:
    """Whether a customer may go on: something is left, there is no hard limit, or the grace period is not over.

    Args:
        terms: of the entitlement.
        balance: what is left, in atto.
        exhausted_at_s: since when nothing is left; NEVER_S if something is.
        at_s: the instant, in seconds since 1970.

    Source: OpenMeter, openmeter/entitlement/metered/connector.go at commit 7e57a394; the grace period is ours.
    """
    if not terms.starts_at_s <= at_s < terms.ends_at_s:
        return False
    if terms.soft or terms.unlimited or balance > 0:
        return True
    return exhausted_at_s != NEVER_S and at_s < exhausted_at_s + terms.grace_s
