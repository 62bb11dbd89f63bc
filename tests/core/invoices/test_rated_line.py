"""Ratings as lines: amounts as text, ids that stay, totals that add up to the rating."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog.price import PriceTier, TieredPrice, TierFlatPrice, TierUnitPrice, UnitPrice
from pipeline.core.catalog.price_terms import Discounts, PercentageDiscount, UsageDiscount
from pipeline.core.invoices.line import InvoiceLine, LineRateCard, PercentageReason
from pipeline.core.invoices.line_split import split
from pipeline.core.invoices.rated_line import PaidBy, rating_part, rating_terms, with_billed, with_rating
from pipeline.core.invoices.totals import check_totals
from pipeline.core.rating.booking import difference
from pipeline.core.rating.rate import rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values import money
from pipeline.core.values.number import SCALE
from tests.core.invoices.invoices import START_S, flat, line

TIERS = TieredPrice(
    mode="graduated",
    tiers=(
        PriceTier(up_to_amount="10", flat_price=TierFlatPrice("5"), unit_price=TierUnitPrice("0.333")),
        PriceTier(flat_price=None, unit_price=TierUnitPrice("0.1")),
    ),
    minimum_amount="7",
    maximum_amount="9",
)
DISCOUNTS = Discounts(PercentageDiscount(Decimal("10")), UsageDiscount("2"))
TIERED = line(rate_card=LineRateCard(feature_key="tokens", price=TIERS, discounts=DISCOUNTS))


def rated(of: InvoiceLine, units: int, pre: int = 0) -> InvoiceLine:
    terms = rating_terms(of)
    assert terms is not None
    part = rating_part(of, units * SCALE, pre * SCALE, 0)
    return with_rating(of, part, rate(tariff_of(terms), part))


def test_quantities_before_and_after_the_free_units() -> None:
    found = rated(TIERED, 14)
    assert (found.quantity, found.metered_quantity) == ("12", "14")
    assert found.discounts is not None
    assert [(one.quantity, one.pre_line_period_quantity) for one in found.discounts.usage] == [("2", "0")]
    later = rated(TIERED, 14, pre=9)
    assert later.discounts is not None
    assert [(one.quantity, one.pre_line_period_quantity) for one in later.discounts.usage] == [("0", "2")]
    assert [one.child_reference for one in found.children] == [
        "graduated-tiered-1-price-usage", "graduated-tiered-1-flat-price", "graduated-tiered-2-price-usage",
    ]  # fmt: skip
    (first, *_rest) = found.children
    assert (first.name, first.quantity, first.per_unit_amount) == (
        "Tokens: usage price for tier 1",
        "10",
        "0.333",
    )
    assert first.discounts is not None
    assert first.discounts.amount[0].amount == "0.33"


@given(units=st.integers(0, 200), pre=st.integers(0, 50))
def test_totals_add_up_to_the_rating_and_ids_are_unique(units: int, pre: int) -> None:
    terms = rating_terms(TIERED)
    assert terms is not None
    part = rating_part(TIERED, units * SCALE, pre * SCALE, 0)
    rating = rate(tariff_of(terms), part)
    found = with_rating(TIERED, part, rating)
    check_totals(found.totals)
    for child in found.children:
        check_totals(child.totals)
    assert found.totals.total == money.text(rating.total, 2)
    ids = [child.id for child in found.children]
    assert len(set(ids)) == len(ids)
    again = rated(TIERED, units + 7, pre)
    kept = {child.child_reference: child.id for child in again.children}
    assert all(kept.get(child.child_reference, child.id) == child.id for child in found.children)


def test_a_minimum_is_a_charge() -> None:
    (child,) = [one for one in rated(TIERED, 0).children if one.category == "commitment"]
    assert (child.totals.amount, child.totals.charges_total) == ("0", child.totals.total)


def test_a_fee_in_advance_keeps_its_term() -> None:
    found = rated(flat(), 0)
    (child,) = found.children
    assert (child.payment_term, child.name, found.totals.total) == ("in_advance", "Seats", "10")
    assert (found.quantity, found.metered_quantity, found.pre_line_period_quantity) == ("1", None, None)


def test_what_is_taken_back_has_an_id_of_its_own() -> None:
    volume = TieredPrice(
        mode="volume",
        tiers=(
            PriceTier(up_to_amount="15", flat_price=None, unit_price=TierUnitPrice("10")),
            PriceTier(flat_price=None, unit_price=TierUnitPrice("5")),
        ),
    )
    of = line(price=volume)
    terms = rating_terms(of)
    assert terms is not None
    ratings = [rate(tariff_of(terms), rating_part(of, units * SCALE, 0, 0)).details for units in (15, 16)]
    corrected = with_billed(of, difference(ratings[1], ratings[0]))
    assert corrected.totals.total == "-70"
    assert [one.child_reference for one in corrected.children] == [
        "volume-tiered-price", "volume-tiered-price#correction",
    ]  # fmt: skip
    assert len({one.id for one in corrected.children}) == 2


def test_credits_lower_the_total() -> None:
    of = line(price=UnitPrice(amount="1"))
    terms = rating_terms(of)
    assert terms is not None
    details = rate(tariff_of(terms), rating_part(of, 3 * SCALE, 0, 0)).details
    paid = with_billed(of, details, [[PaidBy(125, "promo"), PaidBy(25)]])
    assert (paid.totals.credits_total, paid.totals.total) == ("1.5", "1.5")
    assert msgspec.to_builtins(paid.children[0].credit_allocations) == (
        {"amount": "1.25", "description": "promo"}, {"amount": "0.25"},
    )  # fmt: skip


def test_parts_share_the_correlation_of_their_discounts() -> None:
    parts = [rated(one, 50) for one in split(TIERED, START_S + 3600, START_S * 1000)]
    discounts = [child.discounts for part in parts for child in part.children if child.discounts]
    reasons = {
        one.reason for each in discounts for one in each.amount if isinstance(one.reason, PercentageReason)
    }
    assert len(reasons) == 1
    assert (rating_part(parts[0], 0, 0, 0).first, rating_part(parts[0], 0, 0, 0).last) == (True, False)


def test_a_line_without_a_price_is_free() -> None:
    assert rating_terms(line(rate_card=LineRateCard(price=None))) is None
