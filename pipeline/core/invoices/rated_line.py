"""A line with its rating: quantities, detailed lines, discounts and what credits pay, as JSON has them.

Owns: that translation, from minor units to decimal text. Does not own: the rating (rating.rate), what of it a run bills
(rating.booking), which credits there are (rating.credit_allocation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from pipeline.core.catalog.price import FlatPrice, PaymentTerm
from pipeline.core.catalog.price_terms import Discounts
from pipeline.core.invoices.line import (
    AmountDiscount,
    CreditAllocated,
    InvoiceDetailedLine,
    InvoiceLine,
    LineDiscounts,
    MaximumSpend,
    PercentageReason,
    QuantityDiscount,
    UsageReason,
    detail_id,
    with_details,
)
from pipeline.core.invoices.line_split import is_first, is_last
from pipeline.core.invoices.totals import InvoiceTotals, of_money
from pipeline.core.rating.detail import RatedDetail, totals_of
from pipeline.core.rating.rate import LinePart, Rated
from pipeline.core.rating.tariff import LineTerms
from pipeline.core.values import money, number
from pipeline.core.values.currency import digits_of

_PERCENTAGE: Final = "rateCardDiscount/correlationID="
_MAXIMUM: Final = "maximumSpend"
_USAGE: Final = "usageDiscount"


class PaidBy(NamedTuple):
    """What a credit pays of one detailed line. amount: in minor units."""

    amount: int
    description: str | None = None


def rating_terms(line: InvoiceLine) -> LineTerms | None:
    """What the line is rated by; None: it is free."""
    card = line.rate_card
    return (
        None if card.price is None else LineTerms(card.price, line.currency, card.discounts, card.unit_config)
    )


def rating_part(
    line: InvoiceLine, usage_atto: int, pre_atto: int, booked: int, minimum: bool = True
) -> LinePart:
    """What is rated of a line, or of a part of one.

    Args:
        usage_atto, pre_atto: metered in its period, and in the parts before it.
        booked: what the parts before it cost, in minor units.
        minimum: whether this run is final for the period.
    """
    return LinePart(usage_atto, pre_atto, is_first(line), is_last(line), booked, minimum)


def with_rating(line: InvoiceLine, part: LinePart, rated: Rated) -> InvoiceLine:
    """The line with the quantities and the components of a rating; a fixed amount has the quantity 1."""
    quantities = msgspec.structs.replace(
        line,
        quantity=number.text(rated.quantity_atto) if line.is_metered else "1",
        pre_line_period_quantity=number.text(rated.pre_atto) if line.is_metered else None,
        metered_quantity=number.text(part.usage_atto) if line.is_metered else None,
        metered_pre_line_period_quantity=number.text(part.pre_atto) if line.is_metered else None,
        discounts=_free_units(line, rated),
    )
    return with_billed(quantities, rated.details)


def with_billed(
    line: InvoiceLine, details: Sequence[RatedDetail], credits: Sequence[Sequence[PaidBy]] = ()
) -> InvoiceLine:
    """The line with the components that a run bills, and what credits pay of each.

    Args:
        details: a rating, or what is left of it after what was billed before.
        credits: for each component; none: nothing is paid by a credit.
    """
    paid = credits or [()] * len(details)
    digits = digits_of(line.currency)
    children = [_detail(line, one, by, digits) for one, by in zip(details, paid, strict=True)]
    return with_details(line, tuple(children))


def without_rating(line: InvoiceLine) -> InvoiceLine:
    """The line as it was before it was rated."""
    return msgspec.structs.replace(
        line,
        quantity=None,
        metered_quantity=None,
        pre_line_period_quantity=None,
        metered_pre_line_period_quantity=None,
        discounts=None,
        credit_allocations=(),
        taxes=(),
        totals=InvoiceTotals(),
        children=(),
        counted=None,
    )


def _detail(
    line: InvoiceLine, rated: RatedDetail, paid: Sequence[PaidBy], digits: int
) -> InvoiceDetailedLine:
    totals = totals_of(rated, sum(one.amount for one in paid))
    return InvoiceDetailedLine(
        id=detail_id(line.id, _identity(rated)),
        child_reference=rated.child_reference,
        name=rated.name(line.name),
        period=line.period,
        currency=line.currency,
        quantity=number.text(rated.quantity_atto),
        per_unit_amount=number.text(rated.per_unit_atto),
        payment_term=_payment_term(line),
        category=rated.category,
        discounts=_discounts(line, rated, digits),
        credit_allocations=tuple(
            CreditAllocated(amount=money.text(one.amount, digits), description=one.description)
            for one in paid
        ),
        totals=of_money(totals, digits),
    )


def _identity(rated: RatedDetail) -> str:
    """What no other component of a line has: one that is taken back may differ from another in its unit price only."""
    return f"{rated.child_reference}@{rated.per_unit_atto}" if rated.reversal else rated.child_reference


def _payment_term(line: InvoiceLine) -> PaymentTerm:
    price = line.rate_card.price
    return price.payment_term if isinstance(price, FlatPrice) else "in_arrears"


def _discounts(line: InvoiceLine, rated: RatedDetail, digits: int) -> LineDiscounts | None:
    found = []
    of_child = f"{line.id}/{_identity(rated)}"
    share = (line.rate_card.discounts or Discounts()).percentage
    if rated.percentage_discount and share is not None:
        reason = PercentageReason(
            percentage=number.text(number.atto(share.percentage)),
            correlation_id=_correlation(line, _PERCENTAGE),
        )
        amount = money.text(rated.percentage_discount, digits)
        found.append(AmountDiscount(id=detail_id(of_child, _PERCENTAGE), reason=reason, amount=amount))
    if rated.maximum_discount:
        amount = money.text(rated.maximum_discount, digits)
        found.append(AmountDiscount(id=detail_id(of_child, _MAXIMUM), reason=MaximumSpend(), amount=amount))
    return LineDiscounts(amount=tuple(found)) if found else None


def _free_units(line: InvoiceLine, rated: Rated) -> LineDiscounts | None:
    usage = (line.rate_card.discounts or Discounts()).usage
    if usage is None or not (rated.free_atto or rated.pre_free_atto):
        return None
    reason = UsageReason(quantity=usage.quantity, correlation_id=_correlation(line, _USAGE))
    discount = QuantityDiscount(
        id=detail_id(line.id, _USAGE),
        reason=reason,
        quantity=number.text(rated.free_atto),
        pre_line_period_quantity=number.text(rated.pre_free_atto),
    )
    return LineDiscounts(usage=(discount,))


def _correlation(line: InvoiceLine, discount: str) -> str:
    """The same for all parts of a line."""
    return detail_id(line.split.group if line.split else line.id, discount)
