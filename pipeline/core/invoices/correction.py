"""Corrections: lines that only change what an issued line billed.

Owns: the line that bills a difference, the components that a line bills. Does not own: what should be billed
(rating.rate), the difference (rating.booking), on which invoice a correction lies (bills.placing).

An issued line never changes. What it is worth may: usage comes late, or its item ends before its period does. The
difference is a line of its own with fixed components, which no invoice rates again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.core.invoices.line import (
    InvoiceDetailedLine,
    InvoiceLine,
    LineCorrects,
    LinePeriod,
    MaximumSpend,
    line_id,
)
from pipeline.core.invoices.rated_line import with_billed, without_rating
from pipeline.core.rating.detail import CORRECTION, FLAT, MINIMUM, RatedDetail
from pipeline.core.values import money, number, timestamp
from pipeline.core.values.currency import digits_of

_TIER: Final = re.compile(r"tier (\d+)\Z", re.ASCII).search
_TIERED: Final = ("graduated-", "volume-")
_NOT_UNITS: Final = (FLAT, MINIMUM)  # how the references of components end whose quantity is no usage


def correction_line(
    line: InvoiceLine,
    invoice_id: str,
    details: Sequence[RatedDetail],
    now_ms: int,
    *,
    period: LinePeriod | None = None,
    place: int = 0,
    before: InvoiceLine | None = None,
) -> InvoiceLine:
    """The line that bills a difference, to be invoiced at once.

    Args:
        line: that it corrects.
        invoice_id: of the issued invoice that has the line.
        details: the difference (rating.booking), not empty.
        now_ms: the time of the record.
        period: to which the difference belongs; None: that of the line.
        place: how many corrections the line had before.
        before: the correction that this one replaces, which is still open; None: it is new.
    """
    now = timestamp.text_of(now_ms)
    reference = f"{line.id}/correction[{place}]"
    fresh = msgspec.structs.replace(
        without_rating(line),
        id=line_id(now_ms, reference) if before is None else before.id,
        reference=reference if before is None else before.reference,
        name=f"{line.name}: correction",
        managed_by="system",
        period=period or line.period,
        invoice_at=timestamp.text_of(now_ms // 1000 * 1000),
        quantity=_quantity(line, details),
        external_ids=None if before is None else before.external_ids,
        split=None,
        corrects=LineCorrects(invoice_id=invoice_id, line_id=line.id),
        created_at=now if before is None else before.created_at,
        updated_at=now,
    )
    return with_billed(fresh, details)


def billed_by(line: InvoiceLine) -> list[RatedDetail]:
    """The components of a line as they were rated: what `with_billed` made the line of."""
    digits = digits_of(line.currency)
    return [_rated(child, digits) for child in line.children]


def _rated(child: InvoiceDetailedLine, digits: int) -> RatedDetail:
    discounts = () if child.discounts is None else child.discounts.amount
    off = {True: 0, False: 0}
    for one in discounts:
        off[isinstance(one.reason, MaximumSpend)] += _minor(one.amount, digits)
    reference = child.child_reference.removesuffix(CORRECTION)
    tier = _TIER(child.name) if reference.startswith(_TIERED) else None
    return RatedDetail(
        reference,
        number.exact(child.per_unit_amount),
        number.exact(child.quantity),
        _minor(child.totals.amount, digits),
        _minor(child.totals.charges_total, digits),
        off[False],
        off[True],
        int(tier[1]) if tier else 0,
        child.child_reference.endswith(CORRECTION),
    )


def _minor(amount: str, digits: int) -> int:
    return money.minor(number.exact(amount), digits)


def _quantity(line: InvoiceLine, details: Sequence[RatedDetail]) -> str:
    if not line.is_metered:
        return "1"
    return number.text(sum(one.quantity_atto for one in details if not one.reference.endswith(_NOT_UNITS)))
