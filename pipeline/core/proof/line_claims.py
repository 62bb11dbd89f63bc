"""What a line of a proof has to be, before its events and its rating are checked.

Owns: plain numbers, one currency, which lines need events, what a correction shows of the lines before it. Does not
own: ratings (line_rating), taxes (line_taxes), the count of events (proof_check).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.totals import check_totals
from pipeline.core.proof.proof_file import ProvenLine
from pipeline.core.values import number
from pipeline.errors import Broken


def is_plain(text: str) -> bool:
    """Whether a number has the one spelling that a proof has for it.

    >>> is_plain("1.5"), is_plain("1.50"), is_plain("+1.5"), is_plain("15e-1")
    (True, False, False, False)
    """
    try:
        return number.text(number.exact(text)) == text
    except (ValueError, IndexError):
        return False


def wrong_claims(row: ProvenLine, currency: str) -> str | None:
    """A sentence on what is wrong with a line; None: nothing is.

    Args:
        row: the line, as the file has it.
        currency: of the invoice.
    """
    lines = (row.line, *row.earlier)
    strange = next((text for line in lines for text in _numbers(line) if not is_plain(text)), None)
    if strange is not None:
        return f"{strange[:64]} is not how a proof spells a number"
    of_child = (child.currency for line in lines for child in line.children)
    if any(one != currency for one in (*(line.currency for line in lines), *of_child)):
        return f"its currency is not {currency}, that of the invoice"
    return _wrong_events(row) or _wrong_earlier(row) or _wrong_totals(row.line)


def _numbers(line: InvoiceLine) -> Iterator[str]:
    """The quantities and amounts that are added up or compared."""
    for totals in (line.totals, *(child.totals for child in line.children)):
        yield from msgspec.structs.astuple(totals)
    if line.counted is not None:
        yield from (line.counted.before, line.counted.quantity, *line.counted.later)
    for child in line.children:
        yield from (child.quantity, child.per_unit_amount)
        if child.discounts is not None:
            yield from (one.amount for one in child.discounts.amount)


def _wrong_events(row: ProvenLine) -> str | None:
    usage = row.line.counted
    if usage is None and row.line.is_metered:
        return "it bills usage, but it does not say which"
    if usage is not None and row.events is None:
        return "it bills usage, but it has no events"
    return None


def _wrong_earlier(row: ProvenLine) -> str | None:
    corrects = row.line.corrects
    ids = {row.line.id, *(one.id for one in row.earlier)}
    if len(ids) != 1 + len(row.earlier):
        return "it shows a line before it twice"
    if corrects is None:
        has_own = any(one.corrects is None for one in row.earlier)
        return "it corrects nothing, but shows lines before it" if has_own else None
    is_of = [corrects.line_id in (one.id, one.corrects and one.corrects.line_id) for one in row.earlier]
    if not row.earlier:
        return "it does not show the line that it corrects"
    for place, one in enumerate(row.earlier):
        was_left = one.corrects is not None and any(is_of[place:])
        if not is_of[place] and not was_left:
            return f"it does not correct the line {one.id}"
    if row.line.counted is not None and row.earlier[-1].counted is None:
        return "the line before it does not say which usage it bills"
    return None


def _wrong_totals(line: InvoiceLine) -> str | None:
    try:
        for child in line.children:
            check_totals(child.totals)
    except Broken as error:
        return f"a component does not add up: {str(error).rstrip('.')}"
    return None
