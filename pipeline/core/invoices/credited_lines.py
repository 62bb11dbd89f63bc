"""Lines with what credits pay of them.

Owns: allocations and totals of lines and their components. Does not own: which credit pays what (credits.burn_down),
taxes, which are computed afterwards (taxed_lines).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline.core.credits.burn_down import CreditBurn, CreditCharge
from pipeline.core.invoices.line import CreditAllocated, InvoiceDetailedLine, InvoiceLine, with_details
from pipeline.core.values import money, number

SOLD: Final = "credit/"  # the reference of a line that sells credits, before the id of the grant


def sold_grant(line: InvoiceLine) -> str | None:
    """The id of the grant that a line sells; None: it sells none."""
    reference = line.reference or ""
    return reference.removeprefix(SOLD) if reference.startswith(SOLD) else None


def charges_of(line: InvoiceLine, digits: int) -> list[CreditCharge]:
    """The components of a line without tax. digits: of the currency."""
    feature = line.rate_card.feature_key
    return [CreditCharge(line.id, child.id, net_of(child, digits), feature) for child in line.children]


def net_of(child: InvoiceDetailedLine, digits: int) -> int:
    """What a component costs without the tax on top of it, after credits, in minor units."""
    totals = child.totals
    return money.minor(number.parse(totals.total) - number.parse(totals.taxes_exclusive_total), digits)


def with_credits(
    line: InvoiceLine,
    burns: Mapping[str, Sequence[CreditBurn]],
    names: Mapping[str, str],
    digits: int,
    *,
    after_tax: bool = False,
) -> InvoiceLine:
    """The line with what credits pay, beside those that pay it already. Its taxes have to be computed again.

    Args:
        line: of an invoice.
        burns: by the id of the component.
        names: of the grants, by id.
        digits: of the currency.
        after_tax: the credits are those of credit notes: they change no tax.
    """
    if not any(child.id in burns for child in line.children):
        return line
    children = [_paid(child, burns.get(child.id, ()), names, digits, after_tax) for child in line.children]
    return with_details(line, tuple(children))


def _paid(
    child: InvoiceDetailedLine,
    burns: Sequence[CreditBurn],
    names: Mapping[str, str],
    digits: int,
    after_tax: bool,
) -> InvoiceDetailedLine:
    if not burns:
        return child
    paid = sum(one.amount for one in burns)
    total = money.minor(number.parse(child.totals.total), digits) - paid
    credits = money.minor(number.parse(child.totals.credits_total), digits) + paid
    totals = msgspec.structs.replace(
        child.totals, credits_total=money.text(credits, digits), total=money.text(total, digits)
    )
    allocations = tuple(
        CreditAllocated(
            amount=money.text(one.amount, digits), description=names.get(one.grant), after_tax=after_tax
        )
        for one in burns
    )
    allocations = (*child.credit_allocations, *allocations)
    return msgspec.structs.replace(child, credit_allocations=allocations, totals=totals)
