"""The next invoices now and at the ends of their periods."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog.price import UnitPrice
from pipeline.core.invoices.forecast import UpcomingInvoice, upcoming_invoices
from pipeline.core.invoices.invoice import with_lines, workflow_snapshot
from pipeline.core.invoices.line import InvoiceLine, LineCorrects
from pipeline.core.invoices.line_split import split
from pipeline.core.invoices.rated_line import rating_terms, with_billed, with_rating
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.totals import check_totals
from pipeline.core.rating.booking import by_part
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.rating.tax import TaxRate
from pipeline.core.values.number import SCALE
from tests.core.invoices.invoices import HOUR_S, START_S, billing_profile, content, flat, line, period, text
from tests.core.invoices.states import in_state

END_S = START_S + 10 * HOUR_S
SUMMED = {"tokens": "SUM"}


def used(one: InvoiceLine, units: int, pre: int = 0) -> InvoiceLine:
    """The line as it waits on the gathering invoice after usage."""
    terms = rating_terms(one)
    assert terms is not None
    tariff = tariff_of(terms)
    if not pre:
        part = LinePart(units * SCALE)
        return with_rating(one, part, rate(tariff, part))
    ratings = [
        rate(tariff, LinePart(pre * SCALE, minimum=False)).details,
        rate(tariff, LinePart((pre + units) * SCALE)).details,
    ]
    _, rest = by_part(ratings, [ratings[0], []])
    part = LinePart(units * SCALE, pre * SCALE)
    return with_billed(with_rating(one, part, rate(tariff, part)), rest)


def upcoming(
    *lines: InvoiceLine,
    at_s: int = START_S + 2 * HOUR_S,
    aggregation: str = "SUM",
    rates: tuple[TaxRate, ...] = (),
) -> list[UpcomingInvoice]:
    workflow = msgspec.structs.replace(workflow_snapshot(billing_profile()), tax_rates=rates)
    stored = StoredInvoice(
        content=with_lines(content(workflow=workflow), lines), progress=in_state("gathering")
    )
    return upcoming_invoices(stored, {"tokens": aggregation}, at_s * 1000)


def test_usage_is_expected_to_grow_as_it_did() -> None:
    (found,) = upcoming(used(line(), 30), flat())
    tokens, seats = found.lines
    assert (tokens.now.quantity, tokens.forecast.quantity, tokens.is_extrapolated) == ("30", "150", True)
    assert (seats.now.totals.total, seats.is_extrapolated) == ("10", False)
    assert (found.totals.total, found.forecast.total) == ("13", "25")
    assert (found.currency, found.collection_at_s) == ("USD", END_S)


def test_an_aggregation_that_does_not_grow_with_time_stays() -> None:
    for aggregation in ("UNIQUE_COUNT", "MAX", "LATEST"):
        (found,) = upcoming(used(line(), 30), aggregation=aggregation)
        assert (found.totals.total, found.forecast.total) == ("3", "3")
        assert not found.lines[0].is_extrapolated


def test_a_period_that_is_over_or_has_not_begun_is_not_extrapolated() -> None:
    for at_s in (START_S, END_S, END_S + HOUR_S):
        (found,) = upcoming(used(line(), 30), at_s=at_s)
        assert (found.totals.total, found.forecast.total) == ("3", "3")


def test_lines_are_shown_by_the_invoice_that_takes_them() -> None:
    year = used(
        line("Year", period=period(START_S, START_S + 100 * HOUR_S), invoice_at=text(START_S + 100 * HOUR_S)),
        1,
    )
    next_fee = flat("Next", period=period(END_S, END_S + 10 * HOUR_S), invoice_at=text(END_S))
    later = flat(
        "Later", period=period(END_S + 10 * HOUR_S, END_S + 20 * HOUR_S), invoice_at=text(END_S + 10 * HOUR_S)
    )
    deleted = flat("Deleted", deleted_at=text(START_S))
    found = upcoming(year, later, next_fee, used(line(), 5), deleted)
    assert [(one.collection_at_s, [each.now.name for each in one.lines]) for one in found] == [
        (END_S, ["Next", "Tokens"]),
        (START_S + 100 * HOUR_S, ["Year"]),
    ]
    assert upcoming() == []


def test_taxes_are_part_of_both_totals() -> None:
    (found,) = upcoming(used(line(), 30), rates=(TaxRate("default", Decimal(10), "exclusive"),))
    assert (found.totals.total, found.totals.taxes_total) == ("3.3", "0.3")
    assert found.forecast.total == "16.5"
    check_totals(found.forecast)


def test_a_correction_stays_as_it_is() -> None:
    correction = msgspec.structs.replace(
        used(line("Correction"), 30), corrects=LineCorrects(invoice_id="01I", line_id="01L")
    )
    (found,) = upcoming(correction)
    assert (found.totals.total, found.forecast.total) == ("3", "3")


def test_a_line_that_was_not_rated_yet_costs_what_no_usage_costs() -> None:
    (found,) = upcoming(line(price=UnitPrice(amount="1", minimum_amount="7")))
    assert (found.totals.total, found.forecast.total) == ("7", "7")


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 9),
    st.sampled_from([(None, None), ("5", None), ("40", None), (None, "3"), (None, "30")]),
)
def test_the_rest_of_a_line_and_what_was_billed_of_it_are_the_whole(
    before: int, units: int, hours: int, commitments: tuple[str | None, str | None]
) -> None:
    minimum, maximum = commitments
    price = UnitPrice(amount="1", minimum_amount=minimum, maximum_amount=maximum)
    whole = line(price=price)
    parts = split(whole, START_S + hours * HOUR_S, START_S * 1000)
    half_s = parts.rest.period.start_s + (END_S - parts.rest.period.start_s) // 2
    (found,) = upcoming(used(parts.rest, units, before), at_s=half_s)
    terms = rating_terms(whole)
    assert terms is not None
    tariff = tariff_of(terms)
    billed = rate(tariff, LinePart(before * SCALE, minimum=False)).total if before else 0
    expected = rate(tariff, LinePart((before + 2 * units) * SCALE)).total - billed
    assert Decimal(found.forecast.total) * 100 == expected
