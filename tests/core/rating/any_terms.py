"""Hypothesis: terms of every kind, with amounts that meet their bounds and their halves often."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from pipeline.core.catalog.price import Price
from pipeline.core.catalog.price_reading import read_price
from pipeline.core.catalog.price_terms import Discounts, PercentageDiscount, UnitConfig, UsageDiscount
from pipeline.core.rating.tariff import LineTerms
from pipeline.core.values import number

CURRENCIES = ("USD", "JPY", "KWD", "UYW")


def decimals(most: int, *, least: int = 0) -> st.SearchStrategy[str]:
    """Plain decimal text from `least` to `most`: whole, short and long ones."""
    whole = st.integers(least, most).map(str)
    tenths = st.integers(least * 1_000, most * 1_000).map(lambda value: number.text(value * 10**15))
    long = st.integers(least * number.SCALE, most * number.SCALE).map(number.text)
    return st.one_of(whole, tenths, long)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def tiers(draw: st.DrawFn) -> list[dict[str, Any]]:
    bounds = sorted(draw(st.sets(st.integers(0, 40), max_size=3)))
    found = []
    for bound in [*map(str, bounds), None]:
        flat, unit = draw(maybe(decimals(20))), draw(maybe(decimals(5)))
        if flat is None and unit is None:
            unit = "0.015"
        tier: dict[str, Any] = {} if bound is None else {"upToAmount": bound}
        tier["flatPrice"] = None if flat is None else {"type": "flat", "amount": flat}
        tier["unitPrice"] = None if unit is None else {"type": "unit", "amount": unit}
        found.append(tier)
    return found


@st.composite
def prices(draw: st.DrawFn) -> Price:
    kind = draw(
        st.sampled_from(["unit", "package", "dynamic", "volume", "graduated", "percentage", "shares"])
    )
    body: dict[str, Any] = {"type": kind}
    if kind in ("unit", "package"):
        body["amount"] = draw(decimals(10))
    if kind == "package":
        body["quantityPerPackage"] = draw(decimals(9).filter(lambda text: text != "0"))
    if kind == "dynamic":
        body["multiplier"] = draw(decimals(3))
    if kind in ("volume", "graduated"):
        body |= {"type": "tiered", "mode": kind, "tiers": draw(tiers())}
    if kind == "percentage":
        body |= {"rate": draw(decimals(120)), "freeAmount": draw(decimals(30))}
    if kind == "shares":
        body |= {"type": "graduated_percentage", "tiers": [
            {"upToAmount": "10", "rate": draw(decimals(20)), "flatAmount": draw(decimals(5))}, {"rate": "1.5"}
        ]}  # fmt: skip
    least, most = draw(maybe(st.integers(0, 60))), draw(maybe(st.integers(0, 60)))
    if least is not None and (most is None or least <= most):
        body["minimumAmount"] = f"{least}.005"
    if most is not None:
        body["maximumAmount"] = f"{most}.005"
    return read_price("law", body, by_event=True)


UNIT_CONFIGS = st.builds(
    UnitConfig,
    operation=st.sampled_from(["divide", "multiply"]),
    conversion_factor=st.sampled_from(["3", "0.7", "10"]),
    rounding=st.sampled_from(["none", "ceiling", "floor", "half_up"]),
    precision=st.integers(0, 2),
)


@st.composite
def line_terms(draw: st.DrawFn) -> LineTerms:
    share = draw(maybe(st.sampled_from(["0.5", "33.3", "50", "100"])))
    free = draw(maybe(decimals(8)))
    discounts = Discounts(
        None if share is None else PercentageDiscount(Decimal(share)),
        None if free is None else UsageDiscount(free),
    )
    currency = draw(st.sampled_from(CURRENCIES))
    return LineTerms(draw(prices()), currency, discounts, draw(maybe(UNIT_CONFIGS)))


QUANTITIES = st.one_of(
    st.integers(-20, 30).map(lambda units: units * number.SCALE),
    st.integers(-20_000, 30_000).map(lambda thousandths: thousandths * 10**15),
    st.integers(-20 * number.SCALE, 30 * number.SCALE),
)
