"""What Stripe's JSON shows: members that are missing or of another type are as good as none."""

from __future__ import annotations

import pytest

from pipeline.core.billing.stripe_found import found_in, owner_of
from pipeline.core.billing.stripe_request import StripeTarget
from pipeline.records import StripeFound

SHOWN: dict[str, object] = {
    "id": "in_1", "status": "open", "total": 500, "number": "INV-1", "hosted_invoice_url": "https://h",
    "invoice_pdf": "https://p", "due_date": 7, "lines": {"data": [{}, {}]},
    "metadata": {"tm_invoice_id": "01I", "tm_app_id": "01A", "tm_customer_id": "01C"},
}  # fmt: skip


def test_an_invoice_is_read() -> None:
    assert found_in(SHOWN) == StripeFound("in_1", "open", 500, 2, "INV-1", "https://h", "https://p", 7)
    assert owner_of(SHOWN) == StripeTarget("01A", "01C", "01I")


@pytest.mark.parametrize("value", [None, [], {}, 1.5, "x"])
def test_other_members_are_as_good_as_none(value: object) -> None:
    shown = dict.fromkeys(SHOWN, value) | {"id": "in_1", "status": "open"}
    found = found_in(shown)
    assert (found.id, found.status, found.total, found.items, found.due_s) == ("in_1", "open", 0, 0, 0)
    assert owner_of(shown) == StripeTarget("", "", "")
