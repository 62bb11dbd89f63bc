"""A replay by other prices is equal to the cent to what billing issues by them."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from pipeline.core.bills.recounted_usage import RecountedUsage
from pipeline.core.bills.usage import BilledFeature
from pipeline.core.explain.price_list import ListedPrice, read_price_list, with_prices
from pipeline.core.explain.price_replay import PriceReplay, ReplayedMoney, ReplaySpan
from pipeline.core.invoices.line import live_lines
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.metering.meter import Aggregation
from pipeline.core.values import number
from pipeline.errors import Rejected
from tests.core.bills.bill_world import at
from tests.core.bills.test_bill_laws import PRICES
from tests.core.explain.explain_world import ExplainWorld
from tests.core.explain.random_bills import random_days, subscribed, with_price
from tests.fixtures.catalog_bodies import FEE, Body

END = at("2026-05-20")


def live(world: ExplainWorld, seed: str) -> None:
    """The same events, invoices and ends of subscriptions for each seed, whatever the prices are."""
    random = Random(seed)
    subscription = next(iter(world.bills.published.subscriptions))
    for _ in range(10):
        subscription = random_days(world, random, subscription, most=8)
    world.bills.until(END)


def billed(world: ExplainWorld, span: ReplaySpan) -> int:
    """What was issued, and what waits to correct it, for lines whose period begins in the span, in atto.

    Before credits: that of a credit note pays later lines.
    """
    return sum(
        number.parse(line.totals.total) + number.parse(line.totals.credits_total)
        for invoice in world.bills.invoices()
        for line in live_lines(invoice.content.lines)
        if span.from_s <= (line.period if line.split is None else line.split.period).start_s < span.to_s
        and (line.corrects is not None or line.invoice_at_s <= span.now_s)
    )


def replayed(world: ExplainWorld, prices: list[ListedPrice], span: ReplaySpan) -> list[ReplayedMoney]:
    usage = RecountedUsage(world.windows.values(), world.holders, world.bills.customer)
    aggregation: Aggregation = world.meter.aggregation
    feature = BilledFeature(world.meter.meter_id, aggregation)
    replay = PriceReplay(BillingWorkflow(), lambda id, key: feature, usage.quantity)
    subscriptions = [world.bills.subscription(id) for id in sorted(world.bills.published.subscriptions)]
    return replay.compare(subscriptions, lambda one: with_prices(one, prices), span)


def listed(price: Body, fee: str) -> list[ListedPrice]:
    cards = [{"key": "tokens", "price": price}, {"key": "fee", "price": {**FEE["price"], "amount": fee}}]
    return read_price_list({"rateCards": cards})


def parts(prices: Iterable[Body]) -> list[tuple[int, Body, Body]]:
    found = list(prices)
    return [(place, found[place], found[(place + 1) % len(found)]) for place in range(len(found))]


@pytest.mark.parametrize("aggregation", ["SUM", "UNIQUE_COUNT"])
@pytest.mark.parametrize("place,old,new", parts(PRICES))
def test_a_replay_is_what_billing_issues_by_the_other_prices(
    aggregation: str, place: int, old: Body, new: Body
) -> None:
    real, other = (subscribed(aggregation, plan=with_price(price)) for price in (old, new))
    for world in (real, other):
        live(world, f"{aggregation}/{place}")
    span = ReplaySpan(0, END, END)
    (money,) = replayed(real, listed(new, "20"), span)
    assert number.parse(money.old) == billed(real, span)
    assert number.parse(money.new) == billed(other, span)
    assert number.parse(money.difference) == number.parse(money.new) - number.parse(money.old)


def test_nothing_is_touched_and_the_same_prices_make_no_difference() -> None:
    world = subscribed(plan=with_price(PRICES[1]))
    live(world, "same")
    before = dict(world.bills.table.rows)
    (money,) = replayed(world, listed(PRICES[1], "20"), ReplaySpan(0, END, END))
    assert (money.old == money.new, money.difference) == (True, "0")
    assert world.bills.table.rows == before


def test_spans_add_up_and_hold_the_lines_that_begin_in_them() -> None:
    world = subscribed(plan=with_price(PRICES[0]))
    live(world, "spans")
    cut = at("2026-03-10")
    whole, first, second = (
        replayed(world, listed(PRICES[2], "7"), ReplaySpan(from_s, to_s, END))
        for from_s, to_s in ((0, END), (0, cut), (cut, END))
    )
    assert whole[0].lines == first[0].lines + second[0].lines
    for name in ("old", "new", "difference"):
        values = [number.parse(getattr(money, name)) for money in (whole[0], first[0], second[0])]
        assert values[0] == values[1] + values[2]
    assert replayed(world, listed(PRICES[2], "7"), ReplaySpan(END, END + 1, END)) == []


def test_a_free_rate_card_costs_nothing() -> None:
    world = subscribed(plan=with_price(PRICES[0]))
    live(world, "free")
    prices = read_price_list({"rateCards": [{"key": "tokens", "price": None}, {"key": "fee", "price": None}]})
    (money,) = replayed(world, prices, ReplaySpan(0, END, END))
    assert number.parse(money.old) > 0
    assert money.new == "0"


def test_usage_whose_feature_is_not_found_is_refused_and_not_nothing() -> None:
    world = subscribed(plan=with_price(PRICES[0]))
    replay = PriceReplay(BillingWorkflow(), lambda id, key: None, lambda feature, from_s, to_s: 0)
    subscriptions = [world.bills.subscription(id) for id in world.bills.published.subscriptions]
    with pytest.raises(Rejected, match="its feature is not found"):
        replay.compare(subscriptions, lambda one: one, ReplaySpan(0, END, END))
