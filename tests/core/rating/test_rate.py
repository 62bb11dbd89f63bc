"""What a usage costs: bounds, rounding, currencies, the order of the steps, and a second program that agrees."""

from __future__ import annotations

import doctest
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.catalog.price import FlatPrice, GraduatedPercentagePrice, TieredPrice, UnitPrice
from pipeline.core.catalog.price_reading import read_price
from pipeline.core.catalog.price_terms import read_discounts, read_unit_config
from pipeline.core.rating import rate as rate_module
from pipeline.core.rating import units
from pipeline.core.rating.detail import quantity_text
from pipeline.core.rating.rate import LinePart, Rated, rate
from pipeline.core.rating.tariff import LineTerms, tariff_of
from pipeline.core.values import money, number
from pipeline.core.values.currency import digits_of
from pipeline.errors import Broken, Rejected
from tests.core.rating.any_terms import CURRENCIES, QUANTITIES, decimals, line_terms, prices
from tests.fixtures.examples import examples

UNIT = {"type": "unit", "amount": "10"}


def rated(price: dict[str, Any], usage: str, currency: str = "USD", **more: Any) -> Rated:
    discounts = None if "discounts" not in more else read_discounts("line", more.pop("discounts"))
    config = None if "unit_config" not in more else read_unit_config("line", more.pop("unit_config"))
    tariff = tariff_of(LineTerms(read_price("line", price, by_event=True), currency, discounts, config))
    return rate(tariff, LinePart(number.parse(usage), **more))


def graduated(*bounds: str, mode: str = "graduated") -> dict[str, Any]:
    """Tiers up to these bounds: the first costs 1 and 10 once, each next one 1 and 10 more."""
    tiers: list[dict[str, Any]] = [{"upToAmount": bound} for bound in bounds] + [{}]
    for place, tier in enumerate(tiers, 1):
        tier["unitPrice"] = {"type": "unit", "amount": str(place)}
        tier["flatPrice"] = {"type": "flat", "amount": str(10 * place)}
    return {"type": "tiered", "mode": mode, "tiers": tiers}


@pytest.mark.parametrize(
    ("price", "usage", "total"),
    [
        (graduated("5"), "5", "15"),  # the bound belongs to the tier
        (graduated("5"), "5.000000000000000001", "35"),
        (graduated("5"), "6", "37"),
        (graduated("5"), "0", "10"),
        (graduated("5"), "-3", "10"),
        (graduated("0", "5"), "0", "10"),
        (graduated("0", "5"), "1", "32"),
        (graduated("5", mode="volume"), "5", "15"),
        (graduated("5", mode="volume"), "5.5", "31"),
        (graduated("5", mode="volume"), "0", "10"),
        (graduated("5", mode="volume"), "-1", "10"),
        (UNIT, "-1", "0"),
        ({"type": "package", "amount": "3", "quantityPerPackage": "0.5"}, "0.500000000000000001", "6"),
        ({"type": "package", "amount": "3", "quantityPerPackage": "10"}, "-5", "0"),
        ({"type": "dynamic", "multiplier": "1.1"}, "0.05", "0.06"),
        ({"type": "dynamic", "multiplier": "1"}, "-4", "0"),
        ({"type": "percentage", "rate": "2.5", "freeAmount": "100"}, "101.8", "0.05"),
        ({"type": "percentage", "rate": "2.5", "freeAmount": "100"}, "99", "0"),
        (UNIT | {"minimumAmount": "5"}, "-1", "5"),
        (UNIT | {"maximumAmount": "0"}, "7", "0"),
        (UNIT | {"maximumAmount": "15.005"}, "2", "15"),  # 4.995 above it, rounded to 5.00 off
        (UNIT | {"minimumAmount": "15.005"}, "1", "15.01"),
    ],
)
def test_totals(price: dict[str, Any], usage: str, total: str) -> None:
    assert money.text(rated(price, usage).total, 2) == total


@pytest.mark.parametrize(
    ("currency", "usage", "total"),
    [("USD", "0.125", "0.13"), ("JPY", "0.125", "0"), ("JPY", "0.5", "1"), ("KWD", "0.0005", "0.001")],
)
def test_money_is_rounded_to_the_digits_of_the_currency(currency: str, usage: str, total: str) -> None:
    found = rated({"type": "unit", "amount": "1"}, usage, currency)
    assert money.text(found.total, digits_of(currency)) == total


