"""Bookings that were given up: they are not paid, and not billed again.

Owns: which bookings of a group these are, rating a group with them. Does not own: what they mean for what is owed
(rating.given_up), taking an invoice back (invoice_void, flow), deleting a line (placing).

The lines of an invoice that was taken back are given up by its state; those that a void bills again are no longer
booked. A correction that a client deleted has a mark of its own, since its invoice may be issued without it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.line_group import BookedLine, LineGroup, PartRating, rate_parts
from pipeline.core.invoices.state_table import short_status

_TAKEN_BACK: Final = ("voided", "delete", "deleted")


def rate_group(bills: CustomerBills, group: LineGroup, count: int) -> list[PartRating]:
    """What the first `count` parts are worth by the usage that is known, less what is booked.

    Raises:
        Rejected: the price cannot be rated.
    """
    return rate_parts(_marked(bills, group), count, bills.quantity_of)


def _marked(bills: CustomerBills, group: LineGroup) -> LineGroup:
    """The group with the mark on every booking that was given up."""
    for place, part in enumerate(group.parts):
        if any(_is_given_up(bills, one) and not one.is_given_up for one in part.booked):
            booked = tuple(
                msgspec.structs.replace(one, is_given_up=_is_given_up(bills, one)) for one in part.booked
            )
            group = group.with_part(place, msgspec.structs.replace(part, booked=booked))
    return group


def _is_given_up(bills: CustomerBills, booked: BookedLine) -> bool:
    if booked.is_given_up:
        return True
    stored = bills.find_invoice(booked.invoice)
    return stored is not None and short_status(stored.progress.state) in _TAKEN_BACK
