"""Rows of the billing stage, made by its code: the recorded data folder is older than the stage.

Owns: a customer with a subscription, usage, an invoice with a correction and an idempotency key, another one whose
meter counts different members.
"""

from __future__ import annotations

from pipeline.agents.barriers import LEAST_REVISION
from pipeline.core.bills.usage import BilledUsage
from pipeline.records import CustomerWindow, Window
from tests.core.bills.bill_world import NAMESPACE, BillWorld, at

SERIES = 40  # more than a DirectoryRow names


def billing_rows() -> list[tuple[bytes, bytes]]:
    """Keys and values of the table after two months."""
    world = BillWorld()
    sent = {"customerId": world.customer, "plan": {"key": "simple"}, "timing": "immediate"}
    made = world.do("subscription.create", sent)
    world.use(at("2026-01-03"), "1200.5")
    world.do("credit.grant", {"name": "Pack", "currency": "EUR", "amount": "5", "key": "pack"})
    world.until(at("2026-02-01T03:00:00Z"))
    world.use(at("2026-01-04"), "7")
    world.until(at("2026-02-02"))
    cancel = {"timing": "next_billing_cycle"}
    world.do("subscription.cancel", cancel, id=made["subscription"], command="key-1f", request="1f" * 16)
    usage = BilledUsage(world.table, world.terms.kept_s)
    usage.take([_members(place) for place in range(SERIES)], world.now_s)
    usage.note_loaded(NAMESPACE, world.definitions.meter_id, 41)
    usage.flush()
    world.table.put(LEAST_REVISION, (41).to_bytes(8))
    return sorted(world.table.rows.items())


def _members(place: int) -> CustomerWindow:
    members = [f"{member:032x}" for member in range(place + 1)]
    window = Window(
        NAMESPACE, "users", 8, "s", {"model": f"m{place}"}, at("2026-02-01"), "1", 1, "1", "", members, 1, 0
    )  # fmt: skip
    return CustomerWindow("c", window)
