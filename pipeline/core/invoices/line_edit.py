"""Editing the lines of a draft or gathering invoice: which changes are taken, and the code of each that is not.

Owns: comparing the lines that a client sends with those of the invoice. Does not own: whether the invoice may be edited
(actions), reading a line (pending_line), rating it again. A line that is sent without an id is new, one that is not
sent is deleted, a changed one is managed by hand from then on, and its subscription leaves it as it is.
Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/service/invoiceupdate.go`, `openmeter/billing/errors.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pipeline.core.catalog.price import FlatPrice
from pipeline.core.catalog.price_terms import Discounts
from pipeline.core.invoices.credited_lines import sold_grant
from pipeline.core.invoices.line import InvoiceLine, LineRateCard
from pipeline.core.values import number
from pipeline.errors import Rejected

_EDITED = ("name", "description", "metadata", "period", "invoice_at", "rate_card")


class SentLine(NamedTuple):
    """A line as a client sent it. id: None for a new one. line: its other members."""

    id: str | None
    line: InvoiceLine


def edited_lines(lines: Sequence[InvoiceLine], sent: Sequence[SentLine], now: str) -> tuple[InvoiceLine, ...]:
    """The lines after an edit. Sending them all back as they are changes nothing.

    Args:
        lines: of the invoice, deleted ones too, which stay.
        sent: all lines that it shall have.
        now: RFC 3339.

    Raises:
        Rejected: `invoice_line_not_found`, `invoice_line_sent_twice`, or the code of a change.
    """
    live = {line.id: line for line in lines if line.deleted_at is None}
    named = [one.id for one in sent if one.id is not None]
    for id in named:
        if id not in live:
            raise Rejected("invoice_line_not_found", f"The invoice has no line {id[:64]}.")
        if named.count(id) > 1:
            raise Rejected("invoice_line_sent_twice", f"The line {id} is sent more than once.")
    by_id = {one.id: one.line for one in sent}
    kept = tuple(
        line
        if line.deleted_at is not None
        else _deleted(line, now)
        if line.id not in by_id
        else _changed(line, by_id[line.id], now)
        for line in lines
    )
    return (*kept, *(one.line for one in sent if one.id is None))


def _deleted(line: InvoiceLine, now: str) -> InvoiceLine:
    if line.status != "valid":
        raise Rejected(
            "invoice_line_delete_invalid_status",
            f"The line {line.id} is {line.status} and cannot be deleted.",
        )
    return msgspec.structs.replace(line, deleted_at=now, updated_at=now, managed_by="manual")


def _changed(line: InvoiceLine, sent: InvoiceLine, now: str) -> InvoiceLine:
    # What a client cannot send of a rate card stays.
    card = msgspec.structs.replace(sent.rate_card, unit_config=line.rate_card.unit_config)
    sent = msgspec.structs.replace(sent, rate_card=card)
    changes = {name: getattr(sent, name) for name in _EDITED if getattr(sent, name) != getattr(line, name)}
    if not changes:
        return line
    if "rate_card" in changes and sold_grant(line) is not None:
        raise Rejected(
            "invoice_line_sells_credits",
            f"The price of the line {line.id} is that of the credits that it sells: delete it, and grant others.",
        )
    if "period" in changes and line.split is not None:
        raise Rejected(
            "invoice_line_no_period_change_for_split_line",
            f"The period of the part {line.id} cannot be changed.",
        )
    if "period" in changes and line.subscription is not None:
        raise Rejected(
            "invoice_line_no_period_change_for_subscription_managed_line",
            f"The period of the line {line.id} belongs to its subscription.",
        )
    if line.split is not None and _usage_discount(card) != _usage_discount(line.rate_card):
        raise Rejected(
            "invoice_line_progressive_billing_usage_discount_update_forbidden",
            f"The usage discount of the part {line.id} runs through all parts and cannot be changed.",
        )
    if isinstance(card.price, FlatPrice) and not number.parse(card.price.amount):
        raise Rejected(
            "invoice_line_zero_amount_delete_instead", f"The line {line.id} would be 0: delete it instead."
        )
    return msgspec.structs.replace(line, **changes, managed_by="manual", updated_at=now)


def _usage_discount(card: LineRateCard) -> object:
    return (card.discounts or Discounts()).usage
