"""Answers about plans, add-ons, add-ons of plans and currencies, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (core.catalog.version_json), rate cards
(rate_card_bodies).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.plan_bodies import InstanceType, PlanCadence
from pipeline.api.catalog.rate_card_bodies import DurationText, RateCards
from pipeline.api.http.members import Instant, Metadata, Ulid, page_of

VersionNumber = Annotated[
    int, Meta(ge=1, description="of the versions of the key; the newest has the highest")
]


class CatalogErrorAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What keeps a draft from being published, or has become wrong since it was published."""

    field: Annotated[str, Meta(description="JSONPath, as `$.phases[?(@.key=='pro')].ratecards[0].price`")]
    code: Annotated[str, Meta(description="a stable name of what is wrong")]
    message: str


class AlignmentAnswer(msgspec.Struct, forbid_unknown_fields=True):
    billablesMustAlign: bool | UnsetType = UNSET


class ProRatingAnswer(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool
    mode: Literal["prorate_prices"]


class PhaseAnswer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    key: str
    name: str
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    duration: DurationText | None
    rateCards: RateCards


class _VersionAnswer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every version has."""

    id: Ulid
    key: str
    version: VersionNumber
    name: str
    currency: str
    createdAt: Instant
    updatedAt: Instant
    deletedAt: Instant | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    effectiveFrom: Annotated[Instant, Meta(description="since when it is sold")] | UnsetType = UNSET
    effectiveTo: Annotated[Instant, Meta(description="until when it is sold")] | UnsetType = UNSET
    status: Literal["draft", "scheduled", "active", "archived"]


class PlanAnswer(_VersionAnswer, forbid_unknown_fields=True, kw_only=True):
    """A version of a plan."""

    billingCadence: PlanCadence
    alignment: AlignmentAnswer | UnsetType = UNSET
    proRatingConfig: ProRatingAnswer
    settlementMode: Literal["credit_then_invoice", "credit_only"]
    phases: list[PhaseAnswer]
    validationErrors: list[CatalogErrorAnswer]


class AddonAnswer(_VersionAnswer, forbid_unknown_fields=True, kw_only=True):
    """A version of an add-on."""

    instanceType: InstanceType
    rateCards: RateCards
    validationErrors: list[CatalogErrorAnswer]


class PlanAddonAnswer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An add-on that customers of a plan can buy."""

    id: Ulid
    addon: AddonAnswer
    fromPlanPhase: str
    maxQuantity: int | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    createdAt: Instant
    updatedAt: Instant
    deletedAt: Instant | UnsetType = UNSET
    validationErrors: list[CatalogErrorAnswer]


class CurrencyAnswer(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217")]
    name: str
    symbol: str
    subunits: Annotated[int, Meta(ge=0, le=3, description="decimals of an amount of money")]


PlanPage = page_of(PlanAnswer)
AddonPage = page_of(AddonAnswer)
PlanAddonPage = page_of(PlanAddonAnswer)
