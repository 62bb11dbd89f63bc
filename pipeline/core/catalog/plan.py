"""A plan: phases of rate cards that a customer can subscribe to.

Owns: the definition of a version of a plan. Does not own: its commands (plan_commands), what is wrong with it
(plan_validation), status and versions (catalog_version), rate cards (rate_card).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.core.catalog.catalog_version import CatalogVersion
from pipeline.core.catalog.rate_card import RateCard
from pipeline.core.definitions.kinds import PLAN

SettlementMode = Literal["credit_then_invoice", "credit_only"]
ProRatingMode = Literal["prorate_prices"]


class ProRatingConfig(msgspec.Struct, frozen=True):
    """Whether a flat price of a part of a period is the part's share."""

    enabled: bool = True
    mode: ProRatingMode = "prorate_prices"


class PlanAlignment(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Deprecated in OpenMeter; kept and shown."""

    billables_must_align: bool | None = None


class PlanPhase(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A phase. duration: an ISO 8601 duration; None: until the subscription ends, for the last phase."""

    key: str
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    duration: str | None
    rate_cards: tuple[RateCard, ...]


class Plan(CatalogVersion, frozen=True, kw_only=True):
    """A version of a plan, deleted ones too. billing_cadence: how often its customers are billed."""

    kind = PLAN

    billing_cadence: str
    alignment: PlanAlignment | None = None
    pro_rating_config: ProRatingConfig
    settlement_mode: SettlementMode
    phases: tuple[PlanPhase, ...]

    def phase(self, key: str) -> PlanPhase | None:
        """The first phase with a key."""
        return next((phase for phase in self.phases if phase.key == key), None)
