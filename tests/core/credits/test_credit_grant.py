"""Grants: status at an instant, what they pay for, never below 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.credits.credit_grant import with_burnt, with_payment
from pipeline.errors import Broken
from tests.core.credits.grants_made import NOW_MS, bought, made


def test_the_status_follows_the_instant() -> None:
    grant = made(effective_ms=NOW_MS, expires_ms=NOW_MS + 10)
    assert [grant.status(NOW_MS + by) for by in (-1, 0, 9, 10)] == ["pending", "active", "active", "expired"]
    voided = made(voided_ms=NOW_MS)
    assert [voided.status(NOW_MS + by) for by in (-1, 0)] == ["active", "voided"]


@pytest.mark.parametrize(
    ("availability", "expected"),
    [
        ("on_creation", ["active", "active", "active"]),
        ("on_authorization", ["pending", "active", "active"]),
        ("on_settlement", ["pending", "pending", "active"]),
    ],
)
def test_a_purchase_can_be_used_once_it_is_paid_so_far(availability: str, expected: list[str]) -> None:
    grant = bought(availability=availability, available_ms=None)
    assert grant.purchase is not None
    found = []
    for payment in ("pending", "authorized", "settled"):
        purchase = with_payment(grant.purchase, payment, NOW_MS)
        found.append(made(purchase=purchase).status(NOW_MS))
        assert made(purchase=purchase).status(NOW_MS - 1) == "pending"
    assert found == expected


def test_a_filter_keeps_other_lines_out() -> None:
    grant = made(features=("a", "b"))
    assert [grant.pays_for(feature, NOW_MS) for feature in ("a", "b", "c", None)] == [
        True,
        True,
        False,
        False,
    ]
    assert made().pays_for(None, NOW_MS)


@given(st.lists(st.integers(-200, 200), max_size=8))
def test_what_is_left_is_never_below_zero(amounts: list[int]) -> None:
    grant = made(amount=300)
    for amount in amounts:
        if not -grant.burnt <= amount <= grant.balance:
            with pytest.raises(Broken):
                with_burnt(grant, amount)
            continue
        grant = with_burnt(grant, amount)
        assert grant.balance >= 0
        assert grant.balance + grant.burnt == grant.amount
