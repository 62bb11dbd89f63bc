"""Groups of lines as they are kept, and what many lines have in common.

Owns: these Structs, the text of a component that was billed. Does not own: keys, which rows are shared (group_rows).
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.bills.line_group import BookedLine, DetailTuple, GroupFeature, GroupPart
from pipeline.core.invoices.line import InvoiceLine, LineRateCard
from pipeline.core.rating import detail
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.values import number

_LETTERS: Final = {
    detail.FLAT: "f",
    detail.UNIT: "u",
    detail.USAGE: "p",
    detail.MINIMUM: "m",
}  # the usual components
_REFERENCES: Final = {letter: reference for reference, letter in _LETTERS.items()}


class LineWording(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the lines of an item have in common in all subscriptions of a plan. A flat price has no amount here."""

    name: str
    description: str | None
    currency: str
    rate_card: LineRateCard
    feature: GroupFeature | None


class LinePlace(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the lines of an item have in common.

    Attributes:
        wording: name of a LineWording.
        subscription, phase, item: ids.
        reference: of a line without its last part.
    """

    wording: str
    subscription: str
    phase: str
    item: str
    reference: str


class UsualBooking(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A BookedLine without a mark, which most are.

    Attributes:
        line: empty for that of the group.
        details: texts of `_detail_text`.
        end_s: None: the end of the part.
    """

    invoice: str
    line: str
    details: tuple[str, ...] = ()
    end_s: int | None = None


class StoredBooking(UsualBooking, frozen=True, gc=False, array_like=True):
    """Any BookedLine."""

    is_given_up: bool = False
    is_left: bool = False


class SettledPart(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A GroupPart of which nothing is open, which most are: a row is as short as what it has to say."""

    start_s: int
    end_s: int
    booked: tuple[UsualBooking, ...] = ()


class StoredPart(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Any GroupPart. It begins as a SettledPart does."""

    start_s: int
    end_s: int
    booked: tuple[StoredBooking, ...] = ()
    open: StoredBooking | None = None
    is_dropped: bool = False


class UsualLine(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a line of an item has of its own, where its periods are those of its parts.

    Attributes:
        place: name of a LinePlace.
        reference: the last part of its reference.
        invoice_at_s: seconds since 1970.
        amount: of a flat price.
    """

    place: str
    reference: str
    invoice_at_s: int
    amount: str | None = None


class StoredLine(UsualLine, frozen=True, gc=False, array_like=True):
    """The same of any line.

    Attributes:
        period, billing_period: in seconds since 1970; None: from the start of the first part to the end of the last.
        created_ms, updated_ms: None: the time in the id of the line.
    """

    period: tuple[int, int] | None = None
    billing_period: tuple[int, int] | None = None
    created_ms: int | None = None
    updated_ms: int | None = None


class UsualGroup(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A LineGroup that its subscription wants, of a line that is not kept whole."""

    line: UsualLine | None
    parts: tuple[SettledPart | StoredPart, ...]


class StoredGroup(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Any LineGroup. line: a whole one, or what it has of its own. feature: of a whole line."""

    line: StoredLine | None
    parts: tuple[StoredPart, ...]
    is_wanted: bool = True
    whole: InvoiceLine | None = None
    feature: GroupFeature | None = None


def shortest(stored: StoredGroup) -> UsualGroup | StoredGroup:
    """The same row without members at its end that say nothing; it is read as a StoredGroup."""
    line = stored.line
    if line is None or not stored.is_wanted:
        return stored
    parts = tuple(
        SettledPart(one.start_s, one.end_s, tuple(map(_usual, one.booked)))
        if one.open is None and not one.is_dropped
        else one
        for one in stored.parts
    )
    if (line.period, line.billing_period, line.created_ms, line.updated_ms) == (None, None, None, None):
        return UsualGroup(UsualLine(line.place, line.reference, line.invoice_at_s, line.amount), parts)
    return UsualGroup(line, parts)


def _usual(booking: StoredBooking) -> UsualBooking:
    if booking.is_given_up or booking.is_left:
        return booking
    return UsualBooking(booking.invoice, booking.line, booking.details, booking.end_s)


def packed_part(part: GroupPart, group_id: str) -> StoredPart:
    """A part as it is kept. group_id: of its group."""

    def booking(line: BookedLine) -> StoredBooking:
        return StoredBooking(
            line.invoice,
            "" if line.line == group_id else line.line,
            tuple(_detail_text(one) for one in line.details),
            None if line.end_s == part.end_s else line.end_s,
            line.is_given_up,
            line.is_left,
        )

    return StoredPart(
        part.start_s,
        part.end_s,
        tuple(booking(line) for line in part.booked),
        None if part.open is None else booking(part.open),
        part.is_dropped,
    )


def part_of(stored: StoredPart, group_id: str) -> GroupPart:
    """Inverse of `packed_part`."""

    def booked(one: StoredBooking) -> BookedLine:
        details: DetailTuple = tuple(_detail_of(text) for text in one.details)
        end_s = stored.end_s if one.end_s is None else one.end_s
        return BookedLine(one.invoice, one.line or group_id, details, end_s, one.is_given_up, one.is_left)

    return GroupPart(
        stored.start_s,
        stored.end_s,
        tuple(booked(one) for one in stored.booked),
        None if stored.open is None else booked(stored.open),
        stored.is_dropped,
    )


def _detail_text(one: RatedDetail) -> str:
    """A component as text: its members, without those at the end that are 0.

    >>> _detail_text(RatedDetail("flat-price", 20 * number.SCALE, number.SCALE, 2000))
    'f 20 1 2000'
    """
    members = [one.charges, one.percentage_discount, one.maximum_discount, one.tier, int(one.reversal)]
    while members and not members[-1]:
        members.pop()
    first = (
        _LETTERS.get(one.reference, one.reference),
        number.text(one.per_unit_atto),
        number.text(one.quantity_atto),
        str(one.amount),
    )
    return " ".join((*first, *map(str, members)))


def _detail_of(text: str) -> RatedDetail:
    """Inverse of `_detail_text`."""
    reference, per_unit, quantity, *members = text.split(" ")
    amount, charges, percentage, maximum, tier, reversal = (*map(int, members), 0, 0, 0, 0, 0)[:6]
    return RatedDetail(
        _REFERENCES.get(reference, reference),
        number.exact(per_unit),
        number.exact(quantity),
        amount,
        charges,
        percentage,
        maximum,
        tier,
        bool(reversal),
    )