def test_thirty_digits_are_exact() -> None:
    found = rated(
        {"type": "unit", "amount": "987654321.123456789012345678"}, "123456789012.345678901234567891"
    )
    exact = Fraction("987654321.123456789012345678") * Fraction("123456789012.345678901234567891")
    assert found.total == money.rounded(exact * 100, 1)
    assert quantity_text(found.details[0]) == "123456789012.345678901234567891"


def test_a_unit_price_of_many_digits_is_shown_and_rounded_once() -> None:
    found = rated({"type": "unit", "amount": "0.004"}, "10")
    assert (found.total, number.text(found.details[0].per_unit_atto)) == (4, "0.004")


def test_the_steps_have_an_order() -> None:
    """10 units at 10; 2 free; half off; at most 30; at least 35 cannot be reached by a maximum of 30."""
    price = UNIT | {"maximumAmount": "30"}
    found = rated(price, "10", discounts={"percentage": {"percentage": 50}, "usage": {"quantity": "2"}})
    (one,) = found.details
    assert (one.amount, one.percentage_discount, one.maximum_discount, one.total) == (8000, 4000, 1000, 3000)
    assert (found.quantity_atto, found.free_atto) == (8 * number.SCALE, 2 * number.SCALE)


def test_the_discount_takes_nothing_off_the_minimum() -> None:
    found = rated(UNIT | {"minimumAmount": "100"}, "2", discounts={"percentage": {"percentage": 50}})
    assert [(one.child_reference, one.category, one.total) for one in found.details] == [
        ("unit-price-usage", "regular", 1000),
        ("min-spend", "commitment", 9000),
    ]


@pytest.mark.parametrize(
    ("config", "usage", "quantity"),
    [
        ({"operation": "divide", "conversionFactor": "1000", "rounding": "ceiling"}, "1001", "2"),
        ({"operation": "divide", "conversionFactor": "1000", "rounding": "floor"}, "1999", "1"),
        ({"operation": "divide", "conversionFactor": "1000", "rounding": "half_up"}, "1500", "2"),
        (
            {"operation": "divide", "conversionFactor": "1000", "rounding": "half_up", "precision": 1},
            "1549",
            "1.5",
        ),
        ({"operation": "divide", "conversionFactor": "8"}, "1", "0.125"),
        ({"operation": "divide", "conversionFactor": "3"}, "1", "0.333333333333333333"),
        ({"operation": "multiply", "conversionFactor": "0.5", "rounding": "ceiling"}, "3", "2"),
        ({"operation": "multiply", "conversionFactor": "1.5"}, "3", "4.5"),
    ],
)
def test_units_are_converted(config: dict[str, Any], usage: str, quantity: str) -> None:
    assert number.text(rated(UNIT, usage, unit_config=config).quantity_atto) == quantity


def test_a_part_above_a_maximum_that_is_reached_costs_nothing() -> None:
    found = rated(UNIT | {"maximumAmount": "50"}, "1", pre_atto=7 * number.SCALE, first=False, booked=7000)
    (one,) = found.details
    assert (one.amount, one.maximum_discount, one.total) == (1000, 1000, 0)


def test_packages_of_earlier_parts_are_paid_but_on_the_first_part() -> None:
    price = {"type": "package", "amount": "1", "quantityPerPackage": "10"}
    assert rated(price, "5", pre_atto=15 * number.SCALE, first=False).total == 0
    assert rated(price, "6", pre_atto=15 * number.SCALE, first=False).total == 100
    assert rated(price, "5", pre_atto=15 * number.SCALE).total == 200


