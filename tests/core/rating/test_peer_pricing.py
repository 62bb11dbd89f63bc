"""Pricing cases of Lago, Flexprice, Meteroid, Kill Bill and Polar, written as our prices."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from pipeline.core.catalog.price_terms import Discounts, UsageDiscount
from pipeline.core.rating.models import divisor_of
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import LineTerms, tariff_of
from pipeline.core.values import number
from pipeline.errors import Rejected
from tests.core.rating.cases import Case, cases, load
from tests.core.rating.short_price import price_of

OTHERS = "peers-pricing-flexprice-meteroid-killbill-polar"
BY_DAYS = "usage is not prorated: no price of ours weighs a unit by its days"
TWO_SIZES = "a price has one size of package, and not one for each tier"
LEFT_OUT_LAGO = {
    "lago-volume-prorated": BY_DAYS,
    "lago-prorated-graduated-1": BY_DAYS,
    "lago-prorated-graduated-6": BY_DAYS,
    "lago-prorated-graduated-7": BY_DAYS,
    "lago-prorated-graduated-9": BY_DAYS,
}
LEFT_OUT_PEERS = {
    "killbill-all-5325": TWO_SIZES,
    "killbill-all-5325-unlimited": TWO_SIZES,
    "killbill-top-1000": TWO_SIZES,
    "killbill-top-101000": TWO_SIZES,
    "killbill-top-101001": TWO_SIZES,
    "killbill-top-300000": TWO_SIZES,
}
# A price without a last tier is refused, where the peer bills units above its last bound at nothing, or fails.
REFUSED = {
    "polar-graduated-bounded-15": "is the last tier and must have no upToAmount",
    "polar-volume-bounded-11": "is the last tier and must have no upToAmount",
    "polar-duplicate-bound": "is the last tier and must have no upToAmount",
}
LAGO = cases("peers-pricing-lago", LEFT_OUT_LAGO)
PEERS = cases(OTHERS, LEFT_OUT_PEERS)
MODES = {
    "volume": "volume",
    "volume (minor units)": "volume",
    "volume per bucket": "volume",
    "graduated": "graduated",
    "graduated (slab)": "graduated",
    "graduated (slab) with flat fees": "graduated",
    "graduated with flat cap per tier": "graduated",
    "graduated per bucket": "graduated",
    "blocks, TOP_TIER": "volume",
    "graduated, bounded last tier": "graduated",
    "volume, bounded last tier": "volume",
    "tier validation": "volume",
}


def test_every_case_is_taken_or_named() -> None:
    assert (len(LAGO), len(LEFT_OUT_LAGO), len(load("peers-pricing-lago"))) == (21, 5, 26)
    assert (
        len(PEERS),
        len(LEFT_OUT_PEERS),
        len(load(OTHERS)),
    ) == (29, 6, 35)


def price_body(case: Case) -> dict[str, Any]:
    """The price of a case as our JSON, but for the short form of tiers."""
    given, model = case["in"], case["model"]
    if model.startswith("package"):
        return {"type": "package", "amount": given["amount"], "quantityPerPackage": given["size"]}
    if model.startswith("percentage"):
        names = {"fixedPerEvent": "fixedAmount", "freeEvents": "freeEvents", "freeTotal": "freeAmount",
                 "perEventMin": "eventMinimum", "perEventMax": "eventMaximum"}  # fmt: skip
        body = {ours: given[theirs] for theirs, ours in names.items() if given.get(theirs) is not None}
        body = {name: value for name, value in body.items() if value not in (0, "0")}
        return {"type": "percentage", "rate": given["ratePercent"], **body}
    if model == "graduated_percentage":
        return {"type": "graduated_percentage", "tiers": [
            {"rate": tier["ratePercent"], "flatAmount": tier["flat"]}
            | ({} if tier["upTo"] is None else {"upToAmount": tier["upTo"]})
            for tier in given["tiers"]
        ]}  # fmt: skip
    if "blocks" in given:
        assert {block["size"] for block in given["blocks"]} <= {"1", "100"}
        return blocks_body(given["blocks"])
    if model in MODES:
        cap = {"max": given["tiers"][0]["cap"]} if "cap" in given["tiers"][0] else {}
        tiers = [
            {"upTo": tier["upTo"], "flat": tier["flat"], "unit": tier["unit"]} for tier in given["tiers"]
        ]
        return {"type": "tiered", "mode": MODES[model], "tiers": tiers, **cap}
    return {"type": "unit", "amount": given["unit"]}


def blocks_body(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Blocks of one size: tiers in units, each at the price of its unit."""
    tiers, bound = [], 0
    for block in blocks:
        last = block is blocks[-1]
        bound += 0 if last else int(block["maxBlocks"]) * int(block["size"])
        unit = number.text(int(Fraction(block["pricePerBlock"]) / int(block["size"]) * number.SCALE))
        tiers.append({"upTo": None if last else str(bound), "flat": None, "unit": unit})
    return {"type": "tiered", "mode": "volume", "tiers": tiers}


def quantities(given: dict[str, Any]) -> list[LinePart]:
    if "bucketValues" in given:  # each bucket is a period of its own
        return [LinePart(number.parse(value)) for value in given["bucketValues"]]
    if "events" in given:
        events = tuple(number.parse(event) for event in given["events"])
        return [LinePart(sum(events), events=events)]
    if "eventCount" in given:
        return [LinePart(number.parse(given["total"]), events=single_events(given))]
    return [LinePart(number.parse(given["quantity"]))]


def single_events(given: dict[str, Any]) -> tuple[int, ...]:
    """Amounts of events with the running totals and the sum of a case."""
    running = [number.parse(text) for text in given["runningTotalOfFreeCandidates"]]
    firsts = [after - before for before, after in zip([0, *running], running, strict=False)]
    rest = number.parse(given["total"]) - sum(firsts)
    missing = given["eventCount"] - len(firsts)
    return (*firsts, rest, *[0] * (missing - 1))


@pytest.mark.parametrize("case", [*LAGO, *PEERS], ids=lambda case: case["id"])
def test_amounts(case: Case) -> None:
    if case["id"] in REFUSED:
        with pytest.raises(Rejected, match=REFUSED[case["id"]]):
            price_of(price_body(case))
        return
    discounts = None
    if case["in"].get("freeUnits", "0") != "0":
        discounts = Discounts(usage=UsageDiscount(case["in"]["freeUnits"]))
    # UYW has 4 decimals, so that most of the amounts before rounding are seen as they are.
    tariff = tariff_of(LineTerms(price_of(price_body(case)), "UYW", discounts))
    total = sum(rate(tariff, part).total for part in quantities(case["in"]))
    assert number.text(total * divisor_of(4) // number.SCALE) == case["out"]["amount"]


def test_a_price_whose_last_two_tiers_have_one_bound_is_refused() -> None:
    tier = {"upTo": "10", "flat": None, "unit": "1"}
    with pytest.raises(Rejected, match="upToAmount must be above that of the tier before"):
        price_of({"type": "tiered", "mode": "volume", "tiers": [tier, tier, tier | {"upTo": None}]})
