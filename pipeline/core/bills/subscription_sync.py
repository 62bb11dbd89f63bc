"""The lines of subscriptions: new ones, and what a change of a subscription makes of those that are there.

Owns: bringing groups of lines to what their subscription has. Does not own: which lines a subscription has
(invoices.subscription_lines), what is booked of a line (line_group), corrections (placing).

    not there               a new line on the gathering invoice
    it can change           it gets the period and the price that it should have, or is removed
    it was billed           the group gets them; the difference becomes a correction
    changed by a client     nothing
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.gathering_invoice import gathering_of, profile_of
from pipeline.core.bills.line_group import GroupPart, LineGroup
from pipeline.core.bills.placing import mark_stale, new_group, put_lines, remove_line
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.invoices import machine
from pipeline.core.invoices.invoice import with_lines
from pipeline.core.invoices.line import InvoiceLine, LinePeriod, LineSplit, line_id
from pipeline.core.invoices.rated_line import without_rating
from pipeline.core.invoices.subscription_lines import next_horizon_s, subscription_lines
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timeline import billing_recurrence, placed_items
from pipeline.core.values import calendar, timestamp

References = dict[str, tuple[str, int]]
_FOLLOWED = ("name", "description", "period", "invoice_at", "rate_card", "subscription")


class _Placed(NamedTuple):
    """The lines of one subscription while they are brought to what they should be."""

    bills: CustomerBills
    subscription: Subscription
    references: References
    drafts: dict[str, None]


def synchronize(bills: CustomerBills, kept_s: int) -> list[str]:
    """Bring the lines of the customer's subscriptions to what they should be.

    Args:
        bills: of the customer.
        kept_s: lines that ended longer ago are left alone.

    Returns:
        The drafts that have to be rated again.
    """
    workflow, moment = profile_of(bills).workflow, bills.moment
    drafts: dict[str, None] = {}
    horizons: list[int | None] = []
    for id in bills.head.subscriptions:
        subscription = bills.subscription(id)
        horizons.append(next_horizon_s(subscription, moment.now_ms))
        is_changed = id in bills.changed_subscriptions
        if not is_changed and subscription.is_deleted:
            continue
        since_s = moment.now_s - kept_s
        if not is_changed:
            since_s = max(since_s, _unchanged_since_s(bills, subscription))
        placed = _Placed(bills, subscription, dict(bills.references_of(id)), drafts)
        wanted = subscription_lines(subscription, workflow, moment.now_ms, since_s)
        _follow_all(placed, [line for line in wanted if line.period.end_s >= since_s], since_s)
        for name, (group_id, end_s) in list(placed.references.items()):
            if end_s < moment.now_s - kept_s and bills.forget_group(group_id):
                del placed.references[name]
        bills.put_references(id, placed.references)
    next_s = min((one for one in horizons if one is not None), default=None)
    bills.change(lines_ms=NEVER_MS if next_s is None else next_s * 1000)
    return list(drafts)


def _unchanged_since_s(bills: CustomerBills, subscription: Subscription) -> int:
    """The start of the last billing period whose lines may be missing, if only time has passed."""
    known_ms = min(bills.head.lines_ms, bills.moment.now_ms)
    return calendar.bounds(billing_recurrence(subscription), known_ms // 1000 - 1)[0]


def _follow_all(placed: _Placed, wanted: list[InvoiceLine], since_s: int) -> None:
    names = {line.reference or "" for line in wanted}
    for name, (group_id, end_s) in list(placed.references.items()):
        if name not in names and end_s > since_s:
            _remove(placed, name, group_id)
    features = {one.item.id: one.item.card.feature_id for one in placed_items(placed.subscription)}
    fresh: list[InvoiceLine] = []
    for line in wanted:
        name = line.reference or ""
        known = placed.references.get(name)
        group = None if known is None else placed.bills.find_group(known[0])
        moved = group is not None and group.line.period.start_s != line.period.start_s
        if group is not None and moved and not _is_manual(placed.bills, group):
            _remove(placed, name, group.id)  # a version that never came into force had its number
            group = None
        if group is None:
            fresh.append(_with_own_id(placed, line))
        else:
            _follow(placed, group, line)
            placed.references[name] = (group.id, line.period.end_s)
    _add(placed, fresh, features)


def _with_own_id(placed: _Placed, line: InvoiceLine) -> InvoiceLine:
    """The line, under an id that no other one has: an item may be removed and added again within a millisecond."""
    bills = placed.bills
    if placed.subscription.id not in bills.changed_subscriptions:
        return line
    waiting = (*bills.head.open, *bills.head.gathering.values())
    on_invoices = (one.id for id in waiting for one in bills.invoice(id).content.lines)
    if bills.find_group(line.id) is None and line.id not in on_invoices:
        return line
    id = line_id(bills.moment.now_ms, f"{line.reference}/{bills.moment.offset}")
    return msgspec.structs.replace(line, id=id)


def _add(placed: _Placed, lines: list[InvoiceLine], features: dict[str, str | None]) -> None:
    """Lines that are not there yet wait on the gathering invoice."""
    if not lines:
        return
    bills = placed.bills
    invoice_id = gathering_of(bills, placed.subscription.currency, placed.subscription.settlement_mode)
    put_lines(bills, invoice_id, [*bills.invoice(invoice_id).content.lines, *lines])
    for line in lines:
        item, feature = line.subscription, None
        if line.is_metered:
            id = None if item is None else features.get(item.item.id)
            feature = bills.definitions.feature(bills.namespace, line.rate_card.feature_key, id)
        new_group(bills, line, feature, invoice_id)
        placed.references[line.reference or ""] = (line.id, line.period.end_s)


def _remove(placed: _Placed, name: str, group_id: str) -> None:
    """A line that should not be there: it is taken off its invoice, and what was billed of it is taken back."""
    bills = placed.bills
    group = bills.find_group(group_id)
    if group is not None and _is_manual(bills, group):
        return  # its reference stays, so that no second line appears where the subscription wants one again
    del placed.references[name]
    if group is None:
        return
    bills.put_group(msgspec.structs.replace(group, is_wanted=False))
    for place, part in enumerate(group.parts):
        if part.open is not None and not part.has_own:
            _take_off(placed, group_id, place)
    if any(part.booked or part.open for part in bills.group(group_id).parts):
        mark_stale(bills, group_id)
    else:
        bills.forget_group(group_id)


def _take_off(placed: _Placed, group_id: str, place: int) -> None:
    """The open line of a part is removed from its invoice."""
    bills = placed.bills
    part = bills.group(group_id).parts[place]
    if part.open is None:
        return
    invoice_id, id = part.open.invoice, part.open.line
    if not _is_editable(bills, invoice_id):
        return  # it will be billed, and a correction takes it back
    bills.put_part(group_id, place, msgspec.structs.replace(part, open=None))
    if bills.is_gathering(invoice_id):
        remove_line(bills, invoice_id, id)
        return
    _change_draft(placed, invoice_id, id, {"deleted_at": bills.moment.now})


def _is_manual(bills: CustomerBills, group: LineGroup) -> bool:
    return group.line.managed_by == "manual" or any(part.is_dropped for part in group.parts)


def _follow(placed: _Placed, group: LineGroup, wanted: InvoiceLine) -> None:
    """A line that is there gets the period and the price that it should have."""
    bills, line = placed.bills, group.line
    changes = {
        name: getattr(wanted, name) for name in _FOLLOWED if getattr(wanted, name) != getattr(line, name)
    }
    if _is_manual(bills, group) or (not changes and group.is_wanted):
        return
    fresh = msgspec.structs.replace(without_rating(line), **changes, updated_at=bills.moment.now)
    parts = _cut_to(placed, group, wanted.period.end_s) if "period" in changes else group.parts
    bills.put_group(msgspec.structs.replace(group, line=fresh, parts=parts, is_wanted=True))
    if "period" in changes and group.feature is not None:
        bills.change_metered(group.id, wanted.period.end_s)
    for place, part in enumerate(parts):
        if part.open is not None and not part.has_own:
            _change_open(placed, group.id, place, changes)
    mark_stale(bills, group.id)


def _cut_to(placed: _Placed, group: LineGroup, end_s: int) -> tuple[GroupPart, ...]:
    """The parts of a group that ends at another instant: the last one ends there, what lies behind has no length."""
    parts: list[GroupPart] = []
    last = len(group.parts) - 1
    for place, part in enumerate(group.parts):
        end = end_s if place == last else min(part.end_s, end_s)
        start = min(part.start_s, end)
        if place and start == end and part.open is not None and not part.booked:
            _take_off(placed, group.id, place)
            part = next(one for one in placed.bills.group(group.id).parts if one.start_s == part.start_s)  # noqa: PLW2901
            if part.open is None:
                continue
        parts.append(msgspec.structs.replace(part, start_s=start, end_s=end))
    return tuple(parts)


def _change_open(placed: _Placed, group_id: str, place: int, changes: dict[str, object]) -> None:
    """The open line of a part gets what its group has."""
    bills = placed.bills
    group = bills.group(group_id)
    part = group.parts[place]
    if part.open is None:
        return
    changes = dict(changes)
    if "period" in changes:
        changes["period"] = LinePeriod(
            *(timestamp.text_of(at_s * 1000) for at_s in (part.start_s, part.end_s))
        )
    invoice_id, id = part.open.invoice, part.open.line
    line = next(one for one in bills.invoice(invoice_id).content.lines if one.id == id)
    if line.split is not None:
        changes["split"] = LineSplit(group=line.split.group, period=group.line.period)
        if place < len(group.parts) - 1:
            changes.pop("invoice_at", None)
    if bills.is_gathering(invoice_id):
        changed = msgspec.structs.replace(without_rating(line), **changes, updated_at=bills.moment.now)
        lines = bills.invoice(invoice_id).content.lines
        put_lines(bills, invoice_id, [changed if one.id == id else one for one in lines])
    else:
        _change_draft(placed, invoice_id, id, changes)


def _change_draft(placed: _Placed, invoice_id: str, id: str, changes: dict[str, object]) -> None:
    """A line of a draft changes. Where the draft cannot be edited now, a correction follows once it is issued."""
    bills = placed.bills
    if not _is_editable(bills, invoice_id):
        return
    stored = bills.invoice(invoice_id)
    lines = tuple(
        msgspec.structs.replace(line, **changes, updated_at=bills.moment.now) if line.id == id else line
        for line in stored.content.lines
    )
    bills.put_invoice(msgspec.structs.replace(stored, content=with_lines(stored.content, lines)))
    placed.drafts[invoice_id] = None


def _is_editable(bills: CustomerBills, invoice_id: str) -> bool:
    progress = bills.invoice(invoice_id).progress
    return bills.is_gathering(invoice_id) or machine.way_of(progress, "edit", bills.moment.now_s) is not None
