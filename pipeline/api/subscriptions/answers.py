"""Answers about subscriptions, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (core.subscriptions, subscription_answer).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.answers import FeatureAnswer
from pipeline.api.catalog.custom_plan_bodies import SettlementName
from pipeline.api.catalog.plan_answers import AlignmentAnswer, ProRatingAnswer
from pipeline.api.catalog.plan_bodies import InstanceType
from pipeline.api.catalog.price_bodies import AnyPriceBody, DiscountsBody
from pipeline.api.catalog.rate_card_bodies import (
    DurationText,
    FlatFeeBody,
    TaxConfigBody,
    UsageBasedBody,
)
from pipeline.api.http.members import Instant, Metadata, Ulid, page_of
from pipeline.api.quota.answers import EntitlementAnswer, Period

PlanVersionNumber = Annotated[int, Meta(ge=1)]


class PlanReferenceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The version of the plan that it was made from. A later change of the plan does not change it."""

    id: Ulid
    key: str
    version: PlanVersionNumber


class _SubscriptionMembers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: Ulid
    name: str
    status: Annotated[
        Literal["scheduled", "active", "canceled", "inactive"],
        Meta(description="now. canceled: active, with an end"),
    ]
    customerId: Ulid
    plan: Annotated[PlanReferenceAnswer, Meta(description="absent for a custom plan")] | UnsetType = UNSET
    currency: Annotated[str, Meta(description="ISO 4217, of its invoices")]
    billingCadence: DurationText
    billingAnchor: Annotated[Instant, Meta(description="a boundary of its billing periods")]
    proRatingConfig: ProRatingAnswer
    settlementMode: SettlementName
    costBasisMode: Literal["dynamic"]
    costBasisPins: Annotated[list[Any], Meta(description="always empty")]
    activeFrom: Instant
    createdAt: Instant
    updatedAt: Instant
    activeTo: Instant | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class SubscriptionAnswer(_SubscriptionMembers, forbid_unknown_fields=True, kw_only=True):
    """A subscription of a customer."""

    alignment: AlignmentAnswer | UnsetType = UNSET


class ExpandedAlignmentAnswer(AlignmentAnswer, forbid_unknown_fields=True, kw_only=True):
    currentAlignedBillingPeriod: (
        Annotated[Period, Meta(description="the billing period of the instant, within its phase")] | UnsetType
    ) = UNSET


class IncludedAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What the customer gets with an item. entitlement: absent for a moment after the item was made."""

    feature: FeatureAnswer
    entitlement: EntitlementAnswer | UnsetType = UNSET


class ItemAnswer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A version of an item, with what add-ons change of it."""

    id: Ulid
    key: str
    name: str
    billingCadence: Annotated[DurationText | None, Meta(description="null: billed once")]
    price: Annotated[AnyPriceBody | None, Meta(description="null: free")]
    activeFrom: Instant
    createdAt: Instant
    updatedAt: Instant
    activeTo: Instant | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    featureKey: str | UnsetType = UNSET
    discounts: DiscountsBody | UnsetType = UNSET
    taxConfig: TaxConfigBody | UnsetType = UNSET
    included: IncludedAnswer | UnsetType = UNSET


class SubscriptionPhaseAnswer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: Ulid
    key: str
    name: str
    activeFrom: Instant
    createdAt: Instant
    updatedAt: Instant
    items: Annotated[list[ItemAnswer], Meta(description="in force at the instant")]
    itemTimelines: Annotated[dict[str, list[ItemAnswer]], Meta(description="all versions, by key")]
    activeTo: Instant | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class ExpandedSubscriptionAnswer(_SubscriptionMembers, forbid_unknown_fields=True, kw_only=True):
    """A subscription with its phases and their items."""

    alignment: ExpandedAlignmentAnswer | UnsetType = UNSET
    phases: list[SubscriptionPhaseAnswer]


class SuccessionAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The subscription that ends, and the one that begins at the same instant."""

    current: SubscriptionAnswer
    next: ExpandedSubscriptionAnswer


class BoughtAddonAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    key: str
    version: PlanVersionNumber
    instanceType: InstanceType


class QuantityAnswer(msgspec.Struct, forbid_unknown_fields=True):
    activeFrom: Instant
    quantity: Annotated[int, Meta(ge=0)]
    activeTo: Instant | UnsetType = UNSET


class AddonRateCardAnswer(msgspec.Struct, forbid_unknown_fields=True):
    rateCard: FlatFeeBody | UsageBasedBody
    affectedSubscriptionItemIds: Annotated[
        list[str], Meta(description="versions of items that the add-on extends or makes")
    ]


class SubscriptionAddonAnswer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An add-on of a subscription, with its quantities over time."""

    id: Ulid
    name: str
    addon: BoughtAddonAnswer
    subscriptionId: Ulid
    quantity: Annotated[int, Meta(ge=0, description="now")]
    quantityAt: Annotated[Instant, Meta(description="now")]
    timeline: list[QuantityAnswer]
    rateCards: list[AddonRateCardAnswer]
    activeFrom: Instant
    createdAt: Instant
    updatedAt: Instant
    activeTo: Instant | UnsetType = UNSET
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


SubscriptionPage = page_of(SubscriptionAnswer)
