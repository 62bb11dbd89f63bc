"""The gathering invoice with the usage until now: what a customer owes so far.

Owns: quantities and amounts of lines that wait, when they are computed again. Does not own: drafts, which are rated by
themselves (drafts), the law of what is booked (line_group).

Nothing is booked by it. A line gets its quantities when usage of the customer has changed, at most once in
`BillTerms.running_ms`, so that the documents of a busy customer are few.
"""

from __future__ import annotations

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.drafts import taxed
from pipeline.core.bills.given_up import rate_group
from pipeline.core.bills.line_group import LineGroup
from pipeline.core.bills.placing import put_lines, shown
from pipeline.core.bills.terms import NEVER_MS, BillTerms
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.values.calendar import MINUTE_S
from pipeline.errors import Rejected


def keep_running(bills: CustomerBills, terms: BillTerms, by_clock: bool) -> None:
    """Rate the lines that wait, if that is due, and see whether it has to be done again.

    Args:
        bills: of the customer.
        terms: of the stage.
        by_clock: whether the record is one of the clock. A command leaves it to the clock.
    """
    now_ms = bills.moment.now_ms
    if by_clock and bills.head.running_ms <= now_ms:
        bills.change(running_ms=NEVER_MS)
        for id in bills.head.gathering.values():
            _rate(bills, id)
    elif bills.head.running_ms == NEVER_MS and _is_behind(bills, by_clock):
        bills.change(running_ms=now_ms + terms.running_ms)


def _rate(bills: CustomerBills, id: str) -> None:
    groups, lines = bills.groups_of(id), {line.id: line for line in bills.invoice(id).content.lines}
    begun = [line for line in live_lines(tuple(lines.values())) if _has_begun(bills, line)]
    for group_id in dict.fromkeys(groups[line.id] for line in begun):
        group = bills.find_group(group_id)
        if group is not None:
            lines |= {line.id: line for line in _rated(bills, id, group, lines)}
    put_lines(bills, id, lines.values())
    stored = bills.invoice(id)
    content = taxed(stored.content)
    bills.put_invoice(msgspec.structs.replace(stored, content=content))


def _rated(
    bills: CustomerBills, id: str, group: LineGroup, lines: dict[str, InvoiceLine]
) -> list[InvoiceLine]:
    """The lines of a group that wait on the gathering invoice and have begun."""
    places = [
        place
        for place, part in enumerate(group.parts)
        if part.open is not None and part.open.invoice == id and _has_begun(bills, lines[part.open.line])
    ]
    try:
        ratings = rate_group(bills, group, max(places) + 1)
    except Rejected:
        return []  # the draft shows why
    opened = [(place, part.open) for place in places if (part := group.parts[place]).open is not None]
    return [
        shown(bills, group, place, lines[line.line], ratings[place])
        for place, line in opened
        if line is not None
    ]


def _has_begun(bills: CustomerBills, line: InvoiceLine) -> bool:
    """A correction bills fixed amounts, and so has nothing that runs."""
    return line.corrects is None and line.period.start_s <= bills.moment.now_s


def _is_behind(bills: CustomerBills, by_clock: bool) -> bool:
    """Whether a line has usage and does not show it. One that the clock placed in time has none yet."""
    latest_s = bills.moment.now_s - (MINUTE_S if by_clock else 0)
    return any(
        line.quantity is None and line.period.start_s <= latest_s and _is_used(bills, id, line)
        for id in bills.head.gathering.values()
        if id in bills.changed_invoices
        for line in live_lines(bills.invoice(id).content.lines)
    )


def _is_used(bills: CustomerBills, id: str, line: InvoiceLine) -> bool:
    group = bills.find_group(bills.groups_of(id).get(line.id, ""))
    if group is None or group.feature is None:
        return False
    try:
        return bills.quantity_of(group.feature.billed, line.period.start_s, line.period.end_s) != 0
    except Rejected:
        return False  # its usage is not kept
