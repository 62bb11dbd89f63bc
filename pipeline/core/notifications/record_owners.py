"""Whose the records are from which stages build state by customer or endpoint.

Owns: the owner of each kind of record of `customer-usage`, `billing-work`, `stripe-work` and `webhook-work`, and the
share that some owners have of a record. Does not own: the partitions of owners (metering.partition_splits).
An owner is the u32 hash that places it. A record without one concerns every partition, such as one of the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from pipeline.core.metering.identity import customer_hash
from pipeline.core.notifications.delivery_table import endpoint_hash
from pipeline.records import BillingWork, CustomerWindow, StripeWork, WebhookWork

IsMine = Callable[[int], bool]
TakeShare = Callable[[bytes | None, bytes, IsMine], bytes | None]

_encode = msgspec.json.Encoder().encode
_windows = msgspec.json.Decoder(list[CustomerWindow]).decode
_items = msgspec.json.Decoder(list[list[str]]).decode
_billing = msgspec.json.Decoder(BillingWork).decode
_stripe = msgspec.json.Decoder(StripeWork).decode
_webhook = msgspec.json.Decoder(WebhookWork).decode


def window_owner(one: CustomerWindow) -> int:
    """The owner of a window of usage."""
    return customer_hash(one.window.namespace, one.customer)


def billing_owner(work: BillingWork) -> int | None:
    """The owner of a record of `billing-work` other than windows; None: it concerns every partition."""
    if work.kind in ("clock", "settled"):
        return None
    namespace = work.namespace if work.command is None else work.command.namespace
    return customer_hash(namespace, work.customer)


def stripe_owner(work: StripeWork) -> int | None:
    """The owner of a record of `stripe-work` other than windows; None: it concerns every partition."""
    return None if work.kind in ("clock", "reported") else customer_hash(work.namespace, work.customer)


def webhook_owner(work: WebhookWork) -> int:
    """The owner of a record of `webhook-work`."""
    return endpoint_hash(work.namespace, work.endpoint)


def share_of(topic: str, key: bytes | None, value: bytes, is_mine: IsMine) -> bytes | None:
    """The part of a record that concerns some owners.

    Args:
        topic: One of SHARED_OUT.
        key: Of the record.
        value: Likewise.
        is_mine: Whether an owner is one of them.

    Returns:
        A value of the same form; None if nothing concerns them. A record that cannot be read concerns no owner.
    """
    try:
        return SHARED_OUT[topic](key, value, is_mine)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _of_usage(key: bytes | None, value: bytes, is_mine: IsMine) -> bytes | None:
    if key is None:
        return _of_windows(value, is_mine)
    mine = [item for item in _items(value) if len(item) < 3 or is_mine(customer_hash(item[1], item[2]))]
    return _encode(mine) if mine else None


def _of_windows(value: bytes, is_mine: IsMine) -> bytes | None:
    mine = [one for one in _windows(value) if is_mine(window_owner(one))]
    return _encode(mine) if mine else None


def _of_billing(key: bytes | None, value: bytes, is_mine: IsMine) -> bytes | None:
    if key is None:
        return _of_windows(value, is_mine)
    owner = billing_owner(_billing(value))
    return value if owner is None or is_mine(owner) else None


def _of_stripe(key: bytes | None, value: bytes, is_mine: IsMine) -> bytes | None:
    if key is None:
        return _of_windows(value, is_mine)
    owner = stripe_owner(_stripe(value))
    return value if owner is None or is_mine(owner) else None


def _of_webhook(_: bytes | None, value: bytes, is_mine: IsMine) -> bytes | None:
    return value if is_mine(webhook_owner(_webhook(value))) else None


SHARED_OUT: Final[Mapping[str, TakeShare]] = {
    "customer-usage": _of_usage,
    "billing-work": _of_billing,
    "stripe-work": _of_stripe,
    "webhook-work": _of_webhook,
}
