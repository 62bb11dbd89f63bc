"""Every case of OpenMeter with late events: what each run bills, as a whole or by the parts that usage belongs to."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.catalog.price_terms import read_discounts
from pipeline.core.rating.booking import by_part, difference
from pipeline.core.rating.detail import RatedDetail, quantity_text
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import LineTerms, Tariff, tariff_of
from pipeline.core.values import money, number
from tests.core.rating.cases import Case, cases, load
from tests.core.rating.short_price import price_of

FILE = "openmeter-late-events"
CASES = cases(FILE, {})
AMOUNTS = ("amount", "charges", "discounts", "total")


def test_every_case_is_taken() -> None:
    assert len(CASES) == len(load(FILE)) == 18


def amounts(rows: list[RatedDetail]) -> dict[str, str]:
    """Sums; only `amount` and `total` are written where they are zero."""
    sums = {name: sum(getattr(row, name) for row in rows) for name in AMOUNTS}
    return {name: money.text(sums[name], 2) for name in AMOUNTS if sums[name] or name in ("amount", "total")}


def shown(one: RatedDetail, period: str, current: str) -> dict[str, Any]:
    line = {
        "component": one.child_reference,
        "period": period,
        "perUnit": number.text(one.per_unit_atto),
        "quantity": quantity_text(one),
        **amounts([one]),
    }
    if one.category == "commitment":
        line["category"] = "commitment"
    return line if period == current else line | {"correctsRunOf": period}


def details(tariff: Tariff, quantity: str, minimum: bool) -> tuple[RatedDetail, ...]:
    return rate(tariff, LinePart(number.parse(quantity), minimum=minimum)).details


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_runs(case: Case) -> None:
    given = case["in"]
    percentage = given.get("discounts", {}).get("percentage")
    discounts = (
        None if percentage is None else read_discounts("case", {"percentage": {"percentage": percentage}})
    )
    tariff = tariff_of(LineTerms(price_of(given["price"]), "USD", discounts))
    periods = [run["period"] for run in given["runs"]]
    booked: list[list[RatedDetail]] = [[] for _ in periods]
    for place, (run, expected) in enumerate(zip(given["runs"], case["out"]["runs"], strict=True)):
        final = run["period"] == given["finalRun"]
        if given["engine"] == "delta":
            rating = details(tariff, run["cumulativeQty"], final)
            new: list[list[RatedDetail]] = [[] for _ in range(place)]
            new.append(difference(rating, [one for part in booked for one in part]))
        else:
            quantities = run["cumulativeQtyByPeriodEnd"]
            ratings = [details(tariff, text, final and text is quantities[-1]) for text in quantities]
            new = by_part(ratings, booked[: place + 1])
        lines = [
            shown(one, period, run["period"])
            for period, part in zip(periods, new, strict=False)
            for one in part
        ]
        # The order of lines within a run differs between the two engines and is not money.
        key = ("period", "component", "perUnit")
        assert sorted(lines, key=lambda line: [line[name] for name in key]) == sorted(
            expected["lines"], key=lambda line: [line[name] for name in key]
        )
        assert amounts([one for part in new for one in part]) == expected["totals"]
        for before, part in zip(booked, new, strict=False):
            before.extend(part)
