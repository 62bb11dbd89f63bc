"""On which invoice a line lies: lines that wait, lines of drafts, corrections of lines that were billed.

Owns: putting lines on the gathering invoice, rating the lines of a draft, booking them once it is issued, corrections.
Does not own: the law of what is booked (line_group), when an invoice is made or moves (collection, flow).

A part of a group has at most one line that can change. Where a line of the group lies on a draft, corrections of its
other parts lie there too, so that what one part loses and another one gains is on one invoice; else they wait on the
gathering invoice.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.gathering_invoice import gathering_for
from pipeline.core.bills.given_up import rate_group
from pipeline.core.bills.line_group import (
    BookedLine,
    GroupFeature,
    GroupPart,
    LineGroup,
    PartRating,
    rated_parts,
)
from pipeline.core.invoices.correction import correction_line
from pipeline.core.invoices.invoice import InvoiceContent, with_lines
from pipeline.core.invoices.line import InvoiceLine, LinePeriod, LineSplit, live_lines, text_of_s
from pipeline.core.invoices.line_usage import LineUsage
from pipeline.core.invoices.rated_line import with_rating, without_rating
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.values import number
from pipeline.errors import Broken


def new_group(bills: CustomerBills, line: InvoiceLine, feature: GroupFeature | None, invoice_id: str) -> None:
    """A line that was put on an invoice begins a group."""
    part = GroupPart(line.period.start_s, line.period.end_s, open=BookedLine(invoice_id, line.id))
    bills.put_group(LineGroup(line.id, without_rating(line), feature, (part,)))
    bills.put_groups_of(invoice_id, bills.groups_of(invoice_id) | {line.id: line.id})


def put_lines(bills: CustomerBills, invoice_id: str, lines: Iterable[InvoiceLine]) -> None:
    """An invoice has these lines and no others."""
    stored = bills.invoice(invoice_id)
    content = with_lines(stored.content, tuple(lines))
    if content != stored.content:
        content = msgspec.structs.replace(content, updated_at=bills.moment.now)
        bills.put_invoice(msgspec.structs.replace(stored, content=content))
    ids = {line.id for line in content.lines}
    groups = bills.groups_of(invoice_id)
    if not groups.keys() <= ids:
        bills.put_groups_of(invoice_id, {id: group for id, group in groups.items() if id in ids})


def remove_line(bills: CustomerBills, invoice_id: str, line: str) -> None:
    """Take a line off an invoice; nothing shows that it was there."""
    put_lines(bills, invoice_id, [one for one in bills.invoice(invoice_id).content.lines if one.id != line])


# -- rating -----------------------------------------------------------------------------------------------------


def rate_lines(bills: CustomerBills, content: InvoiceContent) -> InvoiceContent:
    """The content of a draft with its lines rated by the usage that is known now, and with the corrections that follow.

    Raises:
        Rejected: a price cannot be rated.
    """
    groups = bills.groups_of(content.id)
    lines = {line.id: line for line in content.lines}
    named = dict.fromkeys(groups[line.id] for line in live_lines(content.lines))
    # All of them first: a price that cannot be rated leaves every group as it was.
    ratings = {group_id: _ratings_of(bills, bills.group(group_id)) for group_id in named}
    for group_id, of_group in ratings.items():
        for line in _rated_in_draft(bills, content.id, group_id, of_group, lines):
            lines[line.id] = line
    return with_lines(content, tuple(lines.values()))


def _ratings_of(bills: CustomerBills, group: LineGroup) -> list[PartRating]:
    return rate_group(bills, group, rated_parts(group, bills.is_gathering))


def _rated_in_draft(
    bills: CustomerBills,
    invoice_id: str,
    group_id: str,
    ratings: list[PartRating],
    lines: dict[str, InvoiceLine],
) -> list[InvoiceLine]:
    """The lines of a group on a draft, rated; new corrections are among them."""
    group = bills.group(group_id)
    found: list[InvoiceLine] = []
    for place, rating in enumerate(ratings):
        part = group.parts[place]
        if part.is_dropped:
            continue
        if part.open is not None and part.open.invoice == invoice_id:
            line = lines[part.open.line]
        elif part.open is None:
            if not rating.details:
                continue
            line = correction_of(bills, group, place, rating.details)
            bills.put_groups_of(invoice_id, bills.groups_of(invoice_id) | {line.id: group_id})
        elif bills.is_gathering(part.open.invoice) and part.has_own:
            line = _moved(bills, part.open, invoice_id, group_id)
        else:
            if part.open.details != rating.details:
                mark_stale(bills, group_id)
            continue
        bills.put_part(
            group_id, place, opened(part, BookedLine(invoice_id, line.id, rating.details, part.end_s))
        )
        found.append(counted(bills, group, place, shown(bills, group, place, line, rating), rating))
    return found


def _moved(bills: CustomerBills, open_line: BookedLine, invoice_id: str, group_id: str) -> InvoiceLine:
    """A correction that waits on the gathering invoice, taken off it for a draft."""
    waiting = bills.invoice(open_line.invoice).content.lines
    line = next(one for one in waiting if one.id == open_line.line)
    remove_line(bills, open_line.invoice, line.id)
    bills.put_groups_of(invoice_id, bills.groups_of(invoice_id) | {line.id: group_id})
    return line


def opened(part: GroupPart, line: BookedLine | None) -> GroupPart:
    """The part with another line that can change."""
    return msgspec.structs.replace(part, open=line)


def shown(
    bills: CustomerBills, group: LineGroup, place: int, line: InvoiceLine, rating: PartRating
) -> InvoiceLine:
    """A line with its rating. A correction has the components that it changes."""
    if not group.parts[place].has_own:
        line = own_line(group, place, line)
    if line.corrects is None:
        return with_rating(line, rating.line_part, rating.rated)
    changed = correction_of(bills, group, place, rating.details, line)
    return msgspec.structs.replace(changed, invoice_at=line.invoice_at)


def own_line(group: LineGroup, place: int, line: InvoiceLine) -> InvoiceLine:
    """The line of a part without an own one: a correction has nothing to correct, and bills all of the part."""
    if line.corrects is None:
        return line
    part, whole = group.parts[place], without_rating(group.line)
    is_cut = len(group.parts) > 1
    return msgspec.structs.replace(
        whole,
        id=line.id,
        period=LinePeriod(text_of_s(part.start_s), text_of_s(part.end_s)),
        split=LineSplit(group=group.id, period=whole.period) if is_cut else whole.split,
        invoice_at=line.invoice_at,
        external_ids=line.external_ids,
        created_at=line.created_at,
        updated_at=line.updated_at,
    )


def counted(
    bills: CustomerBills, group: LineGroup, place: int, line: InvoiceLine, rating: PartRating
) -> InvoiceLine:
    """A line of a part with the usage that was rated, so that it can be explained; a fixed amount has none."""
    feature = group.feature
    if feature is None:
        return line
    part = group.parts[place]
    later = group.parts[place + 1 : rated_parts(group, bills.is_gathering)] if group.is_wanted else ()
    start_s = group.parts[0].start_s if group.is_wanted else part.end_s  # what is taken back counts nothing
    usage = LineUsage(
        feature.meter_id,
        feature.aggregation,
        start_s,
        part.start_s if group.is_wanted else part.end_s,
        part.end_s,
        number.text(rating.pre_atto),
        number.text(rating.pre_atto + rating.usage_atto),
        bills.seen(feature.billed, start_s, part.end_s),
        feature.filters,
        tuple(number.text(bills.quantity_of(feature.billed, start_s, one.end_s)) for one in later),
        place + len(later) == len(group.parts) - 1,
    )
    return msgspec.structs.replace(line, counted=usage)


def correction_of(
    bills: CustomerBills,
    group: LineGroup,
    place: int,
    details: tuple[RatedDetail, ...],
    before: InvoiceLine | None = None,
) -> InvoiceLine:
    """The line that corrects what was billed of a part. before: the one in whose place it is, which can change."""
    part = group.parts[place]
    first = next((one for one in part.booked if not one.is_left), part.booked[0])
    period = LinePeriod(*map(text_of_s, part.corrected_s))
    billed = msgspec.structs.replace(group.line, id=first.line, period=period)
    return correction_line(
        billed, first.invoice, details, bills.moment.now_ms, place=len(part.booked) - 1, before=before
    )


# -- booking ----------------------------------------------------------------------------------------------------


def book_lines(bills: CustomerBills, content: InvoiceContent) -> None:
    """The lines of an invoice are billed for good."""
    rated_until_s = bills.head.rated_until_s
    for line in live_lines(content.lines):
        group = bills.group(bills.groups_of(content.id)[line.id])
        place = group.part_of(line.id)
        if place is None:
            raise Broken(f"The line {line.id} is issued, but no part of its group has it.")
        part = group.parts[place]
        if part.open is not None:
            booked = msgspec.structs.replace(part, booked=(*part.booked, part.open), open=None)
            bills.put_part(group.id, place, booked)
        if group.feature is not None:
            rated_until_s = max(rated_until_s, part.end_s)
    bills.change(rated_until_s=rated_until_s)


def rated_until(bills: CustomerBills, content: InvoiceContent) -> None:
    """Usage of the lines of a draft was rated: what comes later for them is late."""
    ends = [line.period.end_s for line in live_lines(content.lines) if line.is_metered]
    bills.change(rated_until_s=max(bills.head.rated_until_s, *ends, 0))


def give_up(bills: CustomerBills, invoice_id: str, line: InvoiceLine) -> None:
    """A client deleted a line: it is not billed again. What a correction would have changed counts as booked."""
    group = bills.find_group(bills.groups_of(invoice_id).get(line.id, ""))
    place = None if group is None else group.part_of(line.id)
    if group is None or place is None:
        return
    part = group.parts[place]
    if part.open is not None and line.corrects is not None:
        left = msgspec.structs.replace(part.open, is_given_up=True)
        part = msgspec.structs.replace(part, booked=(*part.booked, left), open=None)
    else:
        part = msgspec.structs.replace(part, open=None, is_dropped=True)
    bills.put_part(group.id, place, part)


def taken_back(bills: CustomerBills, invoice_id: str) -> None:
    """An invoice was taken back: what it bills and is not billed again is given up, so corrections may be others."""
    for id in dict.fromkeys(bills.groups_of(invoice_id).values()):
        group = bills.find_group(id)
        if group is not None and any(
            one.invoice == invoice_id for part in group.parts for one in part.booked
        ):
            mark_stale(bills, id)


# -- late usage -------------------------------------------------------------------------------------------------


def mark_stale(bills: CustomerBills, group_id: str) -> None:
    """The bookings of a group have to be compared again."""
    if group_id not in bills.head.stale_groups:
        bills.change(stale_groups=(*bills.head.stale_groups, group_id))


def stale_groups(bills: CustomerBills) -> list[str]:
    """The groups whose usage or price changed since they were rated, in order."""
    stale = bills.head.stale_meters
    late = [
        line.group
        for line in (bills.metered_lines() if stale else ())
        if line.meter_id in stale and line.end_s > stale[line.meter_id]
    ]
    return list(dict.fromkeys([*bills.head.stale_groups, *late]))


def corrected(bills: CustomerBills, group_id: str) -> list[str]:
    """Compare the bookings of a group, and put corrections on the gathering invoice.

    Returns:
        The drafts whose lines have to be rated again.
    """
    group = bills.group(group_id)
    count = rated_parts(group, bills.is_gathering)
    drafts: list[str] = []
    on_drafts = [
        part.open.invoice
        for part in group.parts[:count]
        if part.open is not None and not bills.is_gathering(part.open.invoice)
    ]
    for place, rating in enumerate(rate_group(bills, group, count)):
        part = bills.group(group_id).parts[place]
        if part.is_dropped:
            continue
        if part.open is None:
            if rating.details and on_drafts:
                drafts.append(on_drafts[0])
            elif rating.details:
                _wait(bills, group_id, place, rating)
        elif not bills.is_gathering(part.open.invoice):
            if part.open.details != rating.details:
                drafts.append(part.open.invoice)
        elif part.has_own:
            _wait_changed(bills, group_id, place, rating)
    return list(dict.fromkeys(drafts))


def _wait(bills: CustomerBills, group_id: str, place: int, rating: PartRating) -> None:
    """A new correction waits on the gathering invoice."""
    group = bills.group(group_id)
    line = counted(bills, group, place, correction_of(bills, group, place, rating.details), rating)
    add_waiting(bills, gathering_for(bills, line), group_id, place, line, rating.details)


def add_waiting(
    bills: CustomerBills,
    invoice_id: str,
    group_id: str,
    place: int,
    line: InvoiceLine,
    details: tuple[RatedDetail, ...],
) -> None:
    """Put a line of a part on the gathering invoice."""
    put_lines(bills, invoice_id, [*bills.invoice(invoice_id).content.lines, line])
    bills.put_groups_of(invoice_id, bills.groups_of(invoice_id) | {line.id: group_id})
    part = bills.group(group_id).parts[place]
    bills.put_part(group_id, place, opened(part, BookedLine(invoice_id, line.id, details, part.end_s)))


def _wait_changed(bills: CustomerBills, group_id: str, place: int, rating: PartRating) -> None:
    """A correction that waits is another one, or is not needed any more."""
    group = bills.group(group_id)
    part = group.parts[place]
    if part.open is None or part.open.details == rating.details:
        return
    invoice_id, id = part.open.invoice, part.open.line
    if not rating.details:
        bills.put_part(group_id, place, opened(part, None))
        remove_line(bills, invoice_id, id)
        return
    lines = [
        counted(bills, group, place, shown(bills, group, place, line, rating), rating)
        if line.id == id
        else line
        for line in bills.invoice(invoice_id).content.lines
    ]
    put_lines(bills, invoice_id, lines)
    bills.put_part(group_id, place, opened(part, BookedLine(invoice_id, id, rating.details, part.end_s)))
