"""What each call sends, and that its key belongs to what is sent."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from pipeline.core.billing.stripe_request import (
    CallName,
    StripeTarget,
    details_key,
    details_of,
    key_of,
    params_of,
)
from pipeline.records import StripeItem, StripeItemTax
from tests.core.billing.bill_stripe import order

TARGET = StripeTarget("01APP", "01CUSTOMER", "01INVOICE", "cus_1", "in_1")
NAMES: tuple[CallName, ...] = get_args(CallName)


def test_an_invoice_is_created_with_our_number_and_does_nothing_by_itself() -> None:
    assert params_of("create", TARGET, order()) == {
        "customer": "cus_1", "currency": "usd", "auto_advance": False, "collection_method": "charge_automatically",
        "pending_invoice_items_behavior": "exclude", "number": "INV-1",
        "metadata": {"tm_invoice_id": "01INVOICE", "tm_app_id": "01APP", "tm_customer_id": "01CUSTOMER"},
    }  # fmt: skip
    sent = params_of("create", TARGET, order(sends=True, due_days=14, description="May"))
    assert (sent["collection_method"], sent["days_until_due"], sent["description"]) == (
        "send_invoice",
        14,
        "May",
    )


def test_an_item_has_its_amount_its_line_and_its_taxes() -> None:
    tax = StripeItemTax("Tax", "19", True, 80, 500)
    made = order(items=[StripeItem("discount", "01LINE", -500, "less", 60, 120, [tax])])
    assert params_of("lines", TARGET, made) == {"lines": [{
        "amount": -500, "description": "less", "discountable": False, "period": {"start": 60, "end": 120},
        "metadata": {"tm_line_id": "01LINE", "tm_line_type": "discount"},
        "tax_amounts": [{
            "amount": 80, "taxable_amount": 500,
            "tax_rate_data": {"display_name": "Tax", "inclusive": True, "percentage": "19"},
        }],
    }]}  # fmt: skip


def test_every_creation_of_a_customer_is_the_same_and_it_gets_what_is_known_of_it() -> None:
    made = order(email="ann@example.com", address={"country": "DE"})
    other, bare = TARGET._replace(invoice="", stripe_customer="", stripe_invoice=""), order(name="")
    assert params_of("customer", TARGET, made) == params_of("customer", other, bare) == {
        "metadata": {"tm_customer_id": "01CUSTOMER", "tm_app_id": "01APP"},
    }  # fmt: skip
    assert key_of("customer", TARGET, made, 1) == key_of("customer", other, bare, 1)
    assert details_of(made) == {
        "name": "Acme",
        "email": "ann@example.com",
        "address": {"country": "DE"},
    }
    assert details_of(bare) == {}
    keys = {details_key(one, details_of(two)) for one in (TARGET, other) for two in (made, bare)}
    assert len(keys) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_a_pure_function_of_what_is_sent(name: CallName) -> None:
    key = key_of(name, TARGET, order(), 1)
    assert key == key_of(name, TARGET, order(), 1) and len(key) <= 255
    others = [
        key_of(name, TARGET, order(), 2),
        key_of(name, TARGET._replace(customer="01OTHER", stripe_invoice="in_2"), order(), 1),
        *(key_of(other, TARGET, order(), 1) for other in NAMES if other != name),
    ]
    assert key not in others


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("create", order(number="INV-2")),
        ("lines", order(600)),
        ("pay", order(sequence=11)),
    ],
)
def test_another_body_has_another_key(name: CallName, changed: msgspec.Struct) -> None:
    assert key_of(name, TARGET, changed, 1) != key_of(name, TARGET, order(), 1)  # type: ignore[arg-type]
