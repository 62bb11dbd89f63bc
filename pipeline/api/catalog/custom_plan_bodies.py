"""Which plan is meant, as OpenAPI shows it: one of the catalog, or one that is sent and in no catalog.

Owns: members, forms, meaning. Does not own: phases (plan_bodies), rate cards (rate_card_bodies), the rules
(core.subscriptions).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.plan_bodies import (
    SETTLEMENT,
    AlignmentBody,
    CurrencyCode,
    PhaseBody,
    PlanCadence,
    ProRatingBody,
)
from pipeline.api.catalog.rate_card_bodies import CatalogKey, Description, DisplayName
from pipeline.api.http.members import Metadata

SettlementName = Literal["credit_then_invoice", "credit_only"]


class PlanChoiceBody(msgspec.Struct, forbid_unknown_fields=True):
    """A plan of the catalog."""

    key: CatalogKey
    version: Annotated[int, Meta(ge=1, description="the active one by default")] | UnsetType | None = UNSET


class CustomPlanBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A plan for one subscription, which is not in the catalog. It must be as one that can be published."""

    name: DisplayName
    billingCadence: Annotated[PlanCadence, Meta(description="how often the customer is billed")]
    phases: Annotated[list[PhaseBody], Meta(min_length=1, max_length=50)]
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    currency: CurrencyCode | UnsetType | None = UNSET
    alignment: AlignmentBody | UnsetType | None = UNSET
    proRatingConfig: ProRatingBody | UnsetType | None = UNSET
    settlementMode: Annotated[SettlementName, Meta(description=SETTLEMENT)] | UnsetType | None = UNSET
