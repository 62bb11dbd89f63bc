"""Corrections: the line, and what a line and its corrections have billed."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.catalog.price import FlatPrice, PackagePrice, UnitPrice
from pipeline.core.invoices import print_text
from pipeline.core.invoices.correction import billed_by, correction_line
from pipeline.core.invoices.line import InvoiceLine, LineCorrects, LineRateCard, LineSplit
from pipeline.core.invoices.rated_line import PaidBy, rating_part, rating_terms, with_billed, with_rating
from pipeline.core.rating.booking import difference, summed
from pipeline.core.rating.detail import RatedDetail
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import LineTerms, tariff_of
from pipeline.core.values.number import SCALE
from tests.core.invoices.invoices import START_S, flat, line, period, text
from tests.core.rating.any_terms import line_terms
from tests.fixtures.examples import examples

NOW_MS = START_S * 1000 + 50_007
TENS = UnitPrice(amount="10")


def used(of: InvoiceLine, units: int) -> list[RatedDetail]:
    found = rating_terms(of)
    assert found is not None
    return list(rate(tariff_of(found), LinePart(units * SCALE)).details)


def test_a_correction_has_the_price_and_the_period_of_its_line() -> None:
    of = line(price=TENS, split=LineSplit(group="g", period=period()))
    [more] = [difference(used(of, 8), used(of, 5))]
    found = correction_line(of, "01ISSUED", more, NOW_MS)
    assert (found.name, found.quantity, found.totals.total) == ("Tokens: correction", "3", "30")
    assert found.corrects == LineCorrects(invoice_id="01ISSUED", line_id=of.id)
    assert (found.period, found.rate_card, found.split) == (of.period, of.rate_card, None)
    assert (found.invoice_at, found.managed_by) == (text(START_S + 50), "system")
    assert not found.is_metered  # it is neither rated nor cut
    assert found.id != of.id
    assert found.id != correction_line(of, "01ISSUED", more, NOW_MS, place=1).id
    assert found == correction_line(of, "01ISSUED", more, NOW_MS)


def test_a_correction_that_is_replaced_keeps_what_identifies_it() -> None:
    of = line(price=TENS)
    first = correction_line(of, "01ISSUED", used(of, 3), NOW_MS)
    again = correction_line(of, "01ISSUED", used(of, 4), NOW_MS + 1000, before=first)
    assert (again.id, again.reference, again.created_at) == (first.id, first.reference, first.created_at)
    assert [one.id for one in again.children] == [one.id for one in first.children]
    assert (again.totals.total, again.quantity) == ("40", "4")


def test_a_fee_has_the_quantity_1_and_shows_what_it_was_and_what_it_is_worth() -> None:
    whole, part = flat(), flat()
    part = msgspec.structs.replace(part, rate_card=LineRateCard(price=FlatPrice("4")))
    found = correction_line(whole, "01ISSUED", difference(used(part, 0), used(whole, 0)), NOW_MS)
    assert (found.quantity, found.totals.total) == ("1", "-6")
    assert [(one.name, one.totals.total) for one in found.children] == [
        ("Seats: correction", "4"),
        ("Seats: correction", "-10"),
    ]


@settings(max_examples=examples(100))
@given(line_terms(), st.integers(0, 40 * SCALE), st.integers(0, 40 * SCALE), st.integers(0, 3))
def test_a_line_gives_back_what_it_was_made_of(
    of: LineTerms, usage_atto: int, later_atto: int, paid: int
) -> None:
    made = line(
        currency=of.currency,
        rate_card=LineRateCard(price=of.price, discounts=of.discounts, unit_config=of.unit_config),
    )
    tariff = tariff_of(of)
    rating = rate(tariff, LinePart(usage_atto)).details
    assert billed_by(
        with_rating(made, rating_part(made, usage_atto, 0, 0), rate(tariff, LinePart(usage_atto)))
    ) == list(rating)
    first = with_billed(made, rating, [[PaidBy(paid)]] * len(rating))
    worth = rate(tariff, LinePart(later_atto)).details
    rest = difference(worth, billed_by(first))
    assert rest == difference(worth, rating)
    correction = correction_line(first, "01ISSUED", rest, NOW_MS)
    assert billed_by(correction) == rest
    assert difference(worth, [*billed_by(first), *billed_by(correction)]) == []
    assert len({child.id for child in correction.children}) == len(rest)
    total = sum(one.total for one in summed([*billed_by(first), *billed_by(correction)]))
    assert total == sum(one.total for one in worth)


def test_a_line_of_any_size_gives_back_what_it_was_made_of() -> None:
    """A package of the smallest size: as many of them as no single event can have, and an amount likewise."""
    price = PackagePrice(amount="10", quantity_per_package="0.000000000000000001")
    made = line(price=price)
    terms = rating_terms(made)
    assert terms is not None
    rated = rate(tariff_of(terms), LinePart(40 * SCALE))
    billed = with_rating(made, rating_part(made, 40 * SCALE, 0, 0), rated)
    [child] = billed.children
    assert (child.quantity, child.totals.total) == ("40000000000000000000", "400000000000000000000")
    assert billed_by(billed) == list(rated.details)
    taken_back = correction_line(billed, "01ISSUED", difference((), rated.details), NOW_MS)
    assert summed([*billed_by(billed), *billed_by(taken_back)]) == []
    assert print_text.amount(billed.totals.total, "USD") == "400,000,000,000,000,000,000.00"
