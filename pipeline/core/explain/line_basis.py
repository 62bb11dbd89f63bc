"""A line by its id, with what was billed of the same part before it.

Owns: finding it among the invoices of its customer, which lines can be explained. Does not own: corrections
(invoices.correction), their order on invoices (bills.placing).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.line_usage import LineUsage
from pipeline.core.invoices.state_table import short_status
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.voiding import again_id
from pipeline.core.values import timestamp
from pipeline.errors import Rejected


class LineBasis(NamedTuple):
    """A line of which it is known what it counts.

    Attributes:
        counted: its usage.
        earlier: the lines that billed the same part before it: of a correction the corrected line and its corrections;
            before them, of a line that is billed again after a void, the corrections that were left of it.
        before: of a correction: what the last of `earlier` counted.
    """

    invoice: StoredInvoice
    line: InvoiceLine
    counted: LineUsage
    earlier: tuple[InvoiceLine, ...] = ()
    before: LineUsage | None = None


def find_line(invoices: Iterable[StoredInvoice], line_id: str) -> tuple[StoredInvoice, InvoiceLine]:
    """A line and the newest invoice that has it, a gathering one last.

    Raises:
        Rejected: `not-found`.
    """
    found = [
        (invoice, line)
        for invoice in invoices
        for line in invoice.content.lines
        if line.id == line_id and line.deleted_at is None
    ]
    if not found:
        raise Rejected("not-found", f"There is no line with the id {line_id[:64]}.")
    return max(found, key=lambda one: (short_status(one[0].progress.state) != "gathering", one[0].content.id))


def basis_of(invoices: Iterable[StoredInvoice], invoice: StoredInvoice, line: InvoiceLine) -> LineBasis:
    """What a line counts.

    Args:
        invoices: all of the customer.
        invoice: that has the line.
        line: of it.

    Raises:
        Rejected: `line_has_no_usage`, `line_not_rated`, `line_not_explained`.
    """
    if line.counted is None:
        raise _refusal(line)
    earlier = earlier_lines(invoices, line)
    if line.corrects is None:
        return LineBasis(invoice, line, line.counted, tuple(earlier))
    before = earlier[-1].counted if earlier else None
    if before is None:
        raise Rejected(
            "line_not_explained",
            f"The line {line.id} corrects one that was rated before lines kept what they count.",
        )
    return LineBasis(invoice, line, line.counted, tuple(earlier), before)


def _refusal(line: InvoiceLine) -> Rejected:
    if line.rate_card.feature_key is None or (line.corrects is None and not line.is_metered):
        return Rejected(
            "line_has_no_usage", f"The line {line.id} bills a fixed amount, so no events are under it."
        )
    if line.metered_quantity is None and line.corrects is None:
        return Rejected("line_not_rated", f"The usage of the line {line.id} is not collected yet.")
    return Rejected(
        "line_not_explained",
        f"The line {line.id} waits to be invoiced, or was rated before lines kept what they count.",
    )


def earlier_lines(invoices: Iterable[StoredInvoice], line: InvoiceLine) -> list[InvoiceLine]:
    """What billed the part before a line, in order.

    A line of a voided invoice counts, since what is discarded stays booked, unless it was billed again before the
    correction was issued.

    Args:
        invoices: all of the customer.
        line: that is on one of them.
    """
    in_order = sorted(invoices, key=lambda one: one.content.id)
    if line.corrects is None:
        return _left_before(in_order, line)
    of_line = line.corrects.line_id
    corrected = next(
        (one for invoice in in_order for one in invoice.content.lines if one.id == of_line), None
    )
    left = [] if corrected is None or corrected.corrects is not None else _left_before(in_order, corrected)
    return [*left, *_since(in_order, line, of_line)]


def given_up_of(
    invoices: Iterable[StoredInvoice], line: InvoiceLine, earlier: Iterable[InvoiceLine]
) -> tuple[str, ...]:
    """The ids of those of the earlier lines of a line that were given up when it was issued.

    Args:
        invoices: all of the customer.
        line: that is on one of them.
        earlier: as `earlier_lines` has them.
    """
    known = list(invoices)
    issued_at_s, ids = _issued_at_s(known, line), {one.id for one in earlier}
    voided = [one for one in known if _was_voided(one, issued_at_s)]
    return tuple(sorted({one.id for invoice in voided for one in invoice.content.lines} & ids))


def _left_before(in_order: list[StoredInvoice], line: InvoiceLine) -> list[InvoiceLine]:
    """The corrections that were left of a line when a void took it back, to be billed again as another one."""
    voided = [one for one in in_order if short_status(one.progress.state) == "voided"]
    names = {line.id}
    for invoice in reversed(voided):
        for one in invoice.content.lines:
            is_same = one.reference is not None and (one.reference, one.period.start) == (
                line.reference,
                line.period.start,
            )
            if one.corrects is None and (_again(invoice, one) in names or is_same):
                names.add(one.id)
    ids = {one.id for invoice in in_order for one in invoice.content.lines}
    found: dict[str, InvoiceLine] = {}
    for invoice in in_order:
        if invoice.progress.issued_at_s is None:
            continue
        is_voided = short_status(invoice.progress.state) == "voided"
        for one in invoice.content.lines:
            is_left = one.corrects is not None and one.corrects.line_id in names - {line.id}
            if is_left and one.deleted_at is None and not (is_voided and _again(invoice, one) in ids):
                found[one.id] = one
    return list(found.values())


def _since(in_order: list[StoredInvoice], correction: InvoiceLine, of_line: str) -> list[InvoiceLine]:
    """The line of an id and its corrections before one."""
    found: dict[str, InvoiceLine] = {}
    issued_at_s = _issued_at_s(in_order, correction)
    ids = {line.id for invoice in in_order for line in invoice.content.lines}
    for invoice in in_order:
        if short_status(invoice.progress.state) in ("gathering", "deleted"):
            continue
        was_voided = _was_voided(invoice, issued_at_s)
        for line in invoice.content.lines:
            if was_voided and _again(invoice, line) in ids:
                continue
            is_same = line.corrects is not None and line.corrects.line_id == of_line
            if line.deleted_at is None and (
                line.id == of_line or (is_same and _place(line) < _place(correction))
            ):
                found[line.id] = line
    return sorted(found.values(), key=_place)


def _issued_at_s(invoices: Iterable[StoredInvoice], line: InvoiceLine) -> int | None:
    """When a line was issued, in seconds since 1970; None: it is not."""
    found = (
        invoice.progress.issued_at_s
        for invoice in invoices
        if any(one.id == line.id and one.deleted_at is None for one in invoice.content.lines)
    )
    return next((one for one in found if one is not None), None)


def _was_voided(invoice: StoredInvoice, at_s: int | None) -> bool:
    """Whether an invoice was voided at an instant. at_s: None: now."""
    progress = invoice.progress
    return short_status(progress.state) == "voided" and (at_s is None or progress.entered_at_s <= at_s)


def _again(invoice: StoredInvoice, line: InvoiceLine) -> str:
    """The id that a line has once a void bills it again."""
    return again_id(line.id, timestamp.ms_of(invoice.content.voided_at or invoice.content.updated_at))


def _place(line: InvoiceLine) -> int:
    """Which correction of its line it is, from 0; -1: none."""
    if line.corrects is None:
        return -1
    return int((line.reference or "").rpartition("/correction[")[2].rstrip("]") or 0)
