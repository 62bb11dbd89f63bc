"""Random days of a customer with events in and out of order, early invoices and subscriptions that end."""

from __future__ import annotations

from random import Random

from pipeline.core.values.calendar import DAY_S
from tests.core.bills.bill_world import ONE_PHASE, at
from tests.core.explain.explain_world import SUBJECTS, ExplainWorld
from tests.fixtures.catalog_bodies import FEE, TOKENS, Body

BEGIN = at("2026-01-10")


def subscribed(aggregation: str = "SUM", **named: object) -> ExplainWorld:
    world = ExplainWorld(aggregation, **named)
    world.bills.now_s = BEGIN
    world.bills.subscribe()
    world.bills.until(BEGIN)
    return world


def with_price(price: Body) -> Body:
    cards = [FEE, {**TOKENS, "price": price}]
    return {**ONE_PHASE, "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": cards}]}


def random_days(world: ExplainWorld, random: Random, subscription: str, most: int, models: str = "") -> str:
    """Up to 11 days. most: events. models: of which each event has one. Returns the subscription that runs then."""
    for _ in range(random.randrange(most + 1)):
        ago_s = random.choice([0, 3600, DAY_S * random.randrange(1, 60)])
        value = random.randrange(1, 90)
        tokens = f"m{value % 7}" if world.meter.aggregation == "UNIQUE_COUNT" else value
        sent = (max(BEGIN, world.bills.now_s - ago_s), tokens, random.choice(SUBJECTS))
        world.send(*sent, *((random.choice(models),) if models else ()))
    if random.random() < 0.3:
        world.bills.send(
            "invoice.now", {"customerId": world.bills.customer, "progressiveBillingOverride": True}
        )
    if random.random() < 0.2:
        world.bills.send("subscription.cancel", {"timing": "immediate"}, id=subscription)
        subscription = world.bills.subscribe()
    world.bills.until(world.bills.now_s + random.randrange(1, 12) * DAY_S)
    return subscription
