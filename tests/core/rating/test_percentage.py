"""Prices by the amounts of single events."""

from __future__ import annotations

import pytest

from pipeline.core.catalog.price_reading import read_price
from pipeline.core.catalog.price_terms import Discounts, UsageDiscount
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import LineTerms, tariff_of
from pipeline.core.values import money, number
from tests.core.rating.cases import Case, load

RUNNING = [
    case
    for case in load("peers-alerts-credits-scenarios")
    if case["id"].startswith("lago-percentage-running")
]
RATE = {"type": "percentage", "rate": "10"}


@pytest.mark.parametrize(
    ("terms", "amounts", "lines"),
    [
        ({"fixedAmount": "1"}, [10, 20], {"percentage-share": "3", "percentage-events": "2"}),
        (
            {"fixedAmount": "1", "freeEvents": 1},
            [10, 20],
            {"percentage-share": "2", "percentage-events": "1"},
        ),
        (
            {"fixedAmount": "1", "freeAmount": "10"},
            [10, 20],
            {"percentage-share": "2", "percentage-events": "1"},
        ),
        (
            {"fixedAmount": "1", "freeAmount": "15"},
            [10, 20],
            {"percentage-share": "1.5", "percentage-events": "1"},
        ),
        # Both: an event is free while neither is used up.
        ({"freeEvents": 2, "freeAmount": "15"}, [10, 20, 30], {"percentage-share": "4.5"}),
        ({"freeEvents": 1, "freeAmount": "500"}, [10, 20, 30], {"percentage-share": "5"}),
        ({"freeEvents": 5}, [10, 20], {}),
        ({"eventMinimum": "1.5"}, [10, 20], {"percentage-share": "3.5"}),
        ({"eventMaximum": "1.5"}, [10, 20], {"percentage-share": "2.5"}),
        ({"eventMaximum": "1.5", "freeAmount": "12"}, [10, 20], {"percentage-share": "1.5"}),
        ({"eventMinimum": "0.5", "freeAmount": "12"}, [10, 20], {"percentage-share": "1.8"}),
        ({"eventMinimum": "1", "freeEvents": 1}, [10, 2], {"percentage-share": "1"}),
        ({"fixedAmount": "1"}, [], {}),
    ],
)
def test_lines(terms: dict[str, str], amounts: list[int], lines: dict[str, str]) -> None:
    tariff = tariff_of(LineTerms(read_price("line", RATE | terms, by_event=True), "USD"))
    events = tuple(amount * number.SCALE for amount in amounts)
    found = rate(tariff, LinePart(sum(events), events=events)).details
    assert {one.child_reference: money.text(one.total, 2) for one in found} == lines


def test_a_usage_discount_takes_the_first_events() -> None:
    price = read_price("line", RATE | {"eventMinimum": "2"}, by_event=True)
    tariff = tariff_of(LineTerms(price, "USD", Discounts(usage=UsageDiscount("15"))))
    events = tuple(amount * number.SCALE for amount in (10, 20, 30))
    assert rate(tariff, LinePart(sum(events), events=events)).total == 200 + 200 + 300


@pytest.mark.parametrize("case", RUNNING, ids=[case["id"] for case in RUNNING])
def test_the_amount_after_each_event(case: Case) -> None:
    sent = case["in"]
    terms = {
        "rate": sent["ratePercent"], "fixedAmount": sent["fixedPerEvent"], "freeEvents": sent["freeEvents"] or None,
        "freeAmount": sent["freeTotal"] if sent["freeTotal"] != "0" else None, "eventMinimum": sent["perEventMin"],
        "eventMaximum": sent["perEventMax"],
    }  # fmt: skip
    wanted = {name: value for name, value in terms.items() if value is not None}
    tariff = tariff_of(LineTerms(read_price("line", RATE | wanted, by_event=True), "USD"))
    events = tuple(number.exact(one) for one in sent["events"])
    parts = [events[: place + 1] for place in range(len(events))]
    running = [rate(tariff, LinePart(sum(part), events=part)).total for part in parts]
    assert len(RUNNING) == 4
    assert [str(amount) for amount in running] == case["out"]["runningCents"]
