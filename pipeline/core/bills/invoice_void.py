"""Taking back an issued invoice: its lines are given up, or billed again.

Owns: what happens to the bookings of its lines. Does not own: what a client may ask for (invoices.voiding), the states.

A line that is given up counts as booked: it is not billed again, and what comes late is. One that is billed again is
not booked any more, so that it waits on the gathering invoice with all that it is worth, less what corrections of it
have billed on other invoices.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.flow import Flow
from pipeline.core.bills.gathering_invoice import gathering_for
from pipeline.core.bills.line_group import BookedLine
from pipeline.core.bills.placing import add_waiting, mark_stale, opened, own_line, put_lines
from pipeline.core.invoices import actions
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.voiding import plan_void, read_void
from pipeline.errors import Rejected


def void(bills: CustomerBills, flow: Flow, id: str, sent: Mapping[str, object]) -> None:
    """Void an invoice.

    Raises:
        Rejected: as `voiding`; `invoice_void_share_not_supported`: not all of it is taken back;
            `invoice_line_not_billable_again`: what it bills is older than usage is kept.
    """
    request = read_void(sent)
    stored = bills.invoice(id)
    step = actions.act(stored.progress, "void", bills.moment.now_s)
    plan = plan_void(stored.content.lines, request, {}, bills.moment.now_ms)
    if not plan.is_whole:
        raise Rejected(
            "invoice_void_share_not_supported",
            "An invoice can only be voided as a whole: 100 % of every line.",
        )
    again = {line.id for line in plan.pending}
    reason = {"voidReason": request.reason}
    content = msgspec.structs.replace(stored.content, metadata=(stored.content.metadata or {}) | reason)
    bills.put_invoice(msgspec.structs.replace(stored, content=content))
    pending = iter(plan.pending)
    for line in live_lines(stored.content.lines):
        action = request.overrides.get(line.id, request.action)
        if action.then == "pending" and action.share_atto and again:
            _bill_again(bills, id, line, next(pending))
    flow.move(id, step)
    for draft in [one for one in bills.head.open if _corrects(bills.invoice(one))]:
        flow.edit_again(draft)  # what its corrections give back may be another amount now


def _corrects(stored: StoredInvoice) -> bool:
    """Whether a draft has a correction."""
    is_draft = stored.progress.state.startswith("draft.")
    return is_draft and any(line.corrects is not None for line in live_lines(stored.content.lines))


def _bill_again(bills: CustomerBills, invoice_id: str, line: InvoiceLine, again: InvoiceLine) -> None:
    group = bills.find_group(bills.groups_of(invoice_id).get(line.id, ""))
    if group is None:
        raise Rejected(
            "invoice_line_not_billable_again",
            f"The line {line.name} is too old to be billed again: it can only be given up, by the type discard.",
        )
    for place, part in enumerate(group.parts):
        if all((one.invoice, one.line) != (invoice_id, line.id) for one in part.booked):
            continue
        left = tuple(one for one in part.booked if (one.invoice, one.line) != (invoice_id, line.id))
        if line.corrects is None:
            left = tuple(msgspec.structs.replace(one, is_left=True) for one in left)
        changed = msgspec.structs.replace(part, booked=left)
        bills.put_part(group.id, place, changed)
        if part.open is None:
            add_waiting(bills, gathering_for(bills, line), group.id, place, again, ())
        elif bills.is_gathering(part.open.invoice) and not changed.has_own:
            _wait_as_own(bills, group.id, place, part.open)
        mark_stale(bills, group.id)


def _wait_as_own(bills: CustomerBills, group_id: str, place: int, waiting: BookedLine) -> None:
    """A correction that waits has no line to correct any more: it waits as the line that bills all of its part."""
    group = bills.group(group_id)
    lines = [
        own_line(group, place, line) if line.id == waiting.line else line
        for line in bills.invoice(waiting.invoice).content.lines
    ]
    put_lines(bills, waiting.invoice, lines)
    part = group.parts[place]
    bills.put_part(group_id, place, opened(part, msgspec.structs.replace(waiting, details=(), end_s=0)))
