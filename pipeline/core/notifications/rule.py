"""A notification rule as it is stored: what fires, for which features or meter, and to which endpoints.

Owns: the Structs of a definition on `control`, one for each type of rule. Does not own: the commands (rule_commands),
when something fires (threshold, balance_alerts, volume_alerts, invoice_events, credit_events), endpoints (endpoint).

Amounts are plain decimal text. EXPIRING, VOLUME, CREDIT and OVERDUE are ours.
Source: OpenMeter, openmeter/notification/rule.go at commit 7e57a394.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Literal

import msgspec

from pipeline.core.definitions.definition_body import BodyClass, DefinitionBody
from pipeline.core.definitions.kinds import RULE
from pipeline.core.notifications.threshold import Rearm, Threshold
from pipeline.core.values import calendar, number
from pipeline.core.values.calendar import Interval

BALANCE, RESET = "entitlements.balance.threshold", "entitlements.reset"
EXPIRING, VOLUME = "entitlements.grant.expiring", "meter.volume.threshold"
CREDIT = "credit.low_balance"
CREATED, UPDATED, OVERDUE = "invoice.created", "invoice.updated", "invoice.overdue"
VolumeSize = Literal["MINUTE", "HOUR", "DAY"]


class RuleFeature(msgspec.Struct, frozen=True):
    """A feature that a rule is about; either of both names it."""

    id: str
    key: str


class RuleThreshold(msgspec.Struct, frozen=True):
    """type: as it was sent, deprecated names too."""

    type: str
    value: str


class Rule(DefinitionBody, frozen=True, kw_only=True):
    """What every rule has. One of a type that this version does not know never fires.

    Args:
        channels: ids of the endpoints.
    """

    kind: ClassVar[str] = RULE

    id: str
    type: str
    name: str
    channels: list[str]
    disabled: bool
    metadata: dict[str, str] | None = None
    created_at: str = ""
    updated_at: str = ""
    deleted_at: str | None = None

    @classmethod
    def shape(cls, members: Mapping[str, object]) -> BodyClass:
        """The class that holds the members of the rule's type."""
        shapes: dict[str, BodyClass] = {
            BALANCE: BalanceRule,
            RESET: ResetRule,
            EXPIRING: ExpiringRule,
            VOLUME: VolumeRule,
            CREDIT: CreditRule,
            **dict.fromkeys((CREATED, UPDATED, OVERDUE), InvoiceRule),
        }
        return shapes.get(str(members.get("type")), cls)

    @property
    def is_on(self) -> bool:
        """Whether it fires at all."""
        return not self.disabled and self.deleted_at is None


class EntitlementRule(Rule, frozen=True, kw_only=True):
    """A rule about entitlements. features: those of which; None: all."""

    features: list[RuleFeature] | None = None

    def watches(self, feature_id: str, feature_key: str) -> bool:
        """Whether the rule is about entitlements of this feature."""
        return self.features is None or any(
            one.id == feature_id or one.key == feature_key for one in self.features
        )


class BalanceRule(EntitlementRule, frozen=True, kw_only=True):
    """Fires when a balance reaches a threshold."""

    thresholds: list[RuleThreshold]
    rearm: Rearm

    @cached_property
    def levels(self) -> list[Threshold]:
        """The thresholds, their values in atto."""
        return [Threshold(one.type, number.exact(one.value)) for one in self.thresholds]


class ResetRule(EntitlementRule, frozen=True, kw_only=True):
    """Fires when a usage period ends."""


class ExpiringRule(EntitlementRule, frozen=True, kw_only=True):
    """Fires when a grant that still holds something ends soon. before: how long before its end, an interval."""

    before: str

    @cached_property
    def interval(self) -> Interval:
        """How long before the end of a grant it fires."""
        return calendar.parse(self.before)


class VolumeRule(Rule, frozen=True, kw_only=True):
    """Fires when the usage of a meter reaches a limit within a window.

    Args:
        meter_slug: a meter that adds up.
        meter_id: of that meter, since another one may have its slug later; None in rules that were stored without it.
        limit: the volume at which it fires.
        customers: ids of the customers that it is about; None: all.
        group_by: only usage with these dimensions counts.
    """

    meter_slug: str
    window_size: VolumeSize
    limit: str
    customers: list[str] | None = None
    group_by: dict[str, str] | None = None
    meter_id: int | None = None


class CreditRule(Rule, frozen=True, kw_only=True):
    """Fires when the credits that a customer can use fall to a threshold.

    Args:
        currency: of the credits.
        threshold: in major units.
        customers: ids of the customers that it is about; None: all.
    """

    currency: str
    threshold: str
    customers: list[str] | None = None


class InvoiceRule(Rule, frozen=True, kw_only=True):
    """Fires when an invoice begins to exist, has another status, or is not paid in time, by its type."""
