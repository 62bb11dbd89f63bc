"""What is billed once, on however many lines: its parts, what was booked on each, and what is still to be booked.

Owns: groups and their parts, the law by which usage is booked. Does not own: on which invoice a line lies (placing),
ratings (rating), usage (usage).

A line that is billed as a whole is a group of one part. Progressive billing cuts it into more. The first line of a part
bills it; lines that come later correct it. The law: the sum of what is booked on a part is what the part is worth by
the usage that is known now (rating.booking), whatever the order in which usage, cuts and invoices came.

A part is rated once it is on an invoice that is made; the rest of the group waits on the gathering invoice. What a
client deletes or takes back without billing it again is given up: its amount counts as booked, but it is never paid, so
nothing of it is taken back when the part is worth less (rating.given_up).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import msgspec

from pipeline.core.bills.usage import BilledFeature
from pipeline.core.catalog.price import PercentagePrice
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.rated_line import rating_terms
from pipeline.core.metering.meter import Aggregation
from pipeline.core.rating import booking
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.rate import LinePart, Rated, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values.filters import Filter, filter_string
from pipeline.errors import Rejected

DetailTuple = tuple[RatedDetail, ...]
QuantityOf = Callable[
    [BilledFeature, int, int], int
]  # of the usage in [from, to), in seconds since 1970, in atto

_FREE = Rated((), 0, 0, 0, 0)
_FILTERS_KEPT = 1 << 14  # features are few, and every line of one asks for them
_encode = msgspec.json.Encoder().encode


class GroupFeature(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The feature of a group as it was when the group was made. filters: the FilterString of each dimension."""

    meter_id: int
    aggregation: Aggregation
    filters: dict[str, object] = {}

    @property
    def billed(self) -> BilledFeature:
        """The feature as usage is asked for."""
        filters = tuple((name, _filter(name, _encode(body))) for name, body in sorted(self.filters.items()))
        return BilledFeature(self.meter_id, self.aggregation, filters)


@lru_cache(_FILTERS_KEPT)
def _filter(name: str, body: bytes) -> Filter:
    """The filter of a dimension. body: its JSON."""
    return filter_string(name, msgspec.json.decode(body))


