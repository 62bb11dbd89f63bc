"""Invoices in a BillWorld: lines that wait, drafts, issued ones, those of a client's own invoicing system.

Owns: making them. Does not own: any test.
"""

from __future__ import annotations

from typing import Any

from tests.core.bills.bill_world import BillWorld, at

Body = dict[str, Any]
FLAT = {"type": "flat", "amount": "10"}
UNIT = {"type": "unit", "amount": "0.1"}
JANUARY = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}


def line(price: Body = FLAT, **changed: Any) -> Body:
    card = {"price": price} if price == FLAT else {"price": price, "featureKey": "tokens"}
    usual = {"name": "Line", "period": JANUARY, "invoiceAt": "2026-01-15T00:00:00Z", "rateCard": card}
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


def pending(world: BillWorld, *lines: Body, **changed: Any) -> list[str]:
    """Ids of new lines that wait."""
    sent = {"currency": "EUR", "lines": list(lines), **changed}
    ids = world.do("invoice.pending-lines", sent)["lines"]
    assert isinstance(ids, list)
    return ids


def draft(world: BillWorld, *lines: Body) -> str:
    """The id of a draft of lines that are due; by default of one flat fee."""
    pending(world, *(lines or (line(invoiceAt="2026-01-01T00:00:00Z"),)))
    return str(world.do("invoice.now", {})["created"][0])


def issued(world: BillWorld) -> str:
    id = draft(world)
    world.until(at("2026-01-02"))
    assert world.invoice(id).progress.number is not None
    return id


def unpaid(world: BillWorld) -> str:
    """An issued invoice whose payment failed."""
    id = draft(world)
    failing = {"openmeter.io/sandbox/target-payment-status": "failed"}
    world.do("invoice.update", {"metadata": failing}, id=id)
    world.until(at("2026-01-02"))
    assert world.invoice(id).progress.state == "payment_processing.failed"
    return id


def sent_lines(world: BillWorld, id: str) -> list[Body]:
    """The lines of an invoice as a client sends them back."""
    return [
        {"id": one.id, "name": one.name, "period": {"from": one.period.start, "to": one.period.end},
         "invoiceAt": one.invoice_at, "rateCard": {"price": FLAT if not one.is_metered else UNIT,
                                                   **({"featureKey": "tokens"} if one.is_metered else {})}}
        for one in world.invoice(id).content.lines
        if one.deleted_at is None
    ]  # fmt: skip


def split_draft(world: BillWorld) -> str:
    """A draft of the first part of a line by usage that runs."""
    world.use(at("2026-01-02"), "500", subject="c0")
    pending(world, line(UNIT, invoiceAt="2026-02-01T00:00:00Z"))
    world.now_s = at("2026-01-10")
    return str(world.do("invoice.now", {})["created"][0])


def of_own_system(world: BillWorld) -> str:
    """A draft that waits for the client's own invoicing system."""
    log = world.definitions.log
    app = log.do("app.add", {"type": "custom_invoicing", "name": "Ours"})["app"]
    hooks = {"enableDraftSyncHook": True, "enableIssuingSyncHook": True}
    log.do("app.update", {"id": app["id"], "type": "custom_invoicing", "name": "Ours", **hooks})
    world.definitions.read()
    id = draft(world)
    world.settle()
    assert world.invoice(id).progress.state == "draft.syncing"
    return id
