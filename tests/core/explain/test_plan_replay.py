"""A replay under another plan is equal to the cent to what billing issues under it."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from pipeline.core.bills.recounted_usage import RecountedUsage
from pipeline.core.bills.usage import BilledFeature
from pipeline.core.catalog.plan import Plan
from pipeline.core.explain.plan_replay import check_sold, with_plan
from pipeline.core.explain.price_replay import PriceReplay, ReplayedMoney, ReplaySpan
from pipeline.core.invoices.line import live_lines
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.subscriptions.timeline import planned_spans
from pipeline.core.values import number
from pipeline.errors import Rejected
from tests.core.bills.bill_world import at
from tests.core.bills.test_bill_laws import PRICES
from tests.core.explain.explain_world import ExplainWorld
from tests.core.explain.random_bills import random_days, subscribed
from tests.fixtures.catalog_bodies import FEE, PLAN, TOKENS, Body

END = at("2026-04-20")
SPAN = ReplaySpan(0, END, END)
WHAT_IFS = 12


def random_plan(random: Random) -> Body:
    """Phases, cadences, prices, discounts, terms of payment, proration and settlement as a plan can have them."""
    count = random.choice([1, 2, 3])
    phases = [_phase(random, place, place == count - 1) for place in range(count)]
    return {
        **PLAN, "key": "simple", "name": "Simple", "phases": phases,
        "proRatingConfig": {"enabled": random.random() < 0.8, "mode": "prorate_prices"},
        "settlementMode": random.choice(["credit_then_invoice", "credit_only"]),
    }  # fmt: skip


def _phase(random: Random, place: int, is_last: bool) -> Body:
    discounts = [None, {"percentage": {"percentage": 12.5}}, {"usage": {"quantity": "30"}}]
    tokens = {**TOKENS, "price": random.choice([None, *PRICES]), "discounts": random.choice(discounts)}
    if tokens["price"] is None:
        tokens["discounts"] = None
    term = random.choice(["in_advance", "in_arrears"])
    fee = {
        **FEE, "billingCadence": random.choice(["P1M", None]), "discounts": random.choice(discounts[:2]),
        "price": {"type": "flat", "amount": random.choice(["20", "7.77"]), "paymentTerm": term},
    }  # fmt: skip
    cards = random.choice([[fee, tokens], [tokens], [fee, tokens]])
    duration = None if is_last else random.choice(["P10D", "P1M", "P40D"])
    return {"key": f"phase{place}", "name": "Phase", "duration": duration, "rateCards": cards}


def lived(plan: Body, seed: str) -> ExplainWorld:
    """The same events, invoices and ends of subscriptions for each seed, whatever the plan is."""
    world, random = subscribed(plan=plan), Random(seed)
    subscription = next(iter(world.bills.published.subscriptions))
    for _ in range(8):
        subscription = random_days(world, random, subscription, most=6)
    world.bills.until(END)
    return world


def billed(world: ExplainWorld) -> int:
    """What was issued before credits, and what waits to correct it, in atto."""
    return sum(
        number.parse(line.totals.total) + number.parse(line.totals.credits_total)
        for invoice in world.bills.invoices()
        for line in live_lines(invoice.content.lines)
        if line.corrects is not None or line.invoice_at_s <= END
    )


def plan_of(world: ExplainWorld) -> Plan:
    """The plan of the catalog that the subscriptions of a world have."""
    subscription = next(iter(world.bills.published.subscriptions))
    reference = world.bills.subscription(subscription).plan
    assert reference is not None
    found = world.bills.definitions.billing.catalog("default", END * 1000).versions(Plan, reference.key)
    return found[-1]


def replayed(world: ExplainWorld, plan: Plan, of_plan: str | None = None) -> list[ReplayedMoney]:
    usage = RecountedUsage(world.windows.values(), world.holders, world.bills.customer)
    feature = BilledFeature(world.meter.meter_id, world.meter.aggregation)
    replay = PriceReplay(BillingWorkflow(), lambda id, key: feature, usage.quantity)
    subscriptions = [world.bills.subscription(id) for id in sorted(world.bills.published.subscriptions)]
    return replay.compare(subscriptions, lambda one: with_plan(one, plan, of_plan), SPAN)


@pytest.mark.parametrize("seed", range(WHAT_IFS))
def test_a_replay_is_what_billing_issues_under_the_other_plan(seed: int) -> None:
    random = Random(seed)
    real, other = (lived(random_plan(random), f"days {seed}") for _ in range(2))
    (money,) = replayed(real, plan_of(other))
    assert number.parse(money.old) == billed(real)
    assert number.parse(money.new) == billed(other)
    assert number.parse(money.new) != 0


def test_only_subscriptions_of_the_plan_that_is_named_get_another_one() -> None:
    real, other = (lived(random_plan(Random(seed)), "named") for seed in (1, 2))
    before = dict(real.bills.table.rows)
    (same,) = replayed(real, plan_of(other), "enterprise")
    (changed,) = replayed(real, plan_of(other), "simple")
    assert (same.difference, changed) == ("0", replayed(real, plan_of(other))[0])
    assert changed.difference != "0"
    assert real.bills.table.rows == before
    subscriptions = [real.bills.subscription(id) for id in real.bills.published.subscriptions]
    check_sold(subscriptions, "simple")
    check_sold([], "enterprise")
    with pytest.raises(Rejected, match="No subscription has the plan enterprise"):
        check_sold(subscriptions, "enterprise")


def test_a_subscription_keeps_its_start_its_end_and_its_anchor() -> None:
    world = subscribed(plan=random_plan(Random(1)))
    plan = plan_of(world)
    subscription = world.bills.subscription(next(iter(world.bills.published.subscriptions)))
    ended = msgspec.structs.replace(subscription, active_to_s=END, billing_anchor_s=at("2025-12-03"))
    found = with_plan(ended, plan)
    assert (found.id, found.active_from_s, found.active_to_s, found.billing_anchor_s) == (
        ended.id, ended.active_from_s, END, ended.billing_anchor_s,
    )  # fmt: skip
    assert [phase.key for phase in found.phases] == [phase.key for phase in plan.phases]
    assert planned_spans(found)[0].start_s == ended.active_from_s
