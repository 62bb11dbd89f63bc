"""A line of an invoice as a person reads it: what was used, what it costs, why.

Owns: the rows of a line and their words. Does not own: numbers and dates as text (print_text), the rest of the invoice
(printed_invoice).

A line has a row of its own, one for each component (a tier, a minimum), and one for each discount and credit. Its
amount is without the taxes that are added to it, so that the amounts of all lines add up to the net total.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pipeline.core.catalog.price import GraduatedPercentagePrice, TieredPrice
from pipeline.core.invoices import print_text
from pipeline.core.invoices.line import (
    AmountDiscount,
    InvoiceDetailedLine,
    InvoiceLine,
    LineTax,
    PercentageReason,
)
from pipeline.core.rating.detail import FLAT, UNIT, USAGE
from pipeline.core.values import number

_TIER: Final = re.compile(r" for tier ([1-9]\d*)$").search
_PLAIN: Final = frozenset({FLAT, UNIT, USAGE})  # what the name of a line says already


class PrintedRow(NamedTuple):
    """One component of a line, or a discount or credit, which has no quantity and no price."""

    name: str
    note: str
    quantity: str
    unit_price: str
    amount: str


class PrintedLine(NamedTuple):
    """A line. rows: none if it is one price times one quantity, which it shows itself."""

    name: str
    description: str
    period: str
    notes: tuple[str, ...]
    quantity: str
    unit_price: str
    tax: str
    amount: str
    rows: tuple[PrintedRow, ...]


def printed_line(line: InvoiceLine, zone: str, numbers: Mapping[str, str]) -> PrintedLine:
    """The rows of a line.

    Args:
        zone: in which its period is shown.
        numbers: id of an invoice -> its number, for corrections.
    """
    rows = tuple(_rows(line))
    own = rows[0] if len(rows) == 1 and line.children[0].child_reference in _PLAIN else None
    whole = _with_unit(line, line.quantity) if line.is_metered else ""
    return PrintedLine(
        name=line.name,
        description=line.description or "",
        period=print_text.period(line.period, zone),
        notes=tuple(_notes(line, zone, numbers)),
        quantity=whole if own is None else own.quantity,
        unit_price="" if own is None else own.unit_price,
        tax=", ".join(tax_label(tax) for tax in line.taxes),
        amount=print_text.amount(net_total(line), line.currency),
        rows=rows if own is None else (),
    )


def net_total(line: InvoiceLine) -> str:
    """What a line costs without the taxes that are added to it and what pays those too, as decimal text."""
    totals = line.totals
    without_tax = number.exact(totals.total) - number.exact(totals.taxes_exclusive_total)
    return number.text(without_tax + paid_after_tax(line))


def paid_after_tax(line: InvoiceLine) -> int:
    """What credits of credit notes pay of a line, with its tax, in atto."""
    allocations = (one for child in line.children for one in child.credit_allocations)
    return sum(number.exact(one.amount) for one in allocations if one.after_tax)


def tax_label(tax: LineTax) -> str:
    """A tax in a column: `19 %`, or `19 % incl.` where the amount has it in it."""
    shown = print_text.percent(f"{tax.percent:f}")
    return f"{shown} incl." if tax.behavior == "inclusive" else shown


def _rows(line: InvoiceLine) -> Iterator[PrintedRow]:
    for child in line.children:
        charged = number.text(number.exact(child.totals.amount) + number.exact(child.totals.charges_total))
        yield PrintedRow(
            _name(line, child),
            _tier_note(line, child),
            _with_unit(line, child.quantity),
            print_text.amount(child.per_unit_amount, line.currency),
            print_text.amount(charged, line.currency),
        )
        for discount in child.discounts.amount if child.discounts else ():
            yield _reduced(_reason(discount), discount.amount, line.currency)
        for credit in (one for one in child.credit_allocations if not one.after_tax):
            yield _reduced(credit.description or "Paid by credit", credit.amount, line.currency)


def _reduced(name: str, amount: str, currency: str) -> PrintedRow:
    taken = number.text(-number.exact(amount))
    return PrintedRow(name, "", "", "", print_text.amount(taken, currency))


def _name(line: InvoiceLine, child: InvoiceDetailedLine) -> str:
    """What a component is, without the name of its line, which stands above it."""
    own = child.name.removeprefix(f"{line.name}: ")
    return own[:1].upper() + own[1:]


def _tier_note(line: InvoiceLine, child: InvoiceDetailedLine) -> str:
    """Which usage the tier of a component holds."""
    price, found = line.rate_card.price, _TIER(child.name)
    if found is None or not isinstance(price, TieredPrice | GraduatedPercentagePrice):
        return ""
    place = int(found[1])
    bounds = [tier.up_to_amount for tier in price.tiers]
    if place > len(bounds):
        return ""
    lower, upper = "0" if place == 1 else bounds[place - 2], bounds[place - 1]
    if upper is None:
        return f"above {print_text.quantity(lower or '0')}"
    if place == 1:
        return f"up to {print_text.quantity(upper)}"
    return f"above {print_text.quantity(lower or '0')} up to {print_text.quantity(upper)}"


def _reason(discount: AmountDiscount) -> str:
    if discount.description:
        return discount.description
    if isinstance(discount.reason, PercentageReason):
        return f"Discount of {print_text.percent(discount.reason.percentage)}"
    return "Reduced to the maximum of the price"


def _notes(line: InvoiceLine, zone: str, numbers: Mapping[str, str]) -> Iterator[str]:
    if line.corrects is not None:
        of = numbers.get(line.corrects.invoice_id)
        yield f"Correction of invoice {of}" if of else "Correction of an earlier invoice"
    if line.split is not None:
        yield f"Part of {print_text.period(line.split.period, zone)}"
    before = line.metered_pre_line_period_quantity
    if before is not None and number.exact(before):
        yield f"{print_text.quantity(before)} were used in the period before"
    free = [one.quantity for one in line.discounts.usage] if line.discounts else []
    if line.metered_quantity is not None and line.metered_quantity != line.quantity:
        yield f"{print_text.quantity(line.metered_quantity)} metered"
    yield from (f"{print_text.quantity(one)} free of charge" for one in free if number.exact(one))


def _with_unit(line: InvoiceLine, quantity: str | None) -> str:
    if quantity is None:
        return ""
    unit = line.rate_card.unit_config
    shown = print_text.quantity(quantity)
    return f"{shown} {unit.display_unit}" if unit is not None and unit.display_unit else shown
