"""Taxes by rates that are configured, for a deployment in which no outside system computes them.

Owns: tax of an invoice and its sharing to lines, tax of a credited share and of a series of credit notes. Does not own:
which rates a customer has (billing profiles), automatic tax of Stripe.

Tax is rounded once for each rate of an invoice, from the sum of the rounded lines, and shared to the lines by largest
remainder: never line by line, so that the invoice has the tax that the law asks of its sum. An exclusive tax is added
to a line; an inclusive one is already in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, get_args

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.values import money, number

TaxBehavior = Literal["inclusive", "exclusive"]
MAX_RATES = 50
_FULL = 100 * number.SCALE


class TaxRate(msgspec.Struct, frozen=True, rename="camel"):
    """A rate. code: that lines name. percent: 0 to 100."""

    code: str
    percent: Decimal
    behavior: TaxBehavior = "exclusive"


class TaxedAmount(NamedTuple):
    """A line's total before exclusive taxes, in minor units, and the code of its tax; None: no tax."""

    amount: int
    code: str | None


class Tax(NamedTuple):
    """A tax in minor units. behavior: whether it is in the amount or comes on top."""

    amount: int
    behavior: TaxBehavior = "exclusive"


class CreditedTax(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What credit notes of an invoice took back at a rate by now, in minor units.

    Attributes:
        code: of the rate.
        net: that was taxed.
        tax: of it.
    """

    code: str
    net: int
    tax: int


class TaxedShare(NamedTuple):
    """A share of a fee with its tax, in minor units: total = net + tax."""

    net: int
    tax: int

    @property
    def total(self) -> int:
        return self.net + self.tax


def read_tax_rates(
    kind: str, bodies: Sequence[Mapping[str, object]], inside: str = "taxRates"
) -> tuple[TaxRate, ...]:
    """The rates that a client sent.

    Args:
        kind: of the definition that has them; `bad-<kind>` is the reason of refusals.
        bodies: JSON objects.
        inside: the member that holds them, for refusals.

    Raises:
        Rejected: `bad-<kind>`, with one sentence.
    """
    found: dict[str, TaxRate] = {}
    for place, body in enumerate(bodies):
        sent = BodyReader(kind, body, ("code", "percent", "behavior"), inside=f"{inside}[{place}]")
        code, percent = sent.required("code", 64), sent.at_least_zero("percent")
        if percent is None or percent > _FULL:
            sent.refuse(f"{sent.kind} percent must be a number from 0 to 100")
        if code in found:
            sent.refuse(f"{sent.kind} code {code} has a rate already")
        behavior: TaxBehavior = sent.one_of("behavior", get_args(TaxBehavior)) or "exclusive"
        found[code] = TaxRate(code, Decimal(number.text(percent)), behavior)
    return tuple(found.values())


def taxes(
    lines: Sequence[TaxedAmount], rates: Sequence[TaxRate], credited: Sequence[CreditedTax] = ()
) -> list[Tax]:
    """The tax of each line of an invoice.

    Args:
        lines: corrections below zero too.
        rates: at most one for a code; a code without a rate has no tax.
        credited: of a credit note: what those before it took back, so that all of them have the tax of their sum.

    >>> vat = TaxRate("vat", Decimal(19))
    >>> [tax.amount for tax in taxes([TaxedAmount(5, "vat")] * 3, [vat])]   # 0.95 each, 2.85 in all
    [1, 1, 1]
    >>> [tax.amount for tax in taxes([TaxedAmount(3, "vat")] * 4, [vat])]   # 0.57 each, 2.28 in all
    [1, 1, 0, 0]
    """
    found = [Tax(0)] * len(lines)
    for rate in rates:
        places = [place for place, line in enumerate(lines) if line.code == rate.code]
        if not places:
            continue
        net = sum(lines[place].amount for place in places)
        factor, divisor = tax_fraction(rate)
        before = next((one for one in credited if one.code == rate.code), None)
        total = None if before is None else -note_tax(-net, before.net, before.tax, rate)
        amounts = money.apportion([lines[place].amount * factor for place in places], divisor, total)
        for place, amount in zip(places, amounts, strict=True):
            found[place] = Tax(amount, rate.behavior)
    return found


def credited_taxes(
    lines: Sequence[TaxedAmount], found: Sequence[Tax], before: Sequence[CreditedTax]
) -> tuple[CreditedTax, ...]:
    """What credit notes took back at each rate, after another one.

    Args:
        lines: of the note; what they take back is below 0.
        found: their taxes.
        before: what the notes before it took back.
    """
    sums = {one.code: (one.net, one.tax) for one in before}
    for line, tax in zip(lines, found, strict=True):
        if line.code is not None:
            net, known = sums.get(line.code, (0, 0))
            sums[line.code] = (net - line.amount, known - tax.amount)
    return tuple(CreditedTax(code, *amounts) for code, amounts in sums.items())


def share_with_tax(amount_atto: int, part: int, whole: int, rate: TaxRate, digits: int) -> TaxedShare:
    """A share of a fee, such as its unused days, as one amount with its tax.

    The total is rounded once from the exact share, and so is the net; the tax is the difference.

    Args:
        amount_atto: the fee; with an inclusive rate its tax is in it.
        part, whole: in any unit, such as seconds; whole is above 0.

    >>> share_with_tax(50 * number.SCALE, 3, 28, TaxRate("vat", Decimal(20)), 2).total   # 5.357... x 1.2
    643
    """
    factor, divisor = tax_fraction(rate)
    numerator, denominator = amount_atto * part, whole * money.unit(digits)
    share = money.rounded(numerator, denominator)
    if rate.behavior == "inclusive":
        tax = money.rounded(numerator * factor, denominator * divisor)
        return TaxedShare(share - tax, tax)
    total = money.rounded(numerator * (divisor + factor), denominator * divisor)
    return TaxedShare(share, total - share)


def note_tax(amount: int, credited: int, credited_tax: int, rate: TaxRate) -> int:
    """The tax of a credit note, so that all notes of an invoice add up to its tax.

    Args:
        amount: that the note credits at this rate, in minor units.
        credited, credited_tax: what the notes before it credited at this rate, and the tax of them.

    >>> rate = TaxRate("vat", Decimal(19))
    >>> first = note_tax(50, 0, 0, rate)
    >>> first, note_tax(50, 50, first, rate)   # 19 in all
    (10, 9)
    """
    factor, divisor = tax_fraction(rate)
    return money.rounded((credited + amount) * factor, divisor) - credited_tax


def creditable(amount: int, paid: int, credited: int) -> int:
    """How much of an amount can be credited: never below 0, never more than was paid and not yet credited.

    >>> creditable(300, 200, 50), creditable(-50, 200, 50), creditable(100, 200, 200)
    (150, 0, 0)
    """
    return max(0, min(amount, paid - credited))


def tax_fraction(rate: TaxRate) -> tuple[int, int]:
    """The tax of an amount as a fraction of it: numerator and denominator.

    Args:
        rate: with an inclusive one the amount has its tax in it.

    Returns:
        The denominator is above 0.
    """
    percent = number.atto(rate.percent)
    return percent, _FULL + percent if rate.behavior == "inclusive" else _FULL
