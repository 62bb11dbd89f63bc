"""The components of a line are what its quantities cost by its price, or it is wrong."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.catalog.price_reading import read_price
from pipeline.core.invoices.line import InvoiceLine, LineRateCard
from pipeline.core.invoices.rated_line import rating_terms, with_rating
from pipeline.core.proof.line_rating import wrong_rating
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values.number import SCALE
from tests.core.bills.test_bill_laws import PRICES
from tests.core.explain.test_line_recount import issued


def template() -> InvoiceLine:
    world, id = issued()
    return next(line for one in world.made() for line in one.content.lines if line.id == id)


LINE = template()


def rated(price: object, units: int) -> InvoiceLine:
    """A line of a version that kept no usage."""
    card = LineRateCard(price=read_price("line", price), feature_key="tokens")
    line = msgspec.structs.replace(LINE, rate_card=card, counted=None)
    terms = rating_terms(line)
    assert terms is not None
    part = LinePart(units * SCALE)
    return with_rating(line, part, rate(tariff_of(terms), part))


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("units", [0, 7, 55])
def test_a_line_as_it_was_rated_is_right(price: object, units: int) -> None:
    assert wrong_rating(rated(price, units)) is None


def test_another_quantity_or_price_is_wrong() -> None:
    assert wrong_rating(LINE) is None
    usage = LINE.counted
    assert usage is not None
    more = msgspec.structs.replace(LINE, counted=msgspec.structs.replace(usage, quantity="1501"))
    assert wrong_rating(more) == "its components are not what its quantity costs by its price"
    for field in ("amount", "total"):
        totals = msgspec.structs.replace(LINE.totals, **{field: "1"})
        assert "total" in (wrong_rating(msgspec.structs.replace(LINE, totals=totals)) or "")
    nothing = msgspec.structs.replace(LINE, children=())
    assert "components" in (wrong_rating(nothing) or "")
