"""Whose each row of stripe-sync is."""

from __future__ import annotations

from pipeline.agents.barriers import LEAST_REVISION
from pipeline.core.billing.stripe_owners import RULES, stripe_owners
from pipeline.core.metering.identity import customer_hash
from pipeline.core.values.state_owners import FIRST, Unowned
from tests.core.billing.stripe_world import (
    FROM_S,
    HOUR_MS,
    NAMESPACE,
    StripeWorld,
    customer_app,
    mapping,
    usage_window,
)
from tests.core.bills.bill_world import at
from tests.core.bills.stripe_bill_world import StripeBillWorld
from tests.core.state_prefixes import prefixes
from tests.fixtures.fake_transaction import DictTable


def owners_of(table: DictTable) -> dict[bytes, object]:
    known = stripe_owners()
    for row in table.rows.items():
        known.learn(*row)
    return {key: known.of(key) for key in table.rows}


def test_every_kind_of_row_has_a_rule() -> None:
    found = prefixes("pipeline.core.billing")
    assert {name: one for name, one in found.items() if one[FIRST] not in RULES} == {}
    assert {one[FIRST] for one in (*found.values(), LEAST_REVISION)} == set(RULES)


def test_the_rows_of_usage_are_those_of_its_customer() -> None:
    customers = [f"c{n}" for n in range(3)]
    named = [customer_app(10 + n, one, f"cus_{n}") for n, one in enumerate(customers)]
    world = StripeWorld(mapping(), *named)
    for n, one in enumerate(customers):
        world.record([usage_window(one, FROM_S + 60 * n, "3", n)])
    world.tick(pass_ms=3 * HOUR_MS)
    in_progress = owners_of(world.table)
    assert b"r" in {key[FIRST] for key in in_progress}
    world.call()
    world.tick(pass_ms=HOUR_MS)
    for found in (in_progress, owners_of(world.table)):
        assert Unowned.UNKNOWN not in found.values()
        assert {one for one in found.values() if isinstance(one, int)} == {
            customer_hash(NAMESPACE, one) for one in customers
        }


def test_the_rows_of_invoices_are_those_of_their_customer() -> None:
    world = StripeBillWorld(2)
    customers = [str(one) for one in world.definitions.customers]
    for one in customers:
        world.subscribe(one)
    world.until(at("2026-02-12"))
    world.send_orders()
    found = owners_of(world.stripe.table)
    assert {b"b", b"n", b"q"} <= {key[FIRST] for key in found} and Unowned.UNKNOWN not in found.values()
    assert {one for one in found.values() if isinstance(one, int)} == {
        customer_hash(NAMESPACE, one) for one in customers
    }
