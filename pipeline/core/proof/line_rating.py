"""What a line costs by the quantities that it shows, compared with what it bills.

Owns: that comparison, for lines, parts of lines, corrections. Does not own: ratings (rating.rate), the law of what is
booked (rating.booking), quantities (explain.line_tally).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from pipeline.core.invoices.correction import billed_by
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.line_split import is_last
from pipeline.core.invoices.rated_line import rating_terms
from pipeline.core.invoices.totals import InvoiceTotals, summed
from pipeline.core.rating import booking
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values import number
from pipeline.errors import Rejected

RatedDetails = Sequence[RatedDetail]


def wrong_rating(
    line: InvoiceLine, earlier: Sequence[InvoiceLine] = (), given_up: Sequence[str] = ()
) -> str | None:
    """A sentence on what is wrong with the components of a line; None: nothing is.

    Args:
        line: that is issued.
        earlier: what billed the same part before it.
        given_up: ids of those of it that were not paid when the line was issued.
    """
    left = list(chain.from_iterable(billed_by(one) for one in earlier if one.id in given_up))
    booked = list(chain.from_iterable(billed_by(one) for one in earlier if one.id not in given_up))
    try:
        wanted = [_difference(one, booked, left) for one in _worths(line)]
    except Rejected as refusal:
        return f"its price cannot be rated: {refusal.detail}"
    if billed_by(line) not in wanted:
        return "its components are not what its quantity costs by its price"
    if line.totals != summed(one.totals for one in line.children):
        return "its total is not the sum of its components"
    return _wrong_totals(line.totals)


class _Worth(NamedTuple):
    """Ratings of the cumulative usage up to the end of each part. place: that of the line."""

    ratings: list[RatedDetails]
    place: int = 0


def _worths(line: InvoiceLine) -> list[_Worth]:
    """What the line may be worth.

    What a fixed amount is corrected to, its price or nothing, shows only in the correction: both are returned.
    """
    usage = line.counted
    if usage is not None and usage.start_s == usage.end_s:
        return [_Worth([()])]
    if usage is not None:
        has_before = usage.part_s > usage.start_s
        quantities = [usage.before, usage.quantity, *usage.later][not has_before :]
        return [_worth(line, list(map(number.exact, quantities)), int(has_before), usage.is_last)]
    if line.is_metered:
        before = number.parse(line.metered_pre_line_period_quantity or "0")
        quantities_atto = [before, before + number.parse(line.metered_quantity or "0")][not before :]
        return [_worth(line, quantities_atto, int(before != 0), is_last(line))]
    whole = _worth(line, [0], 0, is_final=True)
    return [whole, _Worth([()])] if line.corrects is not None else [whole]


def _worth(line: InvoiceLine, quantities_atto: list[int], place: int, is_final: bool) -> _Worth:
    terms, final = rating_terms(line), len(quantities_atto) - 1
    if terms is None:
        return _Worth([()] * len(quantities_atto), place)
    tariff = tariff_of(terms)
    return _Worth(
        [
            rate(tariff, LinePart(atto, minimum=is_final and number_of == final)).details
            for number_of, atto in enumerate(quantities_atto)
        ],
        place,
    )


def _difference(worth: _Worth, booked: RatedDetails, given_up: RatedDetails) -> list[RatedDetail]:
    booked_of: list[RatedDetails] = [()] * len(worth.ratings)
    left_of: list[RatedDetails] = [()] * len(worth.ratings)
    booked_of[worth.place], left_of[worth.place] = booked, given_up
    return booking.by_part(worth.ratings, booked_of, left_of)[worth.place]


def _wrong_totals(totals: InvoiceTotals) -> str | None:
    added = sum(
        number.parse(one) for one in (totals.amount, totals.charges_total, totals.taxes_exclusive_total)
    )
    taken = number.parse(totals.discounts_total) + number.parse(totals.credits_total)
    if number.parse(totals.total) != added - taken:
        return "its total is not amount + charges + taxes - discounts - credits"
    return None
