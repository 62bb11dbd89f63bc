"""Whether the usage of a period is billed, waits to be billed, or is free: for each customer and feature of a meter.

Owns: that equation, what the lines should have billed by the usage that ClickHouse has, sentences on what differs and
why. Does not own: the lines (billed_parts), the count (recounted_usage), where documents and windows come from.

    usage = billed + pending + free      in units, of meters that add up
    rating of the usage = what is booked in money, of every line whose usage was collected

Units are free where no line with a price was there, or a discount took them. What a client gave up is free too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from pipeline.core.bills.billed_parts import BilledPart
from pipeline.core.bills.usage import BilledFeature
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.rated_line import rating_terms
from pipeline.core.rating import booking
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values import money, number
from pipeline.core.values.calendar import floor_minute
from pipeline.core.values.currency import digits_of

ADDED_UP = ("SUM", "COUNT")
UsedQuantity = Callable[[BilledFeature, int, int], int]  # of the usage in [from, to), in atto


class ReconciledFeature(NamedTuple):
    """A feature of a meter. meter: slug."""

    key: str
    meter: str
    billed: BilledFeature


class ReconciledPeriod(NamedTuple):
    """[from_s, to_s), in seconds since 1970."""

    from_s: int
    to_s: int


class MoneyAmount(msgspec.Struct, frozen=True):
    """Decimal text. rated: what the usage of collected lines costs. booked: what they and their corrections bill."""

    currency: str
    rated: str
    booked: str


class MoneyRow(msgspec.Struct, frozen=True):
    """The usage of a customer and feature in a period, as decimal text; None: the meter does not add up.

    Attributes:
        customer: id.
        meter: slug.
        billed: on invoices that are issued. pending: on drafts and gathering invoices.
        amounts: of whole lines, those too that begin before the period or end after it.
        differences: a sentence each.
    """

    customer: str
    meter: str
    meter_id: int
    feature: str
    usage: str | None
    billed: str | None
    pending: str | None
    free: str | None
    amounts: tuple[MoneyAmount, ...]
    differences: tuple[str, ...]


class _Units(NamedTuple):
    """In atto."""

    usage: int
    billed: int
    pending: int

    @property
    def free(self) -> int:
        return self.usage - self.billed - self.pending


class _Judged(NamedTuple):
    """What a line should bill, and does, in minor units of its currency."""

    currency: str
    rated: int
    booked: int
    differences: list[str]


def reconcile_feature(
    customer: str,
    feature: ReconciledFeature,
    groups: Iterable[Sequence[BilledPart]],
    period: ReconciledPeriod,
    quantity: UsedQuantity,
) -> MoneyRow:
    """Compare the usage of a feature with the lines that bill it.

    Args:
        customer: id.
        feature: of the lines.
        groups: the parts of the feature's lines, of any period.
        period: lines that share no minute with it are left out.
        quantity: of the customer's usage, counted independently of the lines.
    """
    shared = [group for group in groups if group and _shares(group, period)]
    judged = [_judge(customer, feature, group, quantity) for group in shared]
    differences = [sentence for one in judged for sentence in one.differences]
    amounts = tuple(
        _amount(currency, [one for one in judged if one.currency == currency])
        for currency in sorted({one.currency for one in judged})
    )
    units = _units(feature, shared, period, quantity)
    if units is not None and units.free < 0:
        differences.append(
            f"{_of(customer, feature)}: lines bill {number.text(units.billed + units.pending)} units of a usage of "
            f"{number.text(units.usage)}: the same usage is on two lines."
        )
    return MoneyRow(
        customer=customer,
        meter=feature.meter,
        meter_id=feature.billed.meter_id,
        feature=feature.key,
        usage=None if units is None else number.text(units.usage),
        billed=None if units is None else number.text(units.billed),
        pending=None if units is None else number.text(units.pending),
        free=None if units is None else number.text(units.free),
        amounts=amounts,
        differences=tuple(differences),
    )


def missing_lines(
    customer: str, wanted: Iterable[InvoiceLine], lines: Iterable[InvoiceLine], period: ReconciledPeriod
) -> list[str]:
    """Sentences on usage that has a price and is on no line.

    Args:
        customer: id.
        wanted: lines of the customer's subscriptions (invoices.subscription_lines).
        lines: on any invoice of the customer, deleted ones too.
        period: lines that share nothing with it are left out.
    """
    there = {line.reference for line in lines}
    return [
        f"customer {customer}: the usage of {line.rate_card.feature_key} from {line.period.start} to {line.period.end} "
        f"is on no invoice, although the subscription {_subscription(line)} has a price for it."
        for line in wanted
        if line.is_metered
        and line.reference not in there
        and line.period.start_s < period.to_s
        and line.period.end_s > period.from_s
    ]


def _units(
    feature: ReconciledFeature,
    groups: Sequence[Sequence[BilledPart]],
    period: ReconciledPeriod,
    quantity: UsedQuantity,
) -> _Units | None:
    """The units of a period; None: the meter does not add up."""
    if feature.billed.aggregation not in ADDED_UP:
        return None
    sums = {"issued": 0, "pending": 0}
    for part in (part for group in groups for part in group):
        if part.place == "given_up":
            continue
        start_s, end_s = (
            max(part.line.period.start_s, period.from_s),
            min(part.line.period.end_s, period.to_s),
        )
        units = quantity(feature.billed, start_s, end_s) if start_s < end_s else 0
        is_whole = (start_s, end_s) == (part.line.period.start_s, part.line.period.end_s)
        place = "issued" if part.place == "issued" else "pending"
        sums[place] += units - (_free_atto(part.line) if is_whole else 0)
    usage = quantity(feature.billed, period.from_s, period.to_s)
    return _Units(usage, sums["issued"], sums["pending"])


def _judge(
    customer: str, feature: ReconciledFeature, group: Sequence[BilledPart], quantity: UsedQuantity
) -> _Judged:
    """Rate the usage of a line's parts up to the last one that was collected, as the only line of its period."""
    line = group[-1].line
    terms, digits = rating_terms(line), digits_of(line.currency)
    collected = _collected(group)
    if terms is None or not collected:
        return _Judged(line.currency, 0, 0, [])
    tariff, start_s, end_s = tariff_of(terms), group[0].line.period.start_s, line.period.end_s
    ratings: list[tuple[RatedDetail, ...]] = []
    for part in collected:
        usage_atto = quantity(feature.billed, start_s, part.line.period.end_s)
        is_final = part.line.period.end_s == end_s
        ratings.append(rate(tariff, LinePart(usage_atto, minimum=is_final)).details)
    rests = booking.by_part(ratings, [part.booked for part in collected])
    rated = booked = 0
    differences: list[str] = []
    for part, rest in zip(collected, rests, strict=True):
        if part.place == "given_up":
            continue
        on_lines, missing = _sum(part.booked), _sum(rest)
        rated, booked = rated + on_lines + missing, booked + on_lines
        if rest:
            usage_atto = quantity(feature.billed, part.line.period.start_s, part.line.period.end_s)
            differences.append(_sentence(customer, feature, part, usage_atto, money.text(missing, digits)))
    return _Judged(line.currency, rated, booked, differences)