def test_free_units_are_taken_from_the_parts_before_first() -> None:
    found = rated(UNIT, "15", pre_atto=5 * number.SCALE, first=False, discounts={"usage": {"quantity": "10"}})
    units = (found.quantity_atto, found.pre_atto, found.free_atto, found.pre_free_atto)
    assert [quantity // number.SCALE for quantity in units] == [10, 0, 5, 5]


def test_a_third_of_a_unit_is_priced_exactly() -> None:
    price = {"type": "unit", "amount": "300000000000000000"}
    found = rated(price, "1", unit_config={"operation": "divide", "conversionFactor": "3"})
    assert money.text(found.total, 2) == "100000000000000000"


def test_a_volume_price_cannot_be_split() -> None:
    with pytest.raises(Rejected) as refusal:
        rated(graduated("5", mode="volume"), "1", pre_atto=number.SCALE, first=False)
    assert refusal.value.reason == "invoice_line_graduated_split_not_supported"


def test_a_price_for_each_event_needs_the_events() -> None:
    with pytest.raises(Broken, match="needs the amount of each event"):
        rated({"type": "percentage", "rate": "1", "fixedAmount": "0.3"}, "10")


@pytest.mark.parametrize(
    ("usage", "pre", "total"),
    [("3", "2", "30"), ("-3", "5", "0"), ("4", "-2", "20"), ("-1", "-2", "0")],
)
def test_a_part_is_priced_for_what_it_adds_above_zero(usage: str, pre: str, total: str) -> None:
    assert money.text(rated(UNIT, usage, pre_atto=number.parse(pre), first=False).total, 2) == total


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(Rejected, match="is not a code of ISO 4217"):
        tariff_of(LineTerms(FlatPrice("1"), "XYZ"))


@settings(max_examples=examples(50))
@given(line_terms())
def test_terms_are_stored_and_read_back(terms: LineTerms) -> None:
    stored = msgspec.json.encode(terms)
    read = msgspec.json.decode(stored, type=LineTerms)
    assert (read, msgspec.json.encode(read)) == (terms, stored)


@settings(max_examples=examples(100))
@given(prices(), st.sampled_from(CURRENCIES), QUANTITIES)
def test_the_amount_of_a_component_is_its_price_times_its_quantity(
    price: Any, currency: str, usage: int
) -> None:
    terms = tariff_of(LineTerms(price, currency))
    for one in rate(terms, LinePart(usage)).details:
        exact = Fraction(one.per_unit_atto, number.SCALE) * Fraction(one.quantity_atto, number.SCALE)
        assert one.amount + one.charges == money.rounded(exact * 10**terms.digits, 1)
        assert one.total >= 0


@settings(max_examples=examples(100))
@given(prices(), QUANTITIES)
def test_a_second_program_in_fractions_agrees(price: Any, usage: int) -> None:
    """The model alone: no minimum, no maximum, no rounding but that of the components."""
    units = max(Fraction(usage, number.SCALE), Fraction(0))
    if isinstance(price, TieredPrice | GraduatedPercentagePrice | UnitPrice):
        expected = sum(money.rounded(amount * 10_000, 1) for amount in plain_amounts(price, units))
        tariff = tariff_of(LineTerms(price, "UYW"))._replace(minimum_atto=0, maximum_atto=None)
        assert rate(tariff, LinePart(usage)).total == expected


def plain_amounts(price: Any, units: Fraction) -> list[Fraction]:
    if isinstance(price, UnitPrice):
        return [Fraction(price.amount) * units]
    bounds = [None if tier.up_to_amount is None else Fraction(tier.up_to_amount) for tier in price.tiers]
    found: list[Fraction] = []
    for place, tier in enumerate(price.tiers):
        lower = Fraction(0) if place == 0 else bounds[place - 1]
        upper = bounds[place]
        assert lower is not None
        if isinstance(price, GraduatedPercentagePrice):
            flat, unit = Fraction(tier.flat_amount or 0), Fraction(tier.rate) / 100
        else:
            flat = Fraction(tier.flat_price.amount if tier.flat_price else 0)
            unit = Fraction(tier.unit_price.amount if tier.unit_price else 0)
        reached = place == 0 or units > lower
        if isinstance(price, TieredPrice) and price.mode == "volume":
            if reached and (upper is None or units <= upper):
                return [flat, unit * units]
            continue
        if reached:
            found += [flat, unit * (units - lower if upper is None else min(units, upper) - lower)]
    return found


@settings(max_examples=examples(50))
@given(decimals(5), st.lists(st.integers(0, 10**19), min_size=1, max_size=5))
def test_parts_of_a_unit_price_add_up_to_a_cent_each(amount: str, usages: list[int]) -> None:
    """Parts that are rounded each drift by half a cent each; the cumulative rating does not."""
    tariff = tariff_of(LineTerms(read_price("line", {"type": "unit", "amount": amount}), "USD"))
    pre, total = 0, 0
    for place, usage in enumerate(usages):
        total += rate(tariff, LinePart(usage, pre, place == 0, place == len(usages) - 1)).total
        pre += usage
    assert 2 * abs(total - rate(tariff, LinePart(pre)).total) <= len(usages) + 1


@pytest.mark.parametrize("module", [rate_module, units])
def test_the_examples_are_true(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted and not result.failed
