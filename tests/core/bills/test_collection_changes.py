"""A profile that collects lines at other times acts at once, for the customers that have it and for no others."""

from __future__ import annotations

from typing import Any

from pipeline.core.invoices.profiles_now import ProfilesNow
from pipeline.records import BillingWork
from tests.core.bills.bill_world import BillWorld, Definitions, at, live
from tests.core.bills.invoices_made import line, pending
from tests.fixtures.billing_bodies import PLAIN, of_app

FIRST_OF_MONTH = {
    "type": "anchored",
    "recurringPeriod": {"interval": "MONTH", "anchor": "2026-01-01T00:00:00Z"},
}
EVERY_DAY = {"type": "anchored", "recurringPeriod": {"interval": "DAY", "anchor": "2026-01-01T00:00:00Z"}}


def aligned(alignment: dict[str, Any]) -> dict[str, Any]:
    return {"workflow": {"collection": {"alignment": alignment}}}


def changed(world: BillWorld, **body: Any) -> list[list[str]]:
    """The default profile changes, and the partition gets the record of the clock that follows."""
    log = world.definitions.log
    profile = next(
        one
        for one in ProfilesNow(world.definitions.billing.index, "default").profiles.values()
        if one.default
    )
    log.do(
        "billing-profile.update",
        {**PLAIN, "id": profile.id, "default": True, **body},
    )
    items = [item for item in world.definitions.read() if item[0] == "profile"]
    world.record(BillingWork("clock", items=items))
    return items


def waiting() -> BillWorld:
    """Two customers, each with a line that waits for the first of a month."""
    world = BillWorld(Definitions(customers=2, profile=aligned(FIRST_OF_MONTH)))
    world.now_s = at("2026-01-10")
    for customer in world.definitions.customers:
        body = {"currency": "EUR", "lines": [line(invoiceAt="2026-01-12T00:00:00Z")]}
        world.do("invoice.pending-lines", body, customer)
    world.until(at("2026-01-20T10:00:00Z"))
    assert [len(live(world.gathering(one))) for one in world.definitions.customers] == [1, 1]
    return world


def test_lines_that_are_due_by_the_new_alignment_are_collected_at_once() -> None:
    world = waiting()
    assert changed(world, **aligned({"type": "subscription"}))
    assert [len(world.billed(one)) for one in world.definitions.customers] == [1, 1]
    assert world.now_s == at("2026-01-20T10:00:00Z")


def test_lines_that_are_not_due_get_the_next_tick_of_the_new_alignment() -> None:
    world = waiting()
    assert changed(world, **aligned(EVERY_DAY))
    assert [len(world.billed(one)) for one in world.definitions.customers] == [1, 1]
    pending(world, line(invoiceAt="2026-01-21T05:00:00Z"))
    assert changed(world, **aligned(FIRST_OF_MONTH))
    world.until(at("2026-01-31T23:59:59Z"))
    assert len(world.billed()) == 1
    world.until(at("2026-02-01"))
    assert len(world.billed()) == 2


def test_a_change_that_collects_nothing_otherwise_touches_no_customer() -> None:
    world = waiting()
    assert changed(world, **aligned(FIRST_OF_MONTH), name="Other") == []


def test_a_customer_with_a_profile_of_its_own_is_left_alone() -> None:
    world = waiting()
    log, other = world.definitions.log, world.definitions.customers[1]
    sandbox = world.definitions.billing.profile_of("default", other).apps.tax
    made = log.do(
        "billing-profile.create",
        {**PLAIN, "default": False, "apps": of_app(sandbox), **aligned(FIRST_OF_MONTH)},
    )
    log.do("billing-override.upsert", {"customerId": other, "billingProfileId": made["id"]})
    world.definitions.read()
    assert changed(world, **aligned({"type": "subscription"}))
    assert [len(world.billed(one)) for one in world.definitions.customers] == [1, 0]


def test_an_override_acts_at_once() -> None:
    world = waiting()
    log, other = world.definitions.log, world.definitions.customers[1]
    sandbox = world.definitions.billing.profile_of("default", other).apps.tax
    daily = log.do(
        "billing-profile.create", {**PLAIN, "default": False, "apps": of_app(sandbox), **aligned(EVERY_DAY)}
    )
    log.do("billing-override.upsert", {"customerId": other, "billingProfileId": daily["id"]})
    items = [item for item in world.definitions.read() if item == ["customer", "default", other]]
    world.record(BillingWork("clock", items=items))
    assert [len(world.billed(one)) for one in world.definitions.customers] == [0, 1]
