"""Invoices that are final: only their state is kept, and every question about it has the same answer."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.bills.bill_rows import INVOICE
from pipeline.core.bills.closed_invoices import CLOSED, SETTINGS, ClosedInvoices
from pipeline.core.bills.usage_rows import customer_key
from pipeline.errors import Broken
from tests.core.bills.bill_world import DAY_S, HOUR_S, NAMESPACE, BillWorld, at

BEGIN = at("2026-01-10")


def world_of_months(count: int) -> BillWorld:
    world = BillWorld()
    world.now_s = BEGIN
    world.subscribe()
    for month in range(count):
        world.use(BEGIN + (30 * month + 5) * DAY_S, "100")
        world.until(BEGIN + 30 * (month + 1) * DAY_S)
    return world


def keys_of(world: BillWorld, prefix: bytes) -> list[bytes]:
    return [key for key in world.table.rows if key.startswith(prefix)]


def test_an_invoice_is_closed_an_hour_after_it_ended() -> None:
    world = BillWorld()
    world.now_s = BEGIN
    world.subscribe()
    world.until(BEGIN + HOUR_S - 1)
    [paid] = world.billed()
    assert paid.progress.state == "paid"
    assert keys_of(world, CLOSED) == [] and len(keys_of(world, INVOICE)) == 2
    document = world.published.invoices[paid.content.id]
    world.until(BEGIN + HOUR_S + 1)
    assert len(keys_of(world, CLOSED)) == 1 and len(keys_of(world, INVOICE)) == 1
    assert world.published.invoices[paid.content.id] == document


def test_its_state_is_what_it_was_and_it_has_no_lines() -> None:
    world = world_of_months(3)
    closed = ClosedInvoices(world.table)
    owner = customer_key(NAMESPACE, world.customer)
    paid = [one for one in world.billed() if one.progress.state == "paid"]
    assert len(paid) == 3
    for one in paid:
        found = closed.get(owner, one.content.id)
        assert found is not None
        assert (found.progress, found.dunning_made) == (one.progress, one.dunning_made)
        content = msgspec.structs.replace(
            one.content,
            lines=(),
            totals=found.content.totals,
            period=None,
            quantity_snapshotted_at=None,
        )
        assert found.content == content


def test_invoices_share_their_settings() -> None:
    world = world_of_months(5)
    assert (len(keys_of(world, CLOSED)), len(keys_of(world, SETTINGS))) == (5, 1)
    assert max(len(world.table.rows[key]) for key in keys_of(world, CLOSED)) < 250


@pytest.mark.parametrize("kind", ["invoice.delete", "invoice.approve", "invoice.advance", "invoice.void"])
def test_commands_are_refused_as_before(kind: str) -> None:
    sent = {"reason": "wrong", "action": {"percentage": 100, "action": {"type": "discard"}}}
    refusals = []
    for until_s in (BEGIN + 60, BEGIN + 2 * HOUR_S):
        world = BillWorld()
        world.now_s = BEGIN
        world.subscribe()
        world.until(until_s)
        [paid] = world.billed()
        refusals.append(world.refused(kind, sent, id=paid.content.id))
    assert refusals[0] == refusals[1]


def test_an_invoice_without_its_settings_is_broken() -> None:
    world = world_of_months(1)
    [key] = keys_of(world, CLOSED)
    for settings in keys_of(world, SETTINGS):
        world.table.delete(settings)
    with pytest.raises(Broken):
        ClosedInvoices(world.table).get(key[1:17], key[17:].decode())
