"""What a usage costs: one line's price, conversion, discounts, maximum and minimum, in their order.

Owns: the order of operations and the steps around a pricing model. Does not own: the models (models, percentage), units
(units), the snapshot of a price (tariff), what was billed before (booking), taxes and credits. The order:

 1. units are converted and rounded           4. the percentage discount, for each component
 2. the usage discount takes the first units  5. the maximum: a discount of what lies above it
 3. the model gives components                6. the minimum: one more component, on the last part

`rate` is pure and depends on nothing but its arguments, so the cumulative usage of a period always has one rating.
Usage below zero is rated as zero. For a meter that does not add up (MAX, UNIQUE_COUNT, AVG, MIN, LATEST) the usage is
the meter's value over the whole period, and that of a part is value[start, end of part) - value[start, start of part).
Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/rating/service/mutator`.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.rating import detail, models
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.models import Exact, PricedPart
from pipeline.core.rating.tariff import Tariff
from pipeline.core.rating.units import converted, usage_discount, without_first
from pipeline.core.values import money
from pipeline.core.values.number import SCALE

_FULL = 100 * SCALE  # 100 % in atto


class LinePart(NamedTuple):
    """What is rated. The defaults are those of a whole period.

    Attributes:
        usage_atto: metered in the part; below zero where a meter fell.
        pre_atto: metered in the parts before it.
        first, last: whether the service period begins and ends with it.
        booked: what the parts before it cost, in minor units.
        minimum: whether the minimum is asked for on the last part.
        events: the amount of each event in atto, in the order of their times, for prices that need them.
    """

    usage_atto: int
    pre_atto: int = 0
    first: bool = True
    last: bool = True
    booked: int = 0
    minimum: bool = True
    events: tuple[int, ...] | None = None


class Rated(NamedTuple):
    """A rating.

    Attributes:
        details: in the order of the price.
        quantity_atto: billed units, after conversion and usage discount.
        pre_atto: the same of the parts before.
        free_atto, pre_free_atto: units that the usage discount took from this part and from those before.
    """

    details: tuple[RatedDetail, ...]
    quantity_atto: int
    pre_atto: int
    free_atto: int
    pre_free_atto: int

    @property
    def total(self) -> int:
        """In minor units."""
        return sum(one.total for one in self.details)


def rate(tariff: Tariff, part: LinePart) -> Rated:
    """Rate a whole service period, or one of its parts.

    >>> from pipeline.core.catalog.price_reading import read_price
    >>> from pipeline.core.rating.tariff import LineTerms, tariff_of
    >>> price = read_price("line", {"type": "unit", "amount": "0.25", "minimumAmount": "5"})
    >>> rated = rate(tariff_of(LineTerms(price, "USD")), LinePart(10 * SCALE))
    >>> [(one.child_reference, one.total) for one in rated.details]
    [('unit-price-usage', 250), ('min-spend', 250)]

    Raises:
        Rejected: `invoice_line_graduated_split_not_supported`, for a part of a volume price with usage before it.
        Broken: the price needs single events, and the part has none.
    """
    pre: Exact = max(part.pre_atto, 0)
    usage: Exact = max(max(part.pre_atto + part.usage_atto, 0) - pre, 0)
    events: tuple[Exact, ...] | None = part.events
    if tariff.unit_config is not None:
        usage, pre = converted(tariff.unit_config, usage), converted(tariff.unit_config, pre)
        events = None if events is None else tuple(converted(tariff.unit_config, one) for one in events)
    free: Exact = 0
    pre_free: Exact = 0
    if tariff.free_atto:
        usage, pre, free, pre_free = usage_discount(usage, pre, tariff.free_atto)
        events = None if events is None else without_first(events, tariff.free_atto)
    details = tariff.model(PricedPart(usage, pre, part.first, part.last, events))
    if tariff.discount_atto:
        details = [_discounted(one, tariff.discount_atto) for one in details]
    if tariff.maximum_atto is not None:
        details = _up_to(tariff.maximum_atto, details, part.booked, tariff.digits)
    if tariff.minimum_atto and part.last and part.minimum:
        details += _minimum(tariff, details, part.booked)
    quantities = (models.quantity_of(one) for one in (usage, pre, free, pre_free))
    return Rated(tuple(details), *quantities)


def _discounted(one: RatedDetail, discount_atto: int) -> RatedDetail:
    return _less(one, money.rounded(one.total * discount_atto, _FULL), 0)


def _less(one: RatedDetail, percentage: int, maximum: int) -> RatedDetail:
    """A component with these discounts. It is made member by member, since every line of a month end passes here."""
    return RatedDetail(
        one.reference,
        one.per_unit_atto,
        one.quantity_atto,
        one.amount,
        one.charges,
        percentage,
        maximum,
        one.tier,
    )


def _up_to(maximum_atto: int, details: list[RatedDetail], booked: int, digits: int) -> list[RatedDetail]:
    """Take off what lies above the maximum, component by component."""
    kept = []
    for one in details:
        total = one.total
        excess = money.minor(money.atto(booked + total, digits) - maximum_atto, digits)
        if excess > 0 and total > 0:
            one = _less(one, one.percentage_discount, min(excess, total))  # noqa: PLW2901
        booked += one.total
        kept.append(one)
    return kept


def _minimum(tariff: Tariff, details: list[RatedDetail], booked: int) -> list[RatedDetail]:
    billed = booked + sum(one.total for one in details)
    gap = money.minor(tariff.minimum_atto - money.atto(billed, tariff.digits), tariff.digits)
    if gap <= 0:
        return []
    return [RatedDetail(detail.MINIMUM, money.atto(gap, tariff.digits), SCALE, 0, gap)]
