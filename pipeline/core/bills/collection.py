"""Making drafts of the lines that wait: by the clock, or because a client asks.

Owns: taking lines off the gathering invoice, the parts of lines that are cut, keeping lines back whose total is below
0. Does not own: which lines are due and how one is cut (invoices.gathering), the draft itself (drafts, flow).

An invoice is never below 0. Where the lines that are due would make one, corrections become credit notes, or all lines
stay and reduce the next invoice (credit_notes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.core.bills import drafts
from pipeline.core.bills.below_zero import DueLine, billed_before, can_be_below_zero, due_line, total_due
from pipeline.core.bills.credit_notes import issue_credit_notes
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.flow import Flow
from pipeline.core.bills.gathering_invoice import profile_of
from pipeline.core.bills.given_up import rate_group
from pipeline.core.bills.line_group import BookedLine, GroupPart, LineGroup
from pipeline.core.bills.placing import put_lines
from pipeline.core.invoices import gathering
from pipeline.core.invoices.gathering import Taken
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.rated_line import without_rating
from pipeline.core.invoices.state_table import START
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.errors import Rejected

MOST_LINES: Final = 250  # of one invoice: what outside systems take, and so that it fits into a record


def collect_due(bills: CustomerBills, flow: Flow) -> frozenset[str]:
    """Make drafts of the lines that are due.

    Returns:
        The keys in `CustomerHead.gathering` of which lines that are due stay, since their total is below 0.
    """
    held: set[str] = set()
    for key, id in list(bills.head.gathering.items()):
        if bills.head.collect_ms.get(key, 0) > bills.moment.now_ms:
            continue
        profile = profile_of(bills)
        lines = bills.invoice(id).content.lines
        alignment, zone = profile.workflow.collection.alignment, profile.time_zone
        taken = gathering.collect(lines, alignment, zone, bills.moment.now_s)
        if not taken.taken:
            continue
        if _is_below_zero(bills, id, taken.taken):
            left = issue_credit_notes(bills, flow, id, taken)
            if left is None or _is_below_zero(bills, id, left.taken):
                held.add(key)
                continue
            taken = left
        if taken.taken:
            make_drafts(bills, flow, id, taken)
    return frozenset(held)


def invoice_now(
    bills: CustomerBills, flow: Flow, as_of_s: int, progressive: bool | None, line_ids: Sequence[str] | None
) -> list[str]:
    """Make drafts of the lines that a client asks for, one for each currency.

    Args:
        bills: of the customer.
        flow: of the record.
        as_of_s: lines with `invoiceAt` up to it are taken.
        progressive: whether lines whose period runs are cut; None: as the profile has it.
        line_ids: only these; None: all.

    Returns:
        The ids of the drafts.

    Raises:
        Rejected: as `gathering.invoice_now`; `invoice_total_below_zero`.
    """
    if progressive is None:
        progressive = profile_of(bills).workflow.invoicing.progressive_billing
    made: list[str] = []
    refusals: list[Rejected] = []
    for id in list(bills.head.gathering.values()):
        lines = bills.invoice(id).content.lines
        named = (
            None if line_ids is None else [one for one in line_ids if any(one == line.id for line in lines)]
        )
        if line_ids is not None and not named and len(bills.head.gathering) > 1:
            continue
        groups = {line.id: bills.group(bills.groups_of(id)[line.id]) for line in live_lines(lines)}
        aggregations = {
            group.line.rate_card.feature_key or "": group.feature.aggregation
            for group in groups.values()
            if group.feature is not None
        }
        try:
            taken = gathering.invoice_now(
                lines,
                as_of_s,
                bills.moment.now_ms,
                progressive,
                aggregations,
                line_ids if named is None else named,
            )
        except Rejected as refusal:
            refusals.append(refusal)
            continue
        _cut_groups(bills, id, lines, taken)
        if _is_below_zero(bills, id, taken.taken):
            currency = bills.invoice(id).content.currency
            raise Rejected("invoice_total_below_zero", f"The lines in {currency} would make a total below 0.")
        made += make_drafts(bills, flow, id, taken)
    if not made:
        none = Rejected("invoice_lines_not_billable", "No line can be invoiced.")
        raise refusals[0] if refusals else none
    if line_ids is not None and refusals:
        raise refusals[0]
    return made


def make_drafts(bills: CustomerBills, flow: Flow, gathering_id: str, taken: Taken) -> list[str]:
    """Make drafts of lines of the gathering invoice, and start them.

    Returns:
        Their ids; there are several where one would have too many lines.
    """
    gathered = bills.invoice(gathering_id).content
    live = (line for line in taken.taken if line.deleted_at is None)
    lines = [line if line.corrects is not None else without_rating(line) for line in live]
    made: list[str] = []
    for start in range(0, len(lines), MOST_LINES):
        part = tuple(lines[start : start + MOST_LINES])
        content = drafts.new_draft(bills, gathered, part, len(bills.changed_invoices))
        terms = drafts.first_terms(bills, content)
        progress = InvoiceProgress(
            invoice_id=content.id, state=START, sequence=0, entered_at_s=bills.moment.now_s, terms=terms
        )
        bills.put_invoice(StoredInvoice(content=content, progress=progress))
        drafts.take_over(bills, content.id, gathering_id, part)
        made.append(content.id)
    put_lines(bills, gathering_id, taken.kept)
    for id in made:
        flow.begin(id)
    return made


def _cut_groups(bills: CustomerBills, gathering_id: str, before: Sequence[InvoiceLine], taken: Taken) -> None:
    """The parts of the lines that were cut: the first has a new id, the rest keeps that of the line."""
    known = {line.id for line in before}
    groups = bills.groups_of(gathering_id)
    added: dict[str, str] = {}
    for first in taken.taken:
        if first.id in known or first.split is None:
            continue
        rest = next(
            line for line in taken.kept if line.split is not None and line.split.group == first.split.group
        )
        group = bills.group(groups[rest.id])
        bills.put_group(_cut(group, gathering_id, first, rest))
        added[first.id] = group.id
    bills.put_groups_of(gathering_id, groups | added)


def _cut(group: LineGroup, gathering_id: str, first: InvoiceLine, rest: InvoiceLine) -> LineGroup:
    place = group.part_of(rest.id)
    if place is None:
        raise Rejected("invoice_lines_not_billable", f"The line {rest.id} cannot be cut.")
    part = group.parts[place]
    cut_s = first.period.end_s
    parts = (
        GroupPart(part.start_s, cut_s, open=BookedLine(gathering_id, first.id)),
        GroupPart(cut_s, part.end_s, open=BookedLine(gathering_id, rest.id)),
    )
    return LineGroup(
        group.id,
        group.line,
        group.feature,
        (*group.parts[:place], *parts, *group.parts[place + 1 :]),
        group.is_wanted,
    )


def _is_below_zero(bills: CustomerBills, gathering_id: str, taken: Sequence[InvoiceLine]) -> bool:
    """Whether the lines, rated now, would make a total below 0."""
    live = [line for line in taken if line.deleted_at is None]
    groups = bills.groups_of(gathering_id)
    if not any(can_be_below_zero(line, bills.group(groups[line.id])) for line in live):
        return False
    due: list[DueLine] = []
    by_id = {line.id: line for line in live}
    for group_id in dict.fromkeys(groups[line.id] for line in live):
        group = bills.group(group_id)
        last = max(
            (place for place, part in enumerate(group.parts) if part.open and part.open.line in by_id),
            default=-1,
        )
        try:
            ratings = rate_group(bills, group, last + 1)
        except Rejected:
            return False  # the draft shows what cannot be rated
        for place, (part, rating) in enumerate(zip(group.parts, ratings, strict=False)):
            if part.open is not None and part.open.line in by_id:
                line = by_id[part.open.line]
                due.append(due_line(bills, line, billed_before(line, group, place), rating.total))
    profile = profile_of(bills)
    return total_due(due, profile.workflow, profile.tax_rates) < 0
