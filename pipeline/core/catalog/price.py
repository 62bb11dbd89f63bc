"""Prices as they lie in the JSON of rate cards and invoice lines, one frozen Struct for each `type`.

Owns: which members a price has. Does not own: how a client's price is read and refused (price_reading), discounts and
the conversion of units beside a price (price_terms), what a usage costs (rating), which price a rate card may have (its
own rules). Every amount is plain decimal text, at most 18 digits before and after the point, never below 0:

    {"type": "tiered", "mode": "graduated", "tiers": [
        {"upToAmount": "1000", "flatPrice": {"type": "flat", "amount": "10"}, "unitPrice": null},
        {"flatPrice": null, "unitPrice": {"type": "unit", "amount": "0.002"}}], "maximumAmount": "500"}

Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` RateCardUsageBasedPrice, for the first five. `percentage`
and `graduated_percentage` are models of Lago (`lago-api` `app/services/charge_models`); their member names are ours.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

PaymentTerm = Literal["in_advance", "in_arrears"]
TierMode = Literal["volume", "graduated"]


class FlatPrice(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag="flat"):
    """A fixed amount for a period, or once."""

    amount: str
    payment_term: PaymentTerm = "in_advance"


class _UsagePrice(
    msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, tag_field="type"
):
    """The form of every price by usage; its limits come last, as they are written."""


class UnitPrice(_UsagePrice, frozen=True, kw_only=True, tag="unit"):
    """`amount` for each unit."""

    amount: str
    minimum_amount: str | None = None
    maximum_amount: str | None = None


class PackagePrice(_UsagePrice, frozen=True, kw_only=True, tag="package"):
    """`amount` for each package of `quantity_per_package` units; a package that is begun is paid in full."""

    amount: str
    quantity_per_package: str
    minimum_amount: str | None = None
    maximum_amount: str | None = None


class DynamicPrice(_UsagePrice, frozen=True, kw_only=True, tag="dynamic"):
    """The usage itself is an amount of money, times `multiplier`."""

    multiplier: str
    minimum_amount: str | None = None
    maximum_amount: str | None = None


class TierFlatPrice(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag="flat"):
    """An amount for a tier as a whole."""

    amount: str


class TierUnitPrice(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag="unit"):
    """An amount for each unit of a tier."""

    amount: str


class PriceTier(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """A tier: usage above the bound of the tier before, up to and including its own; None: without a bound."""

    up_to_amount: str | None = None
    flat_price: TierFlatPrice | None
    unit_price: TierUnitPrice | None


class TieredPrice(_UsagePrice, frozen=True, kw_only=True, tag="tiered"):
    """volume: the tier of the whole usage prices all of it. graduated: each tier prices its own part."""

    mode: TierMode
    tiers: tuple[PriceTier, ...]
    minimum_amount: str | None = None
    maximum_amount: str | None = None


class PercentagePrice(_UsagePrice, frozen=True, kw_only=True, tag="percentage"):
    """A share of the summed amounts of events, and a fixed amount for each event.

    Attributes:
        rate: in percent; 2.9 is 2.9 %.
        fixed_amount: for each event that is not free.
        free_events: the first events of a period, which cost nothing.
        free_amount: the first events of a period as long as their sum does not pass it cost no `fixed_amount`, and
            this much of the sum costs no share. With both, an event is free while neither is used up.
        event_minimum, event_maximum: the least and the most that one event costs.
    """

    rate: str
    fixed_amount: str | None = None
    free_events: int | None = None
    free_amount: str | None = None
    event_minimum: str | None = None
    event_maximum: str | None = None
    minimum_amount: str | None = None
    maximum_amount: str | None = None

    @property
    def needs_events(self) -> bool:
        """Whether the amount of each event has to be known, and not only their sum."""
        return any((self.fixed_amount, self.free_events, self.event_minimum, self.event_maximum))


class PercentageTier(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """A tier of a summed amount: `rate` percent of the part in it, and `flat_amount` once it is entered."""

    up_to_amount: str | None = None
    rate: str
    flat_amount: str | None = None


class GraduatedPercentagePrice(_UsagePrice, frozen=True, kw_only=True, tag="graduated_percentage"):
    """Shares of the summed amount, tier by tier."""

    tiers: tuple[PercentageTier, ...]
    minimum_amount: str | None = None
    maximum_amount: str | None = None


UsagePrice: TypeAlias = (
    UnitPrice | PackagePrice | DynamicPrice | TieredPrice | PercentagePrice | GraduatedPercentagePrice
)
Price: TypeAlias = FlatPrice | UsagePrice
