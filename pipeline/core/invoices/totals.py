"""Totals of a detailed line, a line or an invoice, as JSON has them: decimal text in major units.

Owns: the members, their sums, the rule between them. Does not own: the amounts (rating), rounding: a detailed line is
rounded once, and its totals are only added up from there on.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core.rating.detail import MoneyTotals
from pipeline.core.values import money, number
from pipeline.errors import Broken


class InvoiceTotals(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel"):
    """amount: without the rest. total: amount + charges + exclusive taxes - discounts - credits."""

    amount: str = "0"
    charges_total: str = "0"
    discounts_total: str = "0"
    credits_total: str = "0"
    taxes_inclusive_total: str = "0"
    taxes_exclusive_total: str = "0"
    taxes_total: str = "0"
    total: str = "0"


_SUMMED = InvoiceTotals.__struct_fields__
_NONE = InvoiceTotals()


def summed(parts: Iterable[InvoiceTotals]) -> InvoiceTotals:
    """The totals of a whole: each is the sum of that of its parts.

    >>> summed([InvoiceTotals(amount="0.1", total="0.1"), InvoiceTotals(amount="0.2", total="0.2")]).total
    '0.3'
    """
    counted = [part for part in parts if part != _NONE]  # a line that waits has none
    if len(counted) <= 1:  # most lines have one component
        return counted[0] if counted else _NONE
    sums = [0] * len(_SUMMED)
    for part in counted:
        for place, amount in enumerate(msgspec.structs.astuple(part)):
            if amount != "0":  # most of them, and every line of a month end passes here
                sums[place] += number.exact(amount)
    texts = (number.text(one) if one else "0" for one in sums)
    return InvoiceTotals(**dict(zip(_SUMMED, texts, strict=True)))


def of_money(totals: MoneyTotals, digits: int) -> InvoiceTotals:
    """Totals of a rating. digits: of the currency."""

    def text(amount: int) -> str:
        return money.text(amount, digits) if amount else "0"

    return InvoiceTotals(
        amount=text(totals.amount),
        charges_total=text(totals.charges),
        discounts_total=text(totals.discounts),
        credits_total=text(totals.credits),
        taxes_inclusive_total=text(totals.taxes_inclusive),
        taxes_exclusive_total=text(totals.taxes_exclusive),
        taxes_total=text(totals.taxes),
        total=text(totals.total),
    )


def check_totals(totals: InvoiceTotals) -> None:
    """Raises Broken where the total is not what the other members make it."""
    scaled = {name: number.exact(getattr(totals, name)) for name in _SUMMED}
    wanted = (
        scaled["amount"]
        + scaled["charges_total"]
        + scaled["taxes_exclusive_total"]
        - scaled["discounts_total"]
        - scaled["credits_total"]
    )
    if scaled["total"] != wanted:
        raise Broken(f"A total is {totals.total} where its parts make {number.text(wanted)}.")
    if scaled["taxes_total"] != scaled["taxes_inclusive_total"] + scaled["taxes_exclusive_total"]:
        raise Broken(f"Taxes are {totals.taxes_total} where their parts make another sum.")
