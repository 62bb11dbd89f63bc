"""Prices and discounts of rate cards, as OpenAPI shows them in requests and answers.

Owns: members, forms, meaning. Does not own: the rules (core.catalog.price_reading).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

_DECIMAL = "a decimal of at most 18 digits before and 18 after the point, not negative"
Money = Annotated[int | float | str, Meta(description=f"{_DECIMAL}; answers show it as a string")]
Share = Annotated[
    int | float | str, Meta(description="percent: a decimal, not negative; answers show it as a string")
]
Least = Annotated[Money | None, Meta(description="the least that a period costs")]
Most = Annotated[Money | None, Meta(description="the most that a period costs")]
Bound = Annotated[Money | None, Meta(description="the last quantity of the tier; none for the last tier")]


class FlatPriceBody(msgspec.Struct, tag_field="type", tag="flat", forbid_unknown_fields=True):
    amount: Money
    paymentTerm: (
        Annotated[
            Literal["in_advance", "in_arrears"] | None,
            Meta(description="when it is billed; in_advance by default"),
        ]
        | UnsetType
    ) = UNSET


class UnitPriceBody(msgspec.Struct, tag_field="type", tag="unit", forbid_unknown_fields=True):
    """For each unit."""

    amount: Money
    minimumAmount: Least | UnsetType = UNSET
    maximumAmount: Most | UnsetType = UNSET


class PackagePriceBody(msgspec.Struct, tag_field="type", tag="package", forbid_unknown_fields=True):
    """For each package; one that is begun is paid in full."""

    amount: Money
    quantityPerPackage: Money
    minimumAmount: Least | UnsetType = UNSET
    maximumAmount: Most | UnsetType = UNSET


class DynamicPriceBody(msgspec.Struct, tag_field="type", tag="dynamic", forbid_unknown_fields=True):
    """The usage itself is an amount of money."""

    multiplier: Annotated[Money | None, Meta(description="1 by default")] | UnsetType = UNSET
    minimumAmount: Least | UnsetType = UNSET
    maximumAmount: Most | UnsetType = UNSET


class TierFlatBody(msgspec.Struct, tag_field="type", tag="flat", forbid_unknown_fields=True):
    """For a tier as a whole."""

    amount: Money


class TierUnitBody(msgspec.Struct, tag_field="type", tag="unit", forbid_unknown_fields=True):
    """For each unit of a tier."""

    amount: Money


class TierBody(msgspec.Struct, forbid_unknown_fields=True):
    """It has a `flatPrice`, a `unitPrice` or both."""

    upToAmount: Bound | UnsetType = UNSET
    flatPrice: TierFlatBody | UnsetType | None = UNSET
    unitPrice: TierUnitBody | UnsetType | None = UNSET


class TieredPriceBody(msgspec.Struct, tag_field="type", tag="tiered", forbid_unknown_fields=True):
    """volume: the tier of the whole usage prices all of it. graduated: each tier prices its own part."""

    mode: Literal["volume", "graduated"]
    tiers: Annotated[list[TierBody], Meta(min_length=1, max_length=100)]
    minimumAmount: Least | UnsetType = UNSET
    maximumAmount: Most | UnsetType = UNSET


class PercentagePriceBody(msgspec.Struct, tag_field="type", tag="percentage", forbid_unknown_fields=True):
    """A share of the summed amounts of events. OpenMeter has no such price."""

    rate: Share
    freeAmount: Annotated[Money | None, Meta(description="this much of the sum is free")] | UnsetType = UNSET
    minimumAmount: Least | UnsetType = UNSET
    maximumAmount: Most | UnsetType = UNSET


class PercentageTierBody(msgspec.Struct, forbid_unknown_fields=True):
    rate: Share
    upToAmount: Bound | UnsetType = UNSET
    flatAmount: Annotated[Money | None, Meta(description="once the tier is entered")] | UnsetType = UNSET


class GraduatedPercentagePriceBody(
    msgspec.Struct, tag_field="type", tag="graduated_percentage", forbid_unknown_fields=True
):
    """Shares of the summed amounts of events, tier by tier. OpenMeter has no such price."""

    tiers: Annotated[list[PercentageTierBody], Meta(min_length=1, max_length=100)]
    minimumAmount: Least | UnsetType = UNSET
    maximumAmount: Most | UnsetType = UNSET


AnyPriceBody = (
    FlatPriceBody
    | UnitPriceBody
    | PackagePriceBody
    | DynamicPriceBody
    | TieredPriceBody
    | PercentagePriceBody
    | GraduatedPercentagePriceBody
)


class PercentageDiscountBody(msgspec.Struct, forbid_unknown_fields=True):
    percentage: Annotated[int | float | str, Meta(description="0 to 100; answers show it as a number")]


class UsageDiscountBody(msgspec.Struct, forbid_unknown_fields=True):
    quantity: Annotated[
        int | float | str,
        Meta(description="units of a period that cost nothing; answers show it as a string"),
    ]


class DiscountsBody(msgspec.Struct, forbid_unknown_fields=True):
    percentage: PercentageDiscountBody | UnsetType | None = UNSET
    usage: Annotated[UsageDiscountBody | None, Meta(description="not with a flat price")] | UnsetType = UNSET


class UnitConfigBody(msgspec.Struct, forbid_unknown_fields=True):
    """Billed units are metered ones divided or multiplied by a factor, then rounded. For prices by usage."""

    operation: Literal["divide", "multiply"]
    conversionFactor: Annotated[int | float | str, Meta(description="above 0; answers show it as a string")]
    rounding: (
        Annotated[Literal["none", "ceiling", "floor", "half_up"] | None, Meta(description="none by default")]
        | UnsetType
    ) = UNSET
    precision: (
        Annotated[int, Meta(ge=0, le=18, description="decimals after rounding; 0 by default")]
        | UnsetType
        | None
    ) = UNSET
    displayUnit: Annotated[str, Meta(max_length=64)] | UnsetType | None = UNSET
