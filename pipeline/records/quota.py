"""Balances, and the late usage that corrects them."""

from __future__ import annotations

from typing import Literal

import msgspec


class Balance(msgspec.Struct):
    """`balances` (compacted), key `namespace/customer/feature`: the current balance of a customer for a feature.

    An entitlement that has ended leaves a balance with an empty `type` and no access. Amounts are plain decimal
    strings, empty unless the entitlement is metered. The balance changes without an event at `next_at_ms`; 0: never.
    """

    namespace: str
    customer: str  # id
    feature: str  # key
    entitlement: str  # id
    type: Literal["metered", "boolean", "static", ""]
    revision: int  # offset in `customer-usage` of the last applied record; it only grows
    has_access: bool
    at_ms: int  # the instant up to which it is computed
    next_at_ms: int = 0
    balance: str = ""
    usage: str = ""
    overage: str = ""
    total_available: str = ""
    config: str = ""  # JSON text of a static entitlement
    period_from_ms: int = 0
    period_to_ms: int = 0
    received_at_ms: int = 0  # of the newest event in it


class LateUsage(msgspec.Struct):
    """`late-usage`, key `entitlement/minute/offset`: late usage that corrected a balance.

    Usage is late if it arrived more than an hour after its minute, or after its usage period had ended. `counted` is
    false if the state of that time had expired, so that no balance includes it.
    """

    namespace: str
    customer: str  # id
    feature: str  # key
    entitlement: str  # id
    minute_s: int
    change: str  # plain decimal text
    at_ms: int  # when the balance was corrected
    counted: bool = True
