"""Detailed lines: what a usage costs, component by component, in minor units of the currency.

Owns: child references and names of components, the amounts of one, totals as sums. Does not own: which components a
price gives (models), what of them was billed before (booking), taxes and credits of totals (tax, credit_allocation).
Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/rating/service/rate` for references and names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from pipeline.core.values import number

FLAT = "flat-price"
UNIT = "unit-price-usage"
USAGE = "usage"
VOLUME_FLAT = "volume-flat-price"
VOLUME_UNIT = "volume-tiered-price"
MINIMUM = "min-spend"
SHARE = "percentage-share"
EVENTS = "percentage-events"
CORRECTION = "#correction"

_NAMES = {
    FLAT: "",
    UNIT: ": usage in period",
    USAGE: ": usage in period",
    VOLUME_FLAT: ": flat price for tier {tier}",
    VOLUME_UNIT: ": unit price for tier {tier}",
    MINIMUM: ": minimum spend",
    SHARE: ": share of usage in period",
    EVENTS: ": events in period",
}
_TIER_NAMES = {
    "price-usage": ": usage price for tier {tier}",
    "flat-price": ": flat price for tier {tier}",
    "share": ": share of tier {tier}",
}

Category = Literal["regular", "commitment"]
Reduction = Literal["ratecard_percentage", "maximum_spend"]
Key = tuple[str, int]


class RatedDetail(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One component of a line. Money is in minor units; negative numbers take something back.

    Integers have up to 38 digits, so that it is stored as JSON, and not as MessagePack.

    Attributes:
        reference: stable over every rating of the line; one of the constants above, or of a tier.
        per_unit_atto: price of a unit, with all the digits that it has.
        quantity_atto: billed units.
        amount: per unit x quantity, rounded once. 0 for a commitment.
        charges: what a commitment adds.
        percentage_discount, maximum_discount: taken off.
        tier: from 1; 0 without tiers.
        reversal: it takes back a component that the rating does not have any more.
    """

    reference: str
    per_unit_atto: int
    quantity_atto: int
    amount: int
    charges: int = 0
    percentage_discount: int = 0
    maximum_discount: int = 0
    tier: int = 0
    reversal: bool = False

    @property
    def key(self) -> Key:
        """What identifies a component over ratings: one with another unit price is another."""
        return self.reference, self.per_unit_atto

    @property
    def discounts(self) -> int:
        return self.percentage_discount + self.maximum_discount

    @property
    def amount_discounts(self) -> list[tuple[Reduction, int]]:
        """What was taken off, in the order in which it was, in minor units."""
        reasons: list[tuple[Reduction, int]] = [
            ("ratecard_percentage", self.percentage_discount),
            ("maximum_spend", self.maximum_discount),
        ]
        return [(reason, amount) for reason, amount in reasons if amount]

    @property
    def total(self) -> int:
        return self.amount + self.charges - self.percentage_discount - self.maximum_discount

    @property
    def category(self) -> Category:
        return "commitment" if self.reference == MINIMUM else "regular"

    @property
    def child_reference(self) -> str:
        """Its reference within the line, unique there: a reversal may stand beside the component that replaces it."""
        return f"{self.reference}{CORRECTION}" if self.reversal else self.reference

    def name(self, line: str) -> str:
        """Its name below a line of this name.

        >>> RatedDetail("graduated-tiered-2-flat-price", 0, 0, 0, tier=2).name("Tokens")
        'Tokens: flat price for tier 2'
        """
        suffix = _NAMES.get(self.reference)
        if suffix is None:
            suffix = next(name for end, name in _TIER_NAMES.items() if self.reference.endswith(f"-{end}"))
        return line + suffix.format(tier=self.tier)


def graduated_unit(tier: int) -> str:
    """The reference of the units in a graduated tier, counted from 1."""
    return f"graduated-tiered-{tier}-price-usage"


def graduated_flat(tier: int) -> str:
    """The reference of the flat price of a graduated tier."""
    return f"graduated-tiered-{tier}-flat-price"


def share_of_tier(tier: int) -> str:
    """The reference of the share of a tier of amounts."""
    return f"graduated-percentage-{tier}-share"


def flat_of_share_tier(tier: int) -> str:
    """The reference of the flat amount of a tier of amounts."""
    return f"graduated-percentage-{tier}-flat-price"


class MoneyTotals(NamedTuple):
    """Totals of a detailed line, a line or an invoice, in minor units: each is a sum, and none is rounded again."""

    amount: int = 0
    charges: int = 0
    discounts: int = 0
    credits: int = 0
    taxes_inclusive: int = 0
    taxes_exclusive: int = 0

    @property
    def taxes(self) -> int:
        return self.taxes_inclusive + self.taxes_exclusive

    @property
    def total(self) -> int:
        return self.amount + self.charges + self.taxes_exclusive - self.discounts - self.credits


def totals_of(detail: RatedDetail, credits: int = 0) -> MoneyTotals:
    """The totals of a detailed line that `credits` pay a part of."""
    return MoneyTotals(detail.amount, detail.charges, detail.discounts, credits)


def sum_of(totals: Iterable[MoneyTotals]) -> MoneyTotals:
    """The totals of a whole from those of its parts.

    >>> sum_of([MoneyTotals(10), MoneyTotals(5, discounts=1)]).total
    14
    """
    return MoneyTotals(*(sum(values) for values in zip(*totals, strict=True)))


def quantity_text(detail: RatedDetail) -> str:
    """Plain decimal text of billed units."""
    return number.text(detail.quantity_atto)
