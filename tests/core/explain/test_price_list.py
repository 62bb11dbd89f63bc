"""A list of prices in place of those of subscriptions."""

from __future__ import annotations

import pytest

from pipeline.core.catalog.price import UnitPrice
from pipeline.core.explain.price_list import check_listed, read_price_list, with_prices
from pipeline.core.subscriptions.timeline import placed_items
from pipeline.errors import Rejected
from tests.core.explain.random_bills import subscribed
from tests.fixtures.catalog_bodies import Body

UNIT: Body = {"type": "unit", "amount": "0.02"}


def read(*cards: Body) -> list[object]:
    return list(read_price_list({"rateCards": list(cards)}))


def test_listed_rate_cards_get_the_price_and_others_keep_theirs() -> None:
    world = subscribed()
    (id,) = world.bills.published.subscriptions
    before = world.bills.subscription(id)
    listed = read_price_list(
        {"rateCards": [{"key": "tokens", "price": UNIT, "discounts": {"percentage": {"percentage": 10}}}]}
    )
    after = with_prices(before, listed)
    cards = {one.item.card.key: one.item.card for one in placed_items(after)}
    assert cards["tokens"].price == UnitPrice(amount="0.02")
    assert cards["tokens"].discounts is not None
    assert cards["fee"] == {one.item.card.key: one.item.card for one in placed_items(before)}["fee"]


def test_the_price_for_a_plan_comes_before_that_for_all() -> None:
    world = subscribed()
    (id,) = world.bills.published.subscriptions
    for_all, for_plan = (
        {"key": "tokens", "price": None},
        {"key": "tokens", "planKey": "simple", "price": UNIT},
    )
    of_other = {"key": "tokens", "planKey": "other", "price": None}
    for cards in ([for_all, for_plan], [for_plan, for_all], [of_other, for_plan]):
        after = with_prices(world.bills.subscription(id), read_price_list({"rateCards": cards}))
        assert [one.item.card.price for one in placed_items(after) if one.item.card.key == "tokens"] == [
            UnitPrice(amount="0.02")
        ]


@pytest.mark.parametrize(
    "cards,sentence",
    [
        ([], "rateCards"),
        ([{"price": UNIT}], "key is required"),
        ([{"key": "tokens"}], "price is required"),
        ([{"key": "tokens", "price": {"type": "zz"}}], "price"),
        ([{"key": "tokens", "price": UNIT, "zz": 1}], "zz"),
        ([{"key": "tokens", "price": UNIT}] * 2, "two prices for tokens"),
        (
            [{"key": "fee", "price": None, "unitConfig": {"operation": "divide", "conversionFactor": "10"}}],
            "needs a price by usage",
        ),
    ],
)
def test_a_list_that_is_wrong_is_refused(cards: list[Body], sentence: str) -> None:
    with pytest.raises(Rejected, match=sentence) as refused:
        read(*cards)
    assert refused.value.reason == "bad-price-list"


def test_a_price_that_nothing_can_have_is_refused() -> None:
    world = subscribed()
    (id,) = world.bills.published.subscriptions
    subscription = world.bills.subscription(id)
    with pytest.raises(Rejected, match="The rate card fee has no feature") as refused:
        with_prices(subscription, read_price_list({"rateCards": [{"key": "fee", "price": UNIT}]}))
    assert refused.value.reason == "bad-price-list"
    tokens = {"key": "tokens", "price": UNIT}
    for wrong, sentence in (
        ({"key": "tokenz", "price": UNIT}, "No subscription has a rate card with the key tokenz"),
        ({**tokens, "planKey": "other"}, "No subscription of the plan other has .* the key tokens"),
    ):
        with pytest.raises(Rejected, match=sentence) as refused:
            check_listed([subscription], read_price_list({"rateCards": [tokens, wrong]}))
        assert refused.value.reason == "bad-price-list"
        check_listed([], read_price_list({"rateCards": [wrong]}))
    check_listed(
        [subscription] * 2, read_price_list({"rateCards": [tokens, {**tokens, "planKey": "simple"}]})
    )
