"""The share that some customers or endpoints have of a record."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.metering.identity import customer_hash
from pipeline.core.notifications.delivery_table import endpoint_hash
from pipeline.core.notifications.record_owners import share_of
from pipeline.records import BillingWork, Command, CustomerWindow, StripeWork, WebhookWork, Window

ANN, BOB = customer_hash("acme", "ann"), customer_hash("acme", "bob")


def window(customer: str) -> CustomerWindow:
    made = Window("acme", "tokens", 1, "s", {}, 60, "7", 1, "7", "", [], 1, 0)
    return CustomerWindow(customer, made)


def command(customer: str) -> BillingWork:
    made = Command("c", "subscription.create", "acme", "me", 1, {})
    return BillingWork("command", customer=customer, command=made)


BOTH = [window("ann"), window("bob")]
CASES: list[tuple[str, bytes | None, Any, Any]] = [  # topic, key, value, Ann's share
    ("customer-usage", None, BOTH, BOTH[:1]),
    ("billing-work", None, BOTH, BOTH[:1]),
    ("stripe-work", None, BOTH[1:], None),
    (
        "customer-usage", b"clock",
        [["account", "acme", "bob", "f"], ["seeded", "acme", "ann", "f", "m"]], [["seeded", "acme", "ann", "f", "m"]],
    ),
    ("customer-usage", b"clock", [["account", "acme", "bob", "f"]], None),
    ("billing-work", b"command", command("ann"), command("ann")),
    ("billing-work", b"command", command("bob"), None),
    ("billing-work", b"number", BillingWork("number", customer="bob", namespace="acme"), None),
    ("billing-work", b"clock", BillingWork("settled", settled_ms=5), BillingWork("settled", settled_ms=5)),
    ("billing-work", b"clock", BillingWork("clock"), BillingWork("clock")),
    ("stripe-work", b"reported", StripeWork("reported", namespace="acme"), StripeWork("reported", namespace="acme")),
    ("stripe-work", b"attempt", StripeWork("attempt", namespace="acme", customer="bob"), None),
    ("webhook-work", b"bob", WebhookWork("resend", "acme", "bob", "d", 1), None),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "key", "value", "share"), CASES)
def test_the_share_of_one_customer(topic: str, key: bytes | None, value: Any, share: Any) -> None:
    def is_anns(owner: int) -> bool:
        return owner == ANN

    found = share_of(topic, key, msgspec.json.encode(value), is_anns)
    assert found == (None if share is None else msgspec.json.encode(share))


def test_an_endpoint_has_its_work_and_what_cannot_be_read_concerns_no_owner() -> None:
    work = msgspec.json.encode(WebhookWork("resend", "acme", "bob", "d", 1))
    assert share_of("webhook-work", b"bob", work, lambda owner: owner == endpoint_hash("acme", "bob")) == work
    assert share_of("billing-work", b"command", b"{", lambda _: True) is None
    assert share_of("billing-work", None, b"\xff", lambda _: True) is None
