"""Usage that is too old leaves the state of a partition, and nothing that is billed changes by it."""

from __future__ import annotations

from pipeline.core.bills.terms import BillTerms
from pipeline.core.bills.usage_rows import USAGE, day_of
from pipeline.core.values.calendar import DAY_S
from tests.core.bills.bill_world import ONE_PHASE, BillWorld, Definitions, at, live
from tests.fixtures.catalog_bodies import TOKENS

BEGIN = at("2026-01-10")


def test_usage_is_removed_when_nothing_needs_it() -> None:
    world = BillWorld(terms=BillTerms(kept_s=60 * DAY_S))
    world.now_s = BEGIN
    world.subscribe()
    for month in range(10):
        world.until(BEGIN + (30 * month + 5) * DAY_S)
        world.use(world.now_s, "100")
    world.until(BEGIN + 305 * DAY_S)
    days = {day_of(key) - BEGIN // DAY_S for key in world.table.rows if key.startswith(USAGE)}
    assert days == {245, 275}
    billed = [line.quantity for one in world.billed() for line in live(one) if line.name == "Tokens"]
    assert billed == ["100"] * 10


def test_usage_of_a_long_period_stays_until_it_is_billed() -> None:
    years = {**ONE_PHASE, "billingCadence": "P1Y", "phases": [
        {"key": "main", "name": "Main", "duration": None, "rateCards": [{**TOKENS, "billingCadence": "P1Y"}]},
    ]}  # fmt: skip
    world = BillWorld(Definitions(plan=years), BillTerms(kept_s=60 * DAY_S))
    world.now_s = BEGIN
    world.subscribe()
    for month in range(12):
        world.until(BEGIN + (30 * month + 5) * DAY_S)
        world.use(world.now_s, "100")
    world.until(BEGIN + 370 * DAY_S)
    [year] = world.billed()
    assert [line.quantity for line in live(year)] == ["1200"]
