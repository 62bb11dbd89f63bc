"""Whose each row of billing is."""

from __future__ import annotations

from pipeline.agents.barriers import LEAST_REVISION
from pipeline.core.bills.bill_owners import RULES, bill_owners
from pipeline.core.bills.bill_rows import HEAD
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.state_owners import FIRST, Unowned
from tests.core.bills.bill_world import NAMESPACE, BillWorld, Definitions, at
from tests.core.state_prefixes import prefixes


def test_every_kind_of_row_has_a_rule() -> None:
    found = prefixes("pipeline.core.bills")
    assert {name: one for name, one in found.items() if one[FIRST] not in RULES} == {}
    assert {one[FIRST] for one in (*found.values(), LEAST_REVISION)} == set(RULES)


def test_the_rows_of_customers_are_theirs() -> None:
    world = BillWorld(Definitions(3))
    customers = [str(one) for one in world.definitions.customers]
    for place, customer in enumerate(customers):
        world.subscribe(customer)
        world.use(at("2026-01-03"), str(place + 1), customer)
    world.until(at("2026-03-05"))
    stranger = "never-subscribed"
    world.use(world.now_s, "1", stranger)
    known = bill_owners([(NAMESPACE, stranger)])  # the others are shown by their heads
    for row in world.table.rows.items():
        known.learn(*row)
    found = {key: known.of(key) for key in world.table.rows}
    assert Unowned.UNKNOWN not in found.values()
    assert {owner for owner in found.values() if isinstance(owner, int)} == {
        customer_hash(NAMESPACE, one) for one in (*customers, stranger)
    }
    heads = {key: owner for key, owner in found.items() if key.startswith(HEAD)}
    assert len(set(heads.values())) == 3
    unseen = bill_owners([])
    assert {unseen.of(key) for key, owner in found.items() if isinstance(owner, int)} == {Unowned.UNKNOWN}
