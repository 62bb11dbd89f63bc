"""Lines with their taxes, by the rates of the profile that an invoice was created with.

Owns: which rate a line has, its taxes in totals. Does not own: how a tax is rounded and shared (rating.tax), taxes that
an app computes.

A line is taxed by the rate whose code its tax configuration names: `taxCodeId`, else the code of custom invoicing, else
that of Stripe. One without a configuration has that of the profile. One that names none has the rate with the code
`default`, if there is one. A tax is shared to the detailed lines, so that a line is still the sum of its details. What
credits pay is not taxed, but for those of a credit note: their tax was taken back, so they pay the tax too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.core.catalog.tax_config import TaxConfig
from pipeline.core.invoices.line import InvoiceDetailedLine, InvoiceLine, LineTax, live_lines, with_details
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.rating.tax import CreditedTax, Tax, TaxedAmount, TaxRate, credited_taxes, taxes
from pipeline.core.values import money, number
from pipeline.core.values.currency import digits_of

DEFAULT: Final = "default"
NO_TAX_RATE: Final = "The profile enforces a tax and has no rate for the code {}."


def tax_code(line: InvoiceLine, usual: TaxConfig | None = None) -> str:
    """The code of the rate of a line. usual: the configuration of a line that has none."""
    config = line.rate_card.tax_config or usual
    if config is None:
        return DEFAULT
    nested = (config.custom_invoicing, config.stripe)
    found = (config.tax_code_id, *(part.code for part in nested if part is not None))
    return next((code for code in found if code is not None), DEFAULT)


def codes_without_rate(
    lines: tuple[InvoiceLine, ...], rates: Sequence[TaxRate], usual: TaxConfig | None = None
) -> list[str]:
    """The codes of live lines for which there is no rate, sorted. usual: as for `tax_code`."""
    known = {rate.code for rate in rates}
    return sorted({tax_code(line, usual) for line in live_lines(lines)} - known)


def with_taxes(
    lines: tuple[InvoiceLine, ...],
    rates: Sequence[TaxRate],
    currency: str,
    usual: TaxConfig | None = None,
    credited: Sequence[CreditedTax] = (),
) -> tuple[InvoiceLine, ...]:
    """The lines of an invoice with their taxes. Taxes that they had are computed again.

    Args:
        lines: rated; deleted ones stay as they are.
        rates: of the invoice.
        currency: of the invoice.
        usual: as for `tax_code`.
        credited: of a credit note: what those before it took back.
    """
    digits = digits_of(currency)
    live = live_lines(lines)
    if not rates and all(_has_no_tax(line) for line in live):
        return lines  # as most companies have them, at every rating of a month end
    found = iter(taxes(_taxed_amounts(live, digits, usual), rates, credited))
    by_code = {rate.code: rate for rate in rates}
    taxed = {
        line.id: _taxed(
            line, [next(found) for _ in line.children], by_code.get(tax_code(line, usual)), digits
        )
        for line in live
    }
    return tuple(taxed.get(line.id, line) for line in lines)


def with_credited(
    lines: tuple[InvoiceLine, ...], currency: str, usual: TaxConfig | None, before: Sequence[CreditedTax]
) -> tuple[CreditedTax, ...]:
    """What the credit notes of an invoice took back at each rate, after one with these lines.

    Args:
        lines: of the note, with their taxes.
        currency: of it.
        usual: as for `tax_code`.
        before: what the notes before it took back.
    """
    digits, live = digits_of(currency), live_lines(lines)
    totals = [child.totals for line in live for child in line.children]
    found = [Tax(money.minor(number.exact(one.taxes_total), digits)) for one in totals]
    return credited_taxes(_taxed_amounts(live, digits, usual), found, before)


def _taxed_amounts(live: Sequence[InvoiceLine], digits: int, usual: TaxConfig | None) -> list[TaxedAmount]:
    return [
        TaxedAmount(taxed_net(child, digits), tax_code(line, usual))
        for line in live
        for child in line.children
    ]


def _has_no_tax(line: InvoiceLine) -> bool:
    return not line.taxes and all(child.totals.taxes_total == "0" for child in line.children)


def taxed_net(child: InvoiceDetailedLine, digits: int) -> int:
    """What is taxed of a component, in minor units: all but the tax on top, before credits that pay that too."""
    totals = child.totals
    paid_atto = sum(number.exact(one.amount) for one in child.credit_allocations if one.after_tax)
    net_atto = number.exact(totals.total) - number.exact(totals.taxes_exclusive_total) + paid_atto
    return money.minor(net_atto, digits)


def _taxed(line: InvoiceLine, found: list[Tax], rate: TaxRate | None, digits: int) -> InvoiceLine:
    children = [_with_tax(child, tax, digits) for child, tax in zip(line.children, found, strict=True)]
    named = () if rate is None else (LineTax(percent=rate.percent, behavior=rate.behavior),)
    return msgspec.structs.replace(with_details(line, tuple(children)), taxes=named)


def _with_tax(child: InvoiceDetailedLine, tax: Tax, digits: int) -> InvoiceDetailedLine:
    net = taxed_net(child, digits)
    exclusive = tax.amount if tax.behavior == "exclusive" else 0
    changed: InvoiceTotals = msgspec.structs.replace(
        child.totals,
        taxes_inclusive_total=money.text(tax.amount - exclusive, digits),
        taxes_exclusive_total=money.text(exclusive, digits),
        taxes_total=money.text(tax.amount, digits),
        total=money.text(net + exclusive, digits),
    )
    return msgspec.structs.replace(child, totals=changed)
