"""Lines: the names of the API, ids that stay, totals as sums."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from pipeline.core.catalog.price_terms import Discounts, PercentageDiscount
from pipeline.core.invoices.line import (
    AmountDiscount,
    InvoiceLine,
    LineDiscounts,
    LineRateCard,
    MaximumSpend,
    PercentageReason,
    detail_id,
    line_id,
    live_lines,
    shown,
    with_details,
)
from tests.core.invoices.invoices import AT, detail, flat, line


def test_ids_are_functions_of_what_is_billed() -> None:
    assert line_id(5, "a") == line_id(5, "a")
    assert len({line_id(5, "a"), line_id(5, "b"), line_id(6, "a")}) == 3
    assert detail_id("l", "flat-price") == detail_id("l", "flat-price")
    assert len({detail_id("l", "a"), detail_id("l", "b"), detail_id("m", "a")}) == 3


def test_a_line_is_the_sum_of_its_details() -> None:
    of = line()
    rated = with_details(
        of, (detail(of, "usage", "0.1"), detail(of, "min-spend", "0.2", category="commitment"))
    )
    assert rated.totals.total == "0.3"
    assert [one.id for one in rated.children] == [detail_id(of.id, "usage"), detail_id(of.id, "min-spend")]


def test_metered_and_live_lines() -> None:
    assert line().is_metered
    assert not flat().is_metered
    assert not line(rate_card=LineRateCard(price=None)).is_metered
    lines = (line(), line(deleted_at=AT), line(status="split"))
    assert live_lines(lines) == [lines[0]]


def test_the_json_has_the_names_of_the_api() -> None:
    of = line(rate_card=LineRateCard(
        feature_key="tokens",
        price=line().rate_card.price,
        discounts=Discounts(PercentageDiscount(Decimal("12.5"))),
    ))  # fmt: skip
    members = shown(with_details(of, (detail(of, "usage", "0.1"),)))
    assert {
        "type": "usage_based",
        "managedBy": "system",
        "status": "valid",
        "featureKey": "tokens",
    }.items() <= (members.items())
    assert members["period"] == {"from": of.period.start, "to": of.period.end}
    assert members["price"] == {"type": "unit", "amount": "0.1"}
    assert b'"discounts":{"percentage":{"percentage":12.5}}' in msgspec.json.encode(members["rateCard"])
    (child,) = members["children"]  # type: ignore[misc]
    assert (child["type"], child["category"], child["paymentTerm"]) == ("flat_fee", "regular", "in_arrears")
    assert child["totals"]["total"] == "0.1"


def test_a_stored_line_is_read_as_it_was() -> None:
    of = line(discounts=LineDiscounts(amount=(
        AmountDiscount(id="1", reason=MaximumSpend(), amount="1"),
        AmountDiscount(id="2", reason=PercentageReason(percentage="5", correlation_id="c"), amount="1"),
    )))  # fmt: skip
    rated = with_details(of, (detail(of, "usage", "0.1"),))
    assert msgspec.json.decode(msgspec.json.encode(rated), type=InvoiceLine) == rated
