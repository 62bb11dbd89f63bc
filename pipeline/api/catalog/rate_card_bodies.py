"""Rate cards, as OpenAPI shows them in requests and answers.

Owns: members, forms, meaning. Does not own: the rules (core.catalog.rate_card_reading, rate_card_validation), prices
(price_bodies).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.price_bodies import AnyPriceBody, DiscountsBody, FlatPriceBody, UnitConfigBody
from pipeline.api.http.members import Metadata

CatalogKey = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9]+(_[a-z0-9]+)*$")]
DisplayName = Annotated[str, Meta(min_length=1, max_length=256)]
Description = Annotated[str, Meta(min_length=1, max_length=1024)]
DurationText = Annotated[
    str,
    Meta(description="ISO 8601, at least an hour, such as P1M", extra_json_schema={"format": "duration"}),
]


class MeteredTemplateBody(msgspec.Struct, tag_field="type", tag="metered", forbid_unknown_fields=True):
    issueAfterReset: (
        Annotated[
            int | float | str | None,
            Meta(description="the balance from which each usage period begins; answers show it as a number"),
        ]
        | UnsetType
    ) = UNSET
    issueAfterResetPriority: (
        Annotated[int, Meta(ge=1, le=255, description="of that grant; 1 by default")] | UnsetType | None
    ) = UNSET
    isSoftLimit: (
        Annotated[bool, Meta(description="access continues when nothing is left")] | UnsetType | None
    ) = UNSET
    preserveOverageAtReset: bool | UnsetType | None = UNSET
    usagePeriod: (
        Annotated[DurationText, Meta(description="the billing cadence by default")] | UnsetType | None
    ) = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class StaticTemplateBody(msgspec.Struct, tag_field="type", tag="static", forbid_unknown_fields=True):
    config: Annotated[str, Meta(min_length=1, max_length=10_000, description="JSON, as text")]
    metadata: Metadata | UnsetType | None = UNSET


class BooleanTemplateBody(msgspec.Struct, tag_field="type", tag="boolean", forbid_unknown_fields=True):
    metadata: Metadata | UnsetType | None = UNSET


AnyTemplateBody = MeteredTemplateBody | StaticTemplateBody | BooleanTemplateBody


class StripeTaxBody(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(pattern=r"^txcd_\d{8}$")]


class CustomTaxBody(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(min_length=1, max_length=256)]


class TaxConfigBody(msgspec.Struct, forbid_unknown_fields=True):
    """Kept and shown: this version computes no tax."""

    behavior: Literal["inclusive", "exclusive"] | UnsetType | None = UNSET
    stripe: StripeTaxBody | UnsetType | None = UNSET
    customInvoicing: CustomTaxBody | UnsetType | None = UNSET
    taxCodeId: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType | None = UNSET


FeatureKey = Annotated[str, Meta(description="the feature that it is for; its key is the card's too")]
FeatureId = Annotated[
    str,
    Meta(
        description="id of that feature. A card keeps its feature when the key is used again; with both, they name "
        "the same feature. OpenMeter shows no such member."
    ),
]
CardCurrency = Annotated[
    str, Meta(description="ISO 4217; only a card of the currency of its plan or add-on can be published")
]


class _CardMembers(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    """What every rate card has."""

    key: CatalogKey
    name: DisplayName
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    featureKey: FeatureKey | UnsetType | None = UNSET
    featureId: FeatureId | UnsetType | None = UNSET
    entitlementTemplate: AnyTemplateBody | UnsetType | None = UNSET
    taxConfig: TaxConfigBody | UnsetType | None = UNSET
    discounts: DiscountsBody | UnsetType | None = UNSET
    currency: CardCurrency | UnsetType | None = UNSET


class FlatFeeBody(_CardMembers, tag="flat_fee", forbid_unknown_fields=True, kw_only=True):
    """A fee."""

    billingCadence: Annotated[DurationText | None, Meta(description="null: once")] | UnsetType = UNSET
    price: Annotated[FlatPriceBody | None, Meta(description="null: free")] | UnsetType = UNSET


class UsageBasedBody(_CardMembers, tag="usage_based", forbid_unknown_fields=True, kw_only=True):
    """A price by usage of a feature with a meter."""

    billingCadence: DurationText
    price: Annotated[AnyPriceBody | None, Meta(description="null: metered but free")] | UnsetType = UNSET
    unitConfig: UnitConfigBody | UnsetType | None = UNSET


RateCards = Annotated[list[FlatFeeBody | UsageBasedBody], Meta(max_length=200)]