class BookedLine(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A line of a part.

    Attributes:
        details: without taxes and credits.
        end_s: the end that the part had when it was rated; 0: it was not rated.
        is_given_up: a client deleted it. That its invoice was taken back is no mark here, but the state of that one
            (bills.given_up).
        is_left: it corrects a line that was taken back and is billed again.
    """

    invoice: str
    line: str
    details: DetailTuple = ()
    end_s: int = 0
    is_given_up: bool = False
    is_left: bool = False


class GroupPart(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A part of a group, [start, end) in seconds since 1970.

    Attributes:
        booked: on invoices that are issued, and what was given up.
        open: the line of it that can still change, on a draft or on the gathering invoice.
        is_dropped: nothing more is billed for it.
    """

    start_s: int
    end_s: int
    booked: tuple[BookedLine, ...] = ()
    open: BookedLine | None = None
    is_dropped: bool = False

    @property
    def has_own(self) -> bool:
        """Whether a line that bills all of it is booked, so that what comes later corrects that one."""
        return any(not one.is_left for one in self.booked)

    @property
    def corrected_s(self) -> tuple[int, int]:
        """What a correction of it is about, [from, to): what it has lost or gained at its end, else all of it."""
        booked_s = self.booked[-1].end_s if self.booked else 0
        if booked_s and booked_s != self.end_s:
            return min(booked_s, self.end_s), max(booked_s, self.end_s)
        return self.start_s, self.end_s


class LineGroup(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """All that is billed of one line.

    Attributes:
        id: of the line.
        line: with the period and the price that count now, not rated.
        feature: None: a fixed amount.
        parts: in order.
        is_wanted: the subscription has it, or it has none; else everything is taken back.
    """

    id: str
    line: InvoiceLine
    feature: GroupFeature | None
    parts: tuple[GroupPart, ...]
    is_wanted: bool = True

    def part_of(self, line_id: str) -> int | None:
        """The place of the part that has a line which can still change; None: it has no such line."""
        for place, part in enumerate(self.parts):
            if part.open is not None and part.open.line == line_id:
                return place
        return None

    def with_part(self, place: int, part: GroupPart) -> LineGroup:
        """The group with another part in place of one."""
        parts = (*self.parts[:place], part, *self.parts[place + 1 :])
        return msgspec.structs.replace(self, parts=parts)


class PartRating(NamedTuple):
    """What a part is worth, and what of it is not booked.

    Attributes:
        usage_atto, pre_atto: metered in the part, and in the parts before it.
        rated: billed quantities of the part and of the parts before it, with the details that are not booked.
    """

    usage_atto: int
    pre_atto: int
    rated: Rated

    @property
    def details(self) -> DetailTuple:
        return self.rated.details

    @property
    def total(self) -> int:
        """In minor units."""
        return self.rated.total

    @property
    def line_part(self) -> LinePart:
        """As a line shows it."""
        return LinePart(self.usage_atto, self.pre_atto)


def rated_parts(group: LineGroup, is_gathering: Callable[[str], bool]) -> int:
    """How many parts of a group are rated: up to the last one that is booked or on an invoice that is made.

    Args:
        is_gathering: whether an invoice is a gathering one.
    """
    found = 0
    for place, part in enumerate(group.parts):
        if part.booked or (part.open is not None and not is_gathering(part.open.invoice)):
            found = place + 1
    return found


def rate_parts(group: LineGroup, count: int, quantity_of: QuantityOf) -> list[PartRating]:
    """What the first `count` parts are worth by the usage that is known, less what is booked.

    Raises:
        Rejected: the price cannot be rated.
    """
    parts = group.parts[:count]
    ratings = _ratings(group, parts, quantity_of)
    differences = booking.by_part(
        [rated.details for _, rated in ratings],
        [_details(part, is_given_up=False) for part in parts],
        [None if part.is_dropped else _details(part, is_given_up=True) for part in parts],
    )
    found: list[PartRating] = []
    before_atto, before = 0, _FREE
    for (usage_atto, rated), details in zip(ratings, differences, strict=True):
        shown = Rated(
            tuple(details),
            rated.quantity_atto - before.quantity_atto,
            before.quantity_atto,
            rated.free_atto - before.free_atto,
            before.free_atto,
        )
        found.append(PartRating(usage_atto - before_atto, before_atto, shown))
        before_atto, before = usage_atto, rated
    return found


def _details(part: GroupPart, is_given_up: bool) -> list[RatedDetail]:
    """What is booked on a part and given up, or the rest of what is booked."""
    return [one for line in part.booked if line.is_given_up == is_given_up for one in line.details]


def _ratings(
    group: LineGroup, parts: tuple[GroupPart, ...], quantity_of: QuantityOf
) -> list[tuple[int, Rated]]:
    """The cumulative usage up to the end of each part, and its rating as the only line of the period."""
    terms = rating_terms(group.line)
    if not group.is_wanted or not parts:
        return [(0, _FREE)] * len(parts)
    feature = None if group.feature is None else group.feature.billed
    start_s, end_s = group.parts[0].start_s, group.parts[-1].end_s  # of the whole group
    found = []
    for part in parts:
        usage_atto = 0 if feature is None else quantity_of(feature, start_s, part.end_s)
        if terms is None:
            quantity_atto = max(usage_atto, 0)
            rated = Rated((), quantity_atto, 0, 0, 0)
        elif isinstance(terms.price, PercentagePrice) and terms.price.needs_events:
            raise Rejected(
                "invoice_line_needs_events", f"The price of {group.line.name} needs the amount of each event."
            )
        else:
            rated = rate(tariff_of(terms), LinePart(usage_atto, minimum=part.end_s == end_s))
        found.append((usage_atto, rated))
    return found
