"""The price snapshot of a line, and the same with its numbers ready for arithmetic.

Owns: terms and tariffs. Does not own: the models (models, percentage), the steps
around one (rate).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec

from pipeline.core.catalog.price import (
    DynamicPrice,
    FlatPrice,
    GraduatedPercentagePrice,
    PackagePrice,
    PercentagePrice,
    Price,
    TieredPrice,
    UnitPrice,
)
from pipeline.core.catalog.price_terms import Discounts, UnitConfig
from pipeline.core.rating import models, percentage
from pipeline.core.rating.models import Model, amount_of
from pipeline.core.values import number
from pipeline.core.values.currency import digits_of

_TARIFFS_KEPT = 1 << 14


class LineTerms(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The snapshot of a price that a line keeps: later changes of a plan never reach it."""

    price: Price
    currency: str
    discounts: Discounts | None = None
    unit_config: UnitConfig | None = None


class Tariff(NamedTuple):
    """Terms with their numbers ready for arithmetic. Amounts in atto; discount_atto: of percents."""

    model: Model
    digits: int
    unit_config: UnitConfig | None
    free_atto: int
    discount_atto: int
    minimum_atto: int
    maximum_atto: int | None


@lru_cache(maxsize=_TARIFFS_KEPT)
def tariff_of(terms: LineTerms) -> Tariff:
    """The tariff of terms that were checked when they were stored.

    Raises:
        Rejected: `bad-currency`.
    """
    digits = digits_of(terms.currency)
    price, discounts = terms.price, terms.discounts or Discounts()
    limits = (None, None) if isinstance(price, FlatPrice) else (price.minimum_amount, price.maximum_amount)
    share = discounts.percentage
    return Tariff(
        model=_model(price, digits),
        digits=digits,
        unit_config=None if isinstance(price, FlatPrice) else terms.unit_config,
        free_atto=0 if discounts.usage is None else amount_of(discounts.usage.quantity),
        discount_atto=0 if share is None else number.atto(share.percentage),
        minimum_atto=amount_of(limits[0]),
        maximum_atto=None if limits[1] is None else amount_of(limits[1]),
    )


def _model(price: Price, digits: int) -> Model:
    match price:
        case FlatPrice():
            return models.flat(price, digits)
        case UnitPrice():
            return models.unit(price, digits)
        case PackagePrice():
            return models.package(price, digits)
        case DynamicPrice():
            return models.dynamic(price, digits)
        case TieredPrice():
            return models.tiered(price, digits)
        case PercentagePrice():
            return percentage.percentage(price, digits)
        case GraduatedPercentagePrice():
            return percentage.graduated_percentage(price, digits)
