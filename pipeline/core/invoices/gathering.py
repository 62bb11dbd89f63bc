"""The gathering invoice: lines that wait to be invoiced, and which of them an invoice takes.

Owns: when a line is collected, what `invoice now` takes and cuts. Does not own: creating pending lines (pending_line),
cutting one (line_split), the invoice that is made of what is taken (invoice). There is one for each customer and
currency, so each makes an invoice of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.line_split import can_split, cut_s, split
from pipeline.core.invoices.workflow import Alignment, SubscriptionAlignment, interval_of
from pipeline.core.values import calendar, timestamp
from pipeline.core.values.calendar import MINUTE_S, Recurrence
from pipeline.errors import Rejected

ALONE_S: Final = 86_400  # for how long a correction waits for others


class Taken(NamedTuple):
    """taken: lines for a new invoice, in the order of the gathering invoice. kept: what stays on it."""

    taken: tuple[InvoiceLine, ...]
    kept: tuple[InvoiceLine, ...]


def collected_s(line: InvoiceLine, alignment: Alignment, zone: str) -> int:
    """When a line is collected by itself: at its `invoiceAt`, or at the first tick of the alignment that is not before.

    Args:
        zone: in which the ticks are counted.
    """
    due_s = line.invoice_at_s
    if isinstance(alignment, SubscriptionAlignment):
        return due_s
    anchor_s = timestamp.ms_of(alignment.recurring_period.anchor) // 1000
    second = anchor_s % MINUTE_S  # the calendar has whole minutes
    ticks = Recurrence(interval_of(alignment.recurring_period.interval), anchor_s - second, zone)
    start_s, end_s = calendar.bounds(ticks, due_s - second)
    return (start_s if start_s == due_s - second else end_s) + second


def next_collection_s(lines: Sequence[InvoiceLine], alignment: Alignment, zone: str) -> int | None:
    """The next instant at which the clock collects; None without lines."""
    return min(_due(lines, alignment, zone).values(), default=None)


def collect(lines: Sequence[InvoiceLine], alignment: Alignment, zone: str, now_s: int) -> Taken:
    """What the clock collects at an instant; nothing is cut."""
    due = {id for id, due_s in _due(lines, alignment, zone).items() if due_s <= now_s}
    return Taken(
        tuple(line for line in lines if line.id in due), tuple(line for line in lines if line.id not in due)
    )


def _due(lines: Sequence[InvoiceLine], alignment: Alignment, zone: str) -> dict[str, int]:
    """When each line is collected, by its id.

    A correction is on the next invoice of its currency: it waits for the first line that is none. Where none waits, it
    is collected a day after it arose, with what arose meanwhile.
    """
    live = live_lines(tuple(lines))
    due = {line.id: collected_s(line, alignment, zone) for line in live}
    first_s = min((due[line.id] for line in live if line.corrects is None), default=None)
    for line in live:
        if line.corrects is not None:
            own_s = due[line.id]
            due[line.id] = own_s + ALONE_S if first_s is None else max(own_s, first_s)
    return due


def invoice_now(
    lines: Sequence[InvoiceLine],
    as_of_s: int,
    now_ms: int,
    progressive: bool,
    aggregations: Mapping[str, str],
    line_ids: Collection[str] | None = None,
) -> Taken:
    """What an invoice takes that a client asks for; the alignment does not matter.

    Args:
        lines: of the gathering invoice.
        as_of_s: lines with `invoiceAt` up to it are taken.
        now_ms: the time of the record.
        progressive: whether lines whose period runs are cut at `as_of_s`.
        aggregations: feature key -> aggregation of its meter.
        line_ids: only these lines; None: all.

    Raises:
        Rejected: `invoice_as_of_in_future`; `invoice_lines_not_billable`: nothing can be invoiced, or a line that is
            named cannot; `invoice_progressive_billing_not_supported`: a line that is named can only be billed whole.
    """
    if as_of_s * 1000 > now_ms:
        raise Rejected("invoice_as_of_in_future", "asOf must not lie in the future.")
    taken: list[InvoiceLine] = []
    kept: list[InvoiceLine] = []
    live = {line.id for line in live_lines(tuple(lines))}
    for line in lines:
        wanted = line.id in live and (line_ids is None or line.id in line_ids)
        if wanted and line.invoice_at_s <= as_of_s:
            taken.append(line)
        elif wanted and progressive and _runs(line, as_of_s):
            _cut(line, as_of_s, now_ms, aggregations, line_ids is not None, taken, kept)
        else:
            kept.append(line)
    if not taken:
        raise Rejected("invoice_lines_not_billable", "No line can be invoiced.")
    if line_ids is not None:
        _check_named(line_ids, lines, kept, as_of_s)
    return Taken(tuple(taken), tuple(kept))


def is_billable(
    lines: Sequence[InvoiceLine], now_ms: int, progressive: bool, aggregations: Mapping[str, str]
) -> bool:
    """Whether `invoice_now` would take something at this instant."""
    try:
        return bool(invoice_now(lines, now_ms // 1000, now_ms, progressive, aggregations).taken)
    except Rejected:
        return False


def _runs(line: InvoiceLine, as_of_s: int) -> bool:
    return line.is_metered and line.period.start_s < cut_s(as_of_s) < line.period.end_s


def _cut(
    line: InvoiceLine,
    as_of_s: int,
    now_ms: int,
    aggregations: Mapping[str, str],
    is_named: bool,
    taken: list[InvoiceLine],
    kept: list[InvoiceLine],
) -> None:
    """Cut a line that may be cut; one that may not stays whole, unless a client names it."""
    if can_split(line, aggregations.get(line.rate_card.feature_key or "")):
        parts = split(line, cut_s(as_of_s), now_ms)
        taken.append(parts.first)
        kept.append(parts.rest)
        return
    if is_named:
        raise Rejected(
            "invoice_progressive_billing_not_supported",
            f"The line {line.id} can only be invoiced as a whole, at {line.invoice_at}.",
        )
    kept.append(line)


def _check_named(
    line_ids: Collection[str], lines: Sequence[InvoiceLine], kept: Sequence[InvoiceLine], as_of_s: int
) -> None:
    whole = {line.id: line for line in lines}
    left = {line.id for line in kept if line == whole[line.id]}
    wrong = [id for id in line_ids if id not in whole or id in left]
    if wrong:
        raise Rejected(
            "invoice_lines_not_billable", f"These lines cannot be invoiced: {', '.join(wrong)[:512]}."
        )
