"""Orders for Stripe: made with the state that waits for their answer, published again with its record."""

from __future__ import annotations

from pipeline.core.bills.bill_table import BillTable
from tests.core.bills.bill_world import Published
from tests.core.bills.stripe_bill_world import SEND, StripeBillWorld


def test_an_invoice_that_is_sent_has_the_days_until_it_is_due() -> None:
    world = StripeBillWorld(profile=SEND)
    world.subscribe()
    world.until(world.now_s)
    (order,) = world.orders
    assert order.order is not None and (order.order.sends, order.order.due_days) == (True, 14)


def test_a_record_that_is_read_again_publishes_its_orders_again() -> None:
    world = StripeBillWorld()
    world.subscribe()
    world.until(world.now_s)
    (order,) = world.orders
    again = Published()
    table = BillTable(world.table, world.index, world.definitions.billing, world.terms)
    made = []
    for one in world.log:
        assert not isinstance(one.record, list)
        table.apply(one.record, one.offset, one.at_ms)
    output = table.flush()
    again.read(output)
    made += output.stripe
    assert made == [order]


def test_what_stripe_cannot_take_keeps_a_draft_from_being_issued() -> None:
    world = StripeBillWorld()
    sent = {
        "currency": "KWD",
        "lines": [{
            "name": "Fee", "period": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
            "invoiceAt": "2026-01-02T00:00:00Z", "rateCard": {"price": {"type": "flat", "amount": "1.234"}},
        }],
    }  # fmt: skip
    world.do("invoice.pending-lines", sent)
    world.until(world.now_s + 7_200)
    (first,) = world.billed()
    assert first.progress.state == "draft.invalid" and not world.orders
    assert [one.code for one in first.content.validation_issues] == ["stripe_amount_not_possible"]
