"""A rate card: a fee or a price by usage, the feature that it is for, and the entitlement that it gives.

Owns: its Structs, as they lie in plans and add-ons. Does not own: reading a client's rate card (rate_card_reading),
what is wrong with one (rate_card_validation), prices (price), entitlement templates (entitlement_template).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.core.catalog.entitlement_template import EntitlementTemplate
from pipeline.core.catalog.price import FlatPrice, Price
from pipeline.core.catalog.price_terms import Discounts, UnitConfig
from pipeline.core.catalog.tax_config import TaxConfig

RateCardType = Literal["flat_fee", "usage_based"]


class RateCard(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A rate card.

    Args:
        key: unique in its phase or add-on; that of the feature if there is one.
        feature_id: of the feature that `feature_key` named when the rate card was written.
        billing_cadence: an ISO 8601 duration; None: once.
        price: None: free.
        currency: of its price; absent: that of the plan or add-on.
        unit_config: by which metered units become billed ones.
    """

    type: RateCardType
    key: str
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    feature_key: str | None = None
    feature_id: str | None = None
    entitlement_template: EntitlementTemplate | None = None
    tax_config: TaxConfig | None = None
    billing_cadence: str | None
    price: Price | None
    discounts: Discounts | None = None
    currency: str | None = None
    unit_config: UnitConfig | None = None

    @property
    def recurring_cadence(self) -> str | None:
        """How often it is billed; None if it is free or billed once."""
        return None if self.price is None else self.billing_cadence

    @property
    def is_priced_by_usage(self) -> bool:
        return self.price is not None and not isinstance(self.price, FlatPrice)
