"""Which part of a flat price a service period costs.

Owns: shares by whole seconds as they pass, the mode in which the end of a subscription is billed. Does not own: periods
(line_periods). Only flat prices are prorated: usage, tiers and minimums are not, their period is only shorter.

A change in the middle of a period needs no rule of its own: what the old item is worth is its share up to the change,
and `booking` bills the difference from what was billed before.
Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/worker/subscriptionsync/service/targetstate`.
"""

from __future__ import annotations

from typing import Literal

from pipeline.core.catalog.price import FlatPrice
from pipeline.core.rating.line_periods import TimePeriod
from pipeline.core.values import money, number

EndProrationMode = Literal["bill_actual_period", "bill_full_period"]


def share(amount_atto: int, part: int, whole: int, digits: int) -> int:
    """A share of an amount in minor units, rounded once. Of a whole of 0, each part is all of it.

    Args:
        amount_atto: exact amount.
        part, whole: in any unit, such as seconds.
        digits: of the currency.

    >>> share(5 * number.SCALE, 17, 31, 2)
    274
    """
    if not whole:
        return money.minor(amount_atto, digits)
    return money.rounded(amount_atto * part, whole * money.unit(digits))


def prorated(
    price: FlatPrice,
    service: TimePeriod,
    full: TimePeriod,
    digits: int,
    *,
    enabled: bool = True,
    subscription_end_s: int | None = None,
    end_mode: EndProrationMode = "bill_actual_period",
) -> FlatPrice:
    """The flat price of a service period.

    Args:
        service, full: of the line.
        digits: of the currency.
        enabled: `proRatingConfig.enabled` of the subscription.
        subscription_end_s: when the subscription ends; None: without an end.
        end_mode: with `bill_full_period` the last period of a subscription that was cancelled is paid in full.

    Returns:
        The price itself where all of it is paid, with all its digits; else one whose amount is rounded. An amount of 0
        needs no line.

    >>> prorated(FlatPrice("30"), TimePeriod(0, 10), TimePeriod(0, 30), 2).amount
    '10'
    """
    ends = subscription_end_s is not None and service.end_s == subscription_end_s
    if not enabled or service == full or not full.seconds or (ends and end_mode == "bill_full_period"):
        return price
    amount = share(number.exact(price.amount), service.seconds, full.seconds, digits)
    return FlatPrice(money.text(amount, digits), price.payment_term)
