"""Pricing models that take a share of summed amounts.

Owns: percentage and graduated_percentage. Does not own: the other models (models), where the amounts of single events
come from (the caller has them, in the order of the events' times).
Source: getlago/lago-api at 1b1c24a6a, `app/services/charge_models/{percentage,graduated_percentage}_service.rb`.
"""

from __future__ import annotations

from pipeline.core.catalog.price import GraduatedPercentagePrice, PercentagePrice
from pipeline.core.rating import detail
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.models import Exact, Model, PricedPart, amount_of, divisor_of, once
from pipeline.core.values import money
from pipeline.core.values.number import SCALE
from pipeline.errors import Broken

_PERCENT = 100


def percentage(price: PercentagePrice, digits: int) -> Model:
    """A share of the sum above what is free, and a fixed amount for each event that is not."""
    if price.needs_events:
        return (
            _clamped(price, digits)
            if price.event_minimum or price.event_maximum
            else _by_events(price, digits)
        )
    rate, free = amount_of(price.rate), amount_of(price.free_amount)

    def details(part: PricedPart) -> list[RatedDetail]:
        above = part.pre + part.usage - max(part.pre, free)
        return [_share(detail.SHARE, rate * above, digits)] if above > 0 else []

    return details


def _share(reference: str, share: Exact, digits: int, tier: int = 0) -> RatedDetail:
    """A component of quantity 1. share: percents x amount, both in atto."""
    amount = money.rounded(share, _PERCENT * divisor_of(digits))
    return RatedDetail(reference, money.atto(amount, digits), SCALE, amount, tier=tier)


def _free(price: PercentagePrice, events: tuple[Exact, ...]) -> tuple[int, Exact]:
    """How many of the first events, and how much of the sum, are free."""
    limit = None if price.free_amount is None else amount_of(price.free_amount)
    most = len(events) if price.free_events is None else min(price.free_events, len(events))
    if limit is None:
        return (0, 0) if price.free_events is None else (most, sum(events[:most]))
    count, running = 0, 0
    while count < most and running + events[count] <= limit:
        running += events[count]  # type: ignore[assignment]
        count += 1
    return count, running if price.free_events is not None and count == most else limit


def _events_of(part: PricedPart) -> tuple[Exact, ...]:
    if part.events is None:
        raise Broken(
            "This percentage price needs the amount of each event, and the rating has only their sum."
        )
    return part.events


def _by_events(price: PercentagePrice, digits: int) -> Model:
    rate, fixed = amount_of(price.rate), amount_of(price.fixed_amount)

    def details(part: PricedPart) -> list[RatedDetail]:
        events = _events_of(part)
        count, free = _free(price, events)
        above, charged = sum(events) - free, len(events) - count
        found = [_share(detail.SHARE, rate * above, digits)] if above > 0 else []
        if fixed and charged:
            found.append(
                RatedDetail(detail.EVENTS, fixed, charged * SCALE, money.minor(fixed * charged, digits))
            )
        return found

    return details


def _clamped(price: PercentagePrice, digits: int) -> Model:
    """Each event that is not free costs at least and at most a certain amount."""
    rate, fixed = amount_of(price.rate), amount_of(price.fixed_amount) * SCALE * _PERCENT
    least = amount_of(price.event_minimum) * SCALE * _PERCENT
    most = None if price.event_maximum is None else amount_of(price.event_maximum) * SCALE * _PERCENT

    def details(part: PricedPart) -> list[RatedDetail]:
        events = _events_of(part)
        count, free = _free(price, events)
        left = free - sum(events[:count])  # of the event that passes the free amount
        costs: Exact = 0
        for amount in events[count:]:
            cost = max(rate * (amount - min(left, amount)) + fixed, least)
            costs += cost if most is None else min(cost, most)
            left = max(left - amount, 0)
        return [_share(detail.SHARE, costs, digits)] if costs else []

    return details


def graduated_percentage(price: GraduatedPercentagePrice, digits: int) -> Model:
    """Each tier takes its share of the part of the sum in it, and its flat amount once, when it is entered."""
    tiers = []
    lower = 0
    for place, tier in enumerate(price.tiers, 1):
        upper = None if tier.up_to_amount is None else amount_of(tier.up_to_amount)
        flat = None if tier.flat_amount is None else amount_of(tier.flat_amount)
        tiers.append((place, lower, upper, amount_of(tier.rate), flat))
        lower = upper or 0

    def details(part: PricedPart) -> list[RatedDetail]:
        pre, end = part.pre, part.pre + part.usage
        found = []
        for place, lower, upper, rate, flat in tiers:
            inside = (end if upper is None else min(end, upper)) - max(pre, lower)
            if inside > 0:
                found.append(_share(detail.share_of_tier(place), rate * inside, digits, place))
            entered = pre <= lower < end if lower or place > 1 else part.first and not pre
            if flat is not None and entered:
                found.append(once(detail.flat_of_share_tier(place), flat, digits, place))
        return found

    return details
