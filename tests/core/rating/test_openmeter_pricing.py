"""Every pricing case of OpenMeter: the components of a line, their numbers, the discounts and the total."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.catalog.price_terms import Discounts, read_discounts, read_unit_config
from pipeline.core.rating.credit_allocation import CreditAllocation, allocate
from pipeline.core.rating.detail import RatedDetail, quantity_text, totals_of
from pipeline.core.rating.models import packages, tier_of
from pipeline.core.rating.rate import LinePart, Rated, rate
from pipeline.core.rating.tariff import LineTerms, tariff_of
from pipeline.core.rating.units import usage_discount
from pipeline.core.values import money, number
from tests.core.rating.cases import Case, cases, load
from tests.core.rating.short_price import price_of

FILE = "openmeter-pricing"
CASES = cases(FILE, {})
LINES = [case for case in CASES if "price" in case["in"]]
TIERS = [case for case in CASES if "tiersUpTo" in case["in"]]
PACKAGES = [case for case in CASES if "packageSize" in case["in"]]
DISCOUNTS = [case for case in CASES if "usageDiscount" in case["in"]]
POSITIONS = {
    "only line of the period": (True, True),
    "middle split line (not first, not last)": (False, False),
    "last split line of the period": (False, True),
}
REASONS = {"ratecard_percentage": "PercentageDiscount", "maximum_spend": "MaximumSpendDiscount"}


def test_every_case_is_taken() -> None:
    assert len(LINES) + len(TIERS) + len(PACKAGES) + len(DISCOUNTS) == len(load(FILE)) == 57


def rated(given: dict[str, Any]) -> Rated:
    discounts = Discounts()
    if "percentageDiscount" in given:
        discounts = read_discounts("case", {"percentage": {"percentage": given["percentageDiscount"]}})
    config = read_unit_config("case", given["unitConfig"]) if "unitConfig" in given else None
    first, last = POSITIONS[given["linePosition"]]
    part = LinePart(
        number.parse(given["usage"]["line"]),
        number.parse(given["usage"]["preLine"]),
        first,
        last,
        booked=money.minor(number.parse(given.get("previouslyBilledAmount", "0")), 2),
        minimum="WithMinimumCommitmentIgnored" not in given.get("options", ()),
    )
    return rate(tariff_of(LineTerms(price_of(given["price"]), "USD", discounts, config)), part)


def shown(one: RatedDetail, paid: list[CreditAllocation]) -> dict[str, Any]:
    """A component as the cases write it."""
    credits = [money.text(allocation.amount, 2) for allocation in paid]
    totals = totals_of(one, sum(allocation.amount for allocation in paid))
    names = ("amount", "charges", "discounts", "credits", "total")
    line: dict[str, Any] = {
        "ref": one.child_reference,
        "quantity": quantity_text(one),
        "perUnitAmount": number.text(one.per_unit_atto),
        "totals": {name: money.text(getattr(totals, name), 2) for name in names},
    }
    if one.category == "commitment":
        line |= {"category": "commitment", "period": "full service period"}
    if credits:
        line["creditsApplied"] = credits
    if one.discounts:
        line["amountDiscounts"] = [
            {"amount": money.text(amount, 2), "reason": REASONS[reason]}
            for reason, amount in one.amount_discounts
        ]
    return line


@pytest.mark.parametrize("case", LINES, ids=lambda case: case["id"])
def test_lines(case: Case) -> None:
    given, details = case["in"], rated(case["in"]).details
    credits = [money.minor(number.parse(text), 2) for text in given.get("creditsApplied", ())]
    paid = allocate(details, [] if "WithCreditsMutatorDisabled" in given.get("options", ()) else credits)
    lines = [shown(one, allocations) for one, allocations in zip(details, paid, strict=True)]
    total = sum(number.parse(line["totals"]["total"]) for line in lines)
    assert number.text(total) == case["out"]["total"], lines
    if "lines" in case["out"]:
        assert lines == case["out"]["lines"]


@pytest.mark.parametrize("case", TIERS, ids=lambda case: case["id"])
def test_tiers(case: Case) -> None:
    bounds = [None if bound is None else number.parse(bound) for bound in case["in"]["tiersUpTo"]]
    assert tier_of(bounds, number.parse(case["in"]["quantity"])) == case["out"]["tierIndex"]


@pytest.mark.parametrize("case", PACKAGES, ids=lambda case: case["id"])
def test_packages(case: Case) -> None:
    count = packages(number.parse(case["in"]["quantity"]), number.parse(case["in"]["packageSize"]))
    assert str(count) == case["out"]["packages"]


@pytest.mark.parametrize("case", DISCOUNTS, ids=lambda case: case["id"])
def test_usage_discounts(case: Case) -> None:
    usage, free = case["in"]["usage"], case["in"]["usageDiscount"]
    left, pre, taken, taken_pre = usage_discount(int(usage["line"]), int(usage["preLine"]), int(free))
    assert {"line": str(left), "preLine": str(pre)} == case["out"]["usage"]
    assert str(taken) == case["out"]["discountAppliedToLine"]
    assert str(taken_pre) == case["out"].get("discountAppliedPreLine", str(taken_pre))
