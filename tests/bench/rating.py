"""How long it takes to rate a line: `python -m tests.bench.rating`.

    python -m tests.bench.rating --lines 100000

In one process, in microseconds of CPU, for each kind of price: `rate` of a cumulative usage with a tariff that is
ready, and `bill`, which also subtracts what the run before has billed. No input or output, no state, no encoding.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from random import Random
from typing import Any

from pipeline.core.catalog.price_reading import read_price
from pipeline.core.catalog.price_terms import Discounts, read_discounts
from pipeline.core.rating.booking import difference
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import LineTerms, Tariff, tariff_of


def _tiers(mode: str) -> dict[str, Any]:
    tiers: list[dict[str, Any]] = [{"upToAmount": bound} for bound in ("1000", "10000", "100000")] + [{}]
    for place, tier in enumerate(tiers):
        tier["unitPrice"] = {"type": "unit", "amount": f"0.00{9 - place}"}
    return {"type": "tiered", "mode": mode, "tiers": tiers}


PRICES: dict[str, dict[str, Any]] = {
    "flat": {"type": "flat", "amount": "29.99"},
    "unit": {"type": "unit", "amount": "0.0021"},
    "package": {"type": "package", "amount": "5", "quantityPerPackage": "1000"},
    "volume": _tiers("volume"),
    "graduated": _tiers("graduated"),
    "graduated, limits": _tiers("graduated") | {"minimumAmount": "100", "maximumAmount": "400"},
}
DISCOUNTS = {"graduated, limits": {"percentage": {"percentage": 12.5}, "usage": {"quantity": "500"}}}


def tariff(name: str) -> Tariff:
    discounts = read_discounts("bench", DISCOUNTS[name]) if name in DISCOUNTS else Discounts()
    return tariff_of(LineTerms(read_price("bench", PRICES[name]), "USD", discounts))


def microseconds(work: Callable[[], None], lines: int) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / lines * 1e6


def measure(name: str, usages: list[int]) -> tuple[float, float]:
    """Microseconds to rate a line, and to rate it and subtract a rating of nine tenths of its usage."""
    ready = tariff(name)
    before = [rate(ready, LinePart(usage * 9 // 10)).details for usage in usages]

    def rated() -> None:
        for usage in usages:
            rate(ready, LinePart(usage))

    def billed() -> None:
        for usage, booked in zip(usages, before, strict=True):
            difference(rate(ready, LinePart(usage)).details, booked)

    return microseconds(rated, len(usages)), microseconds(billed, len(usages))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    random = Random(args.seed)
    usages = [
        random.randrange(10**23) for _ in range(args.lines)
    ]  # up to 100,000 units, with all 18 decimals
    print(f"{'price':20} {'rate':>8} {'bill':>8}  microseconds of CPU a line")
    for name in PRICES:
        rated, billed = measure(name, usages)
        print(f"{name:20} {rated:8.1f} {billed:8.1f}")


if __name__ == "__main__":
    main()
