"""What is still to be billed: the rating of all usage that is known, less what was billed before.

Owns: that difference, component by component, for a line as a whole or for each part of its period, and the sum of what
was billed. Does not own: ratings (rate), on which invoice a difference lies, credits, taxes.

The law: after any run, the sum of everything that was billed for a line is its rating, in each component and amount,
whatever the order of events and the number of runs. So a correction is no case of its own: late usage, usage that was
taken back, a tier that was passed or a maximum that was reached are all the same subtraction.

The rating of a line is that of its cumulative usage as the only line of the period (`LinePart` with its defaults), with
`minimum` from the first run that was final for the period on. A usage of 5 was billed at 10 each; it grows to 8, then
falls to 0:

>>> from pipeline.core.catalog.price_reading import read_price
>>> from pipeline.core.rating.rate import LinePart, rate
>>> from pipeline.core.rating.tariff import LineTerms, tariff_of
>>> from pipeline.core.values.number import SCALE
>>> def shown(details):
...     return [(one.child_reference, one.quantity_atto // SCALE, one.total) for one in details]
>>> tens = tariff_of(LineTerms(read_price("line", {"type": "unit", "amount": "10"}), "USD"))
>>> def rating(units): return rate(tens, LinePart(units * SCALE)).details
>>> first = difference(rating(5), ())
>>> second = difference(rating(8), first)
>>> shown(first), shown(second), shown(difference(rating(0), [*first, *second]))
([('unit-price-usage', 5, 5000)], [('unit-price-usage', 3, 3000)], [('unit-price-usage#correction', -8, -8000)])

A component whose unit price has changed is taken back in full and billed again. The sixteenth unit of a volume price
makes all of them cheaper:

>>> fives = {"type": "unit", "amount": "5"}
>>> tiers = [{"upToAmount": "15", "unitPrice": {"type": "unit", "amount": "10"}}, {"unitPrice": fives}]
>>> volume = {"type": "tiered", "mode": "volume", "tiers": tiers}
>>> tariff = tariff_of(LineTerms(read_price("line", volume), "USD"))
>>> first = difference(rate(tariff, LinePart(15 * SCALE)).details, ())
>>> shown(difference(rate(tariff, LinePart(16 * SCALE)).details, first))
[('volume-tiered-price', 16, 8000), ('volume-tiered-price#correction', -15, -15000)]

By parts, each difference lies in the part to which the usage belongs. The period has two parts with 3 units each; a
late event adds one to the first:

>>> booked = by_part([rating(3), rating(6)], [[], []])
>>> [shown(part) for part in booked]
[[('unit-price-usage', 3, 3000)], [('unit-price-usage', 3, 3000)]]
>>> [shown(part) for part in by_part([rating(4), rating(7)], booked)]
[[('unit-price-usage', 1, 1000)], []]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from pipeline.core.rating.detail import Key, RatedDetail
from pipeline.core.rating.given_up import covered_parts

Details = Sequence[RatedDetail]


def difference(rating: Details, booked: Iterable[RatedDetail]) -> list[RatedDetail]:
    """What a run bills for a line as a whole.

    Args:
        rating: of all usage that is known.
        booked: everything that earlier runs billed for the line, in any order, summed or not.

    Returns:
        The components that have changed, in the order of the rating, then those that it does not have any more. One in
        which no amount has changed is not billed: its quantity stays open until an amount does.
    """
    return _difference(_by_key(rating), _by_key(booked), {one.key for one in rating})


def by_part(
    ratings: Sequence[Details],
    booked: Sequence[Details],
    given_up: Sequence[Details | None] = (),
) -> list[list[RatedDetail]]:
    """What a run bills, by the parts of the service period to which the usage belongs.

    The sum over the parts is `difference` of the last rating, but for quantities that stay open and for what was given
    up: a part that is worth less than that owes nothing, so only what is owed for it is taken back (given_up).

    Args:
        ratings: of the cumulative usage up to the end of each part, from the first to the current one. The minimum is
            only in the last, and only for a final run.
        booked: everything that earlier runs billed for each part, without what was given up.
        given_up: what of each part was billed and then given up; None: the part, whatever it is worth. Empty: nothing.

    Returns:
        The changed components of each part.
    """
    if len(ratings) == 1 and not booked[0] and not any(given_up):
        # Most lines of a month end are a whole period, for the first time.
        return [[one for one in _by_key(ratings[0]).values() if _is_money(one)]]
    wanted = _wanted(ratings)
    left = list(given_up) or [()] * len(booked)
    covered = covered_parts([one.values() for one in wanted], left, _moves(ratings))
    found: list[list[RatedDetail]] = []
    for place, rating in enumerate(ratings):
        should, before = wanted[place], [*booked[place]]
        if covered[place]:
            should = {}
        else:
            before += left[place] or ()
        found.append(_difference(should, _by_key(before), {one.key for one in rating}))
    return found


def summed(details: Iterable[RatedDetail]) -> list[RatedDetail]:
    """Bookings as one component for each key: what has to be kept of a line.

    A key whose numbers are all zero is left out.
    """
    return [one for one in _by_key(details).values() if one.quantity_atto or _is_money(one)]


def _moves(ratings: Sequence[Details]) -> bool:
    """Whether a later part makes a component of an earlier one disappear."""
    keys = [{one.key for one in rating} for rating in ratings]
    return any(before - after for before, after in pairwise(keys))


def _wanted(ratings: Sequence[Details]) -> list[dict[Key, RatedDetail]]:
    """What each part is worth: how the rating grows with it.

    A component that a part makes disappear is taken off the parts that had it.
    """
    wanted: list[dict[Key, RatedDetail]] = []
    before: dict[Key, RatedDetail] = {}
    for rating in ratings:
        after = _by_key(rating)
        for key in before.keys() - after.keys():
            for part in wanted:
                part.pop(key, None)
        wanted.append({key: _less(one, before.get(key)) for key, one in after.items()})
        before = after
    return wanted


def _by_key(details: Iterable[RatedDetail]) -> dict[Key, RatedDetail]:
    sums: dict[Key, RatedDetail] = {}
    for one in details:
        key = one.key
        before = sums.get(key)
        if before is not None:
            one = _combined(before, one, 1)  # noqa: PLW2901
        elif one.reversal:
            one = msgspec.structs.replace(one, reversal=False)  # noqa: PLW2901
        sums[key] = one
    return sums


def _difference(
    wanted: dict[Key, RatedDetail], booked: dict[Key, RatedDetail], rated: set[Key]
) -> list[RatedDetail]:
    found = [_less(one, booked.get(key)) for key, one in wanted.items()]
    gone = [_negative(one, reversal=key not in rated) for key, one in booked.items() if key not in wanted]
    return [one for one in (*found, *gone) if _is_money(one)]


def _is_money(one: RatedDetail) -> bool:
    return bool(one.amount or one.charges or one.percentage_discount or one.maximum_discount)


def _less(one: RatedDetail, other: RatedDetail | None) -> RatedDetail:
    return one if other is None else _combined(one, other, -1)


def _combined(one: RatedDetail, other: RatedDetail, sign: int) -> RatedDetail:
    return RatedDetail(
        one.reference,
        one.per_unit_atto,
        one.quantity_atto + sign * other.quantity_atto,
        one.amount + sign * other.amount,
        one.charges + sign * other.charges,
        one.percentage_discount + sign * other.percentage_discount,
        one.maximum_discount + sign * other.maximum_discount,
        one.tier,
    )


def _negative(one: RatedDetail, reversal: bool) -> RatedDetail:
    return RatedDetail(
        one.reference,
        one.per_unit_atto,
        -one.quantity_atto,
        -one.amount,
        -one.charges,
        -one.percentage_discount,
        -one.maximum_discount,
        one.tier,
        reversal,
    )