def _collected(group: Sequence[BilledPart]) -> list[BilledPart]:
    """The parts up to the last one whose usage was collected; none where an earlier one waits in a draft."""
    rated = [place for place, part in enumerate(group) if part.place in ("draft", "issued")]
    parts = list(group[: rated[-1] + 1]) if rated else []
    return [] if any(part.place == "waiting" for part in parts) else parts


def _sentence(
    customer: str, feature: ReconciledFeature, part: BilledPart, usage_atto: int, missing: str
) -> str:
    line = part.line
    rated = line.metered_quantity
    if part.is_corrected:
        cause = "its corrections do not take all late usage into account"
    elif rated is None or number.exact(rated) == usage_atto:
        cause = "its components are not the rating of its quantity"
    else:
        cause = f"it was rated with {rated} units, and a correction is missing"
    return (
        f"{_of(customer, feature)}: the line {line.id} from {line.period.start} to {line.period.end} has a usage of "
        f"{number.text(usage_atto)} and lacks {missing} {line.currency}: {cause}."
    )


def _amount(currency: str, judged: Sequence[_Judged]) -> MoneyAmount:
    digits = digits_of(currency)
    rated, booked = sum(one.rated for one in judged), sum(one.booked for one in judged)
    return MoneyAmount(currency, money.text(rated, digits), money.text(booked, digits))


def _sum(details: Iterable[RatedDetail]) -> int:
    return sum(one.total for one in details)


def _free_atto(line: InvoiceLine) -> int:
    """Units that a discount took from a line."""
    discounts = () if line.discounts is None else line.discounts.usage
    return sum(number.exact(one.quantity) for one in discounts)


def _shares(group: Sequence[BilledPart], period: ReconciledPeriod) -> bool:
    start_s, end_s = group[0].line.period.start_s, group[-1].line.period.end_s
    return floor_minute(start_s) < period.to_s and end_s > period.from_s


def _of(customer: str, feature: ReconciledFeature) -> str:
    return f"customer {customer}, meter {feature.meter}, feature {feature.key}"


def _subscription(line: InvoiceLine) -> str:
    return "" if line.subscription is None else line.subscription.subscription.id
