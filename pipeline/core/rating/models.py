"""Pricing models: the components that a price gives for a usage, before discounts, maximum and minimum.

Owns: flat, unit, package, dynamic, tiered. Does not own: shares of amounts (percentage), the steps around a model
(rate). A model is a function made once for a price and called for each rating, so that a rating only does integer
arithmetic. Products are exact; each component is rounded once.
Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/rating/service/rate`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from pipeline.core.catalog.price import (
    DynamicPrice,
    FlatPrice,
    PackagePrice,
    PriceTier,
    TieredPrice,
    UnitPrice,
)
from pipeline.core.rating import detail
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.values import money, number
from pipeline.core.values.number import SCALE
from pipeline.errors import Rejected

Exact: TypeAlias = int | Fraction  # in atto; a Fraction only where a conversion of units has no end


class PricedPart(NamedTuple):
    """What a model prices: a part of a service period, or all of it.

    Attributes:
        usage: of the part, at least 0.
        pre: of the parts before it in the same service period, at least 0.
        first, last: whether the service period begins and ends with it.
        events: the amount of each event of the period in order, where the price needs them.
    """

    usage: Exact
    pre: Exact = 0
    first: bool = True
    last: bool = True
    events: tuple[Exact, ...] | None = None


Model: TypeAlias = Callable[[PricedPart], list[RatedDetail]]


def amount_of(text: str | None) -> int:
    """An amount of a price in atto; 0 for none."""
    return 0 if text is None else number.exact(text)


def quantity_of(exact: Exact) -> int:
    """A quantity in atto, to the 18 decimals that are shown."""
    return exact if isinstance(exact, int) else money.rounded(exact.numerator, exact.denominator)


def divisor_of(digits: int) -> int:
    """By which price x quantity, both in atto, is divided to be in minor units."""
    return SCALE * money.unit(digits)


def once(reference: str, amount_atto: int, digits: int, tier: int = 0) -> RatedDetail:
    """A component of quantity 1."""
    return RatedDetail(reference, amount_atto, SCALE, money.minor(amount_atto, digits), tier=tier)


def flat(price: FlatPrice, digits: int) -> Model:
    """In advance on the first part, in arrears on the last."""
    found = [once(detail.FLAT, amount_of(price.amount), digits)]
    in_advance = price.payment_term == "in_advance"

    def details(part: PricedPart) -> list[RatedDetail]:
        return list(found) if (part.first if in_advance else part.last) else []

    return details


def unit(price: UnitPrice, digits: int) -> Model:
    """Units x price; nothing without usage."""
    per_unit, divisor = amount_of(price.amount), divisor_of(digits)

    def details(part: PricedPart) -> list[RatedDetail]:
        usage = part.usage
        if usage <= 0:
            return []
        return [
            RatedDetail(detail.UNIT, per_unit, quantity_of(usage), money.rounded(per_unit * usage, divisor))
        ]

    return details


def packages(quantity: Exact, size: int) -> int:
    """Packages that hold a quantity, the last one begun.

    >>> packages(0, 10), packages(1, 10), packages(10, 10), packages(11, 10)
    (0, 1, 1, 2)
    """
    return -(-quantity // size)


def package(price: PackagePrice, digits: int) -> Model:
    """Packages that the part begins; those that were begun before it are paid."""
    per_package, size = amount_of(price.amount), amount_of(price.quantity_per_package)

    def details(part: PricedPart) -> list[RatedDetail]:
        before = 0 if part.first else packages(part.pre, size)
        count = packages(part.pre + part.usage, size) - before
        if count <= 0:
            return []
        return [
            RatedDetail(detail.USAGE, per_package, count * SCALE, money.minor(per_package * count, digits))
        ]

    return details


def dynamic(price: DynamicPrice, digits: int) -> Model:
    """The usage is the amount: quantity 1 at what it costs."""
    multiplier, divisor = amount_of(price.multiplier), divisor_of(digits)

    def details(part: PricedPart) -> list[RatedDetail]:
        if part.usage <= 0:
            return []
        amount = money.rounded(part.usage * multiplier, divisor)
        return [RatedDetail(detail.USAGE, money.atto(amount, digits), SCALE, amount)]

    return details


class _Tier(NamedTuple):
    """A tier (lower, upper] in atto; upper is None for the last one."""

    lower: int
    upper: int | None
    flat: int | None
    unit: int | None


def _tiers(tiers: tuple[PriceTier, ...]) -> list[_Tier]:
    made: list[_Tier] = []
    lower = 0
    for tier in tiers:
        upper = None if tier.up_to_amount is None else number.exact(tier.up_to_amount)
        flat_amount = None if tier.flat_price is None else number.exact(tier.flat_price.amount)
        unit_amount = None if tier.unit_price is None else number.exact(tier.unit_price.amount)
        made.append(_Tier(lower, upper, flat_amount, unit_amount))
        lower = upper or 0
    return made


def tier_of(bounds: list[int | None], quantity: Exact) -> int:
    """The place of the first tier whose upper bound the quantity does not pass.

    >>> [tier_of([5, 10, None], quantity) for quantity in (0, 5, 6, 11)]
    [0, 0, 1, 2]
    """
    return next(place for place, upper in enumerate(bounds) if upper is None or quantity <= upper)


def tiered(price: TieredPrice, digits: int) -> Model:
    """By its mode."""
    return _volume(price, digits) if price.mode == "volume" else _graduated(price, digits)


def _volume(price: TieredPrice, digits: int) -> Model:
    """The tier of the whole usage prices all of it, once, at the end of the period."""
    tiers, divisor = _tiers(price.tiers), divisor_of(digits)
    bounds = [tier.upper for tier in tiers]

    def details(part: PricedPart) -> list[RatedDetail]:
        if not part.last:
            return []
        if part.pre:
            raise Rejected(
                "invoice_line_graduated_split_not_supported",
                "a line with a volume price cannot be split: its tier is known at the end of the period",
            )
        usage = part.usage
        place = tier_of(bounds, usage)
        tier = tiers[place]
        found = []
        if tier.flat is not None:
            found.append(once(detail.VOLUME_FLAT, tier.flat, digits, place + 1))
        if tier.unit is not None and usage:
            amount = money.rounded(tier.unit * usage, divisor)
            found.append(
                RatedDetail(detail.VOLUME_UNIT, tier.unit, quantity_of(usage), amount, tier=place + 1)
            )
        return found

    return details


def _graduated(price: TieredPrice, digits: int) -> Model:
    """Each tier prices the units in it, and asks its flat price once, when it is entered."""
    tiers, divisor = _tiers(price.tiers), divisor_of(digits)
    units = [detail.graduated_unit(place) for place in range(1, len(tiers) + 1)]
    flats = [detail.graduated_flat(place) for place in range(1, len(tiers) + 1)]

    def details(part: PricedPart) -> list[RatedDetail]:
        pre, end = part.pre, part.pre + part.usage
        found = []
        for place, (lower, upper, flat_amount, unit_amount) in enumerate(tiers):
            if place and lower >= end:
                break
            inside = (end if upper is None or end < upper else upper) - (max(lower, pre))
            if unit_amount is not None and (inside > 0 or not (place or end)):
                quantity = quantity_of(inside)
                amount = money.rounded(unit_amount * inside, divisor)
                found.append(RatedDetail(units[place], unit_amount, quantity, amount, tier=place + 1))
            entered = pre <= lower < end if place else part.first and not pre
            if flat_amount is not None and entered:
                found.append(once(flats[place], flat_amount, digits, place + 1))
        return found

    return details
