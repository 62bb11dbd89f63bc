"""Rows of stripe-sync about invoices, made by its code: the recorded data folder is older than they are.

Owns: orders that are done, failed, in doubt, asked about and waiting, of two customers.
"""

from __future__ import annotations

from pipeline.records import StripeItem, StripeItemTax
from tests.core.billing.bill_stripe import HOUR_MS, BillStripe, order
from tests.core.billing.stripe_world import customer_app

TAXED = [
    StripeItem("line", "01LINE", 1000, "Tokens", 0, 3600, [StripeItemTax("Tax", "19", False, 190, 1000)]),
    StripeItem("discount", "01LINE", -300, "Tokens: discount", 0, 3600),
]


def stripe_rows() -> list[tuple[bytes, bytes]]:
    """Keys and values of the table while some orders have a call in progress."""
    world = BillStripe(customer_app(4, "01NAMED", "cus_named"))
    world.order(order(), "01DONE")
    world.settle()
    world.order(
        order(890, number="INV-2", sends=True, due_days=14, description="May", email="ann@example.com",
              address={"line1": "Main St 1", "country": "DE"}, items=TAXED),
        "01ASKED",
        "01NAMED",
    )  # fmt: skip
    world.call("stored-500")
    world.now_ms += HOUR_MS
    world.call()  # Stripe keeps the 500, so that it is asked
    world.order(order(number="INV-3"), "01DOUBT")
    world.call("stored-lost")
    world.order(order(number="INV-4"), "01WAITS")
    world.order(order(action="void", sequence=11), "01DONE")
    return sorted(world.table.rows.items())
