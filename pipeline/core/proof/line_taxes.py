"""The taxes of lines, compared with their rates.

Owns: that comparison, of each component and of all lines of a rate. Does not own: taxes (rating.tax), rates.

A tax is rounded once for each rate of an invoice and shared to the components, so that each has less than one minor
unit more or less than its own. Rates differ by code, which a line may have from its profile: what the file does
not show of it is given the half unit that its rounding can make.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from pipeline.core.invoices.line import InvoiceDetailedLine, InvoiceLine
from pipeline.core.invoices.taxed_lines import tax_code, taxed_net
from pipeline.core.rating.tax import TaxBehavior, TaxRate, tax_fraction
from pipeline.core.values import money, number
from pipeline.core.values.currency import digits_of

_Rate = tuple[Decimal, TaxBehavior]


class TaxCheck:
    """Takes the lines of an invoice, then compares the sum of each rate."""

    def __init__(self) -> None:
        self._missing: dict[_Rate, int] = defaultdict(int)  # exact tax less tax, in minor units by 100 %
        self._codes: dict[_Rate, set[tuple[bool, str]]] = defaultdict(set)

    def wrong_line(self, line: InvoiceLine) -> str | None:
        """A sentence on what is wrong with the taxes of a line; None: nothing is."""
        if len(line.taxes) > 1:
            return "it has more than one tax"
        digits = digits_of(line.currency)
        for child in line.children:
            other, tax, net = _amounts(line, child, digits)
            if other or (tax and not line.taxes):
                return "it has a tax without a rate"
            for rate in line.taxes:
                factor, divisor = tax_fraction(TaxRate("", rate.percent, rate.behavior))
                missing = net * factor - tax * divisor
                if abs(missing) >= divisor:
                    return f"its tax is not {rate.percent} %"
                self._missing[rate.percent, rate.behavior] += missing
        for rate in line.taxes:
            code = (line.rate_card.tax_config is None, tax_code(line))
            self._codes[rate.percent, rate.behavior].add(code)
        return None

    def wrong_sums(self) -> Iterator[str]:
        """A sentence for each rate whose taxes do not add up to it."""
        for (percent, behavior), missing in self._missing.items():
            _, divisor = tax_fraction(TaxRate("", percent, behavior))
            if 2 * abs(missing) > divisor * len(self._codes[percent, behavior]):
                yield f"The taxes of {percent} % are not {percent} % of their lines."


def _amounts(line: InvoiceLine, child: InvoiceDetailedLine, digits: int) -> tuple[int, int, int]:
    """The tax of the other behavior, the tax, and what is taxed, in minor units."""
    totals = child.totals
    exclusive, inclusive = (
        money.minor(number.exact(one), digits)
        for one in (totals.taxes_exclusive_total, totals.taxes_inclusive_total)
    )
    is_inclusive = any(rate.behavior == "inclusive" for rate in line.taxes)
    other, tax = (exclusive, inclusive) if is_inclusive else (inclusive, exclusive)
    return other, tax, taxed_net(child, digits)
