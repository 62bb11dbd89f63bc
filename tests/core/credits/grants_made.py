"""Grants for tests. Owns: their usual members. Does not own: any test."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pipeline.core.credits.burn_down import CreditCharge
from pipeline.core.credits.credit_grant import CreditGrant, CreditPurchase

NOW_MS = 1_770_000_000_000
DAY_MS = 86_400_000


def made(id: str = "g", amount: int = 10_000, **members: Any) -> CreditGrant:
    """A grant that was given and can be used since a day."""
    usual = {
        "balance": amount,
        "effective_ms": NOW_MS - DAY_MS,
        "created_ms": NOW_MS - DAY_MS,
        "currency": "USD",
    }
    return CreditGrant(**{"id": id, "name": id, "amount": amount, **usual, **members})


def bought(id: str = "g", amount: int = 10_000, **members: Any) -> CreditGrant:
    """A grant that is bought at 0.8."""
    purchase = {"cost_basis": "0.8", "price": amount * 8 // 10, "available_ms": NOW_MS - DAY_MS, **members}
    return made(id, amount, source="purchased", funding="external", purchase=CreditPurchase(**purchase))


ends = st.none() | st.sampled_from([NOW_MS - 1, NOW_MS, NOW_MS + 1, NOW_MS + DAY_MS])
features = st.sampled_from([(), ("a",), ("b",), ("a", "b")])
grant_lists = st.lists(
    st.builds(
        lambda amount, priority, expires_ms, effective_ms, features: {
            "amount": amount, "priority": priority, "expires_ms": expires_ms, "effective_ms": effective_ms,
            "features": features,
        },
        st.integers(0, 500), st.integers(1, 3), ends, st.sampled_from([NOW_MS - DAY_MS, NOW_MS, NOW_MS + 1]), features,
    ),
    max_size=6,
).map(lambda found: [made(f"g{place}", **members) for place, members in enumerate(found)])  # fmt: skip
charge_lists = st.lists(
    st.tuples(st.integers(-100, 400), st.sampled_from([None, "a", "b", "c"])), max_size=8
).map(
    lambda found: [
        CreditCharge(f"line{place // 2}", f"detail{place}", amount, feature)
        for place, (amount, feature) in enumerate(found)
    ]
)
