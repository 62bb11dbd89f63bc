"""The parts of lines by usage as the documents of a customer show them.

Owns: which lines bill one thing, in which parts, how far each is, what was billed for it. Does not own: the groups that
bills are made of (line_group), which are kept by the billing stage alone: this reads what was published.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pipeline.core.invoices.correction import billed_by
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.state_table import InvoiceState, is_immutable, short_status
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.rating.detail import RatedDetail

PartPlace = Literal["waiting", "draft", "issued", "given_up"]
_NOT_COLLECTED = ("gathering", "draft.created", "draft.waiting_for_collection", "draft.collecting")


class BilledPart(NamedTuple):
    """A part of what one line bills.

    Attributes:
        line: with its period and price.
        place: waiting: its usage is not collected. draft, issued: it is rated. given_up: a client deleted it or took it
            back, and it is not billed again.
        booked: by the line and its corrections, wherever they are.
        is_corrected: it has a correction.
    """

    line: InvoiceLine
    place: PartPlace
    booked: tuple[RatedDetail, ...] = ()
    is_corrected: bool = False


class _Found(NamedTuple):
    line: InvoiceLine
    state: InvoiceState

    @property
    def is_given_up(self) -> bool:
        """Whether a client deleted it or its invoice, or took it back."""
        deleted = self.line.deleted_at is not None and self.line.managed_by == "manual"
        return deleted or short_status(self.state) in ("deleted", "delete", "voided")


def billed_parts(invoices: Iterable[StoredInvoice]) -> list[tuple[BilledPart, ...]]:
    """What the lines by usage of a customer bill: the parts of each in order, by their start.

    Args:
        invoices: all of the customer.
    """
    parts: dict[str, list[_Found]] = defaultdict(list)
    corrections: dict[str, list[_Found]] = defaultdict(list)
    for invoice in invoices:
        for line in invoice.content.lines:
            found = _Found(line, invoice.progress.state)
            if line.deleted_at is not None and not found.is_given_up:
                continue  # its subscription removed it
            if line.corrects is not None:
                corrections[line.corrects.line_id].append(found)
            elif line.is_metered:
                parts[line.id if line.split is None else line.split.group].append(found)
    groups = [_parts(found, corrections) for found in parts.values()]
    return sorted(groups, key=lambda group: (group[0].line.period.start_s, group[0].line.id))


def _parts(found: list[_Found], corrections: dict[str, list[_Found]]) -> tuple[BilledPart, ...]:
    """One line for each part: one that was given up counts only if no other line bills the same."""
    by_start: dict[int, _Found] = {}
    for one in found:
        start_s = one.line.period.start_s
        before = by_start.get(start_s)
        if before is None or before.is_given_up:
            by_start[start_s] = one
    return tuple(_part(one, corrections.get(one.line.id, [])) for _, one in sorted(by_start.items()))


def _part(one: _Found, corrections: list[_Found]) -> BilledPart:
    if one.is_given_up:
        return BilledPart(one.line, "given_up")
    if one.state in _NOT_COLLECTED or one.line.metered_quantity is None:
        return BilledPart(one.line, "waiting")
    counted = [each for each in corrections if short_status(each.state) != "voided"]
    booked = [detail for each in (one, *counted) for detail in billed_by(each.line)]
    place: PartPlace = "issued" if is_immutable(one.state) else "draft"
    return BilledPart(one.line, place, tuple(booked), bool(counted))
