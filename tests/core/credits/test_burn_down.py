"""What credits pay: Lago's wallets, the order, laws of sharing and of what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.credits.burn_down import (
    CreditBurn,
    CreditCharge,
    burn,
    come_back,
    spread_back,
    sums_by_grant,
)
from pipeline.core.credits.credit_grant import CreditGrant
from pipeline.core.credits.grant_postings import lowered
from pipeline.errors import Rejected
from tests.core.credits.grants_made import DAY_MS, NOW_MS, charge_lists, grant_lists, made

PEERS = json.loads((Path(__file__).parents[2] / "cases/peers-alerts-credits-scenarios.json").read_text())[
    "cases"
]
TRACED = [case for case in PEERS if "trace" in case["model"]]
RESTRICTED = [case for case in PEERS if case["id"] == "lago-wallet-restricted"]
# The other cases of the file: crossings and a void over the balance are in test_top_up and test_grant_postings;
# percentage charges and proration are no credits; Lago's progressive invoices credit what was billed before, which is
# the law of booking here (rating.booking), so no grant takes part.


@pytest.mark.parametrize("case", TRACED, ids=[case["id"] for case in TRACED])
def test_wallets_burn_by_priority_and_age(case: dict[str, Any]) -> None:
    grants = [
        made(
            one["id"], int(one["cents"]), priority=int(one["priority"]), effective_ms=int(one["createdOrder"])
        )
        for one in case["in"]["grants"]
    ]
    burns = burn([CreditCharge("l", "d", int(case["in"]["consumeCents"]))], grants, NOW_MS)
    assert [[one.grant, str(one.amount)] for one in burns] == case["out"]["links"]
    paid = sums_by_grant(burns)
    left = {one.id: str(one.balance - paid.get(one.id, 0)) for one in grants}
    assert left == case["out"]["remaining"]


@pytest.mark.parametrize("case", RESTRICTED, ids=[case["id"] for case in RESTRICTED])
def test_wallets_pay_only_what_they_are_for(case: dict[str, Any]) -> None:
    grants = [
        made(one["metric"], int(one["cents"]), features=(one["metric"],)) for one in case["in"]["wallets"]
    ]
    charges = [
        CreditCharge(metric, metric, int(cents), metric) for metric, cents in case["in"]["usageCents"].items()
    ]
    paid = sums_by_grant(burn(charges, grants, NOW_MS))
    assert {one.id: str(one.balance - paid[one.id]) for one in grants} == case["out"]["left"]
    assert str(sum(paid.values())) == case["out"]["prepaidOnInvoice"]


def test_the_order_is_priority_then_expiry_then_effective_then_id() -> None:
    first = made("z", 1, priority=1)
    ends_soon, ends_later = (
        made(id, 1, expires_ms=NOW_MS + days * DAY_MS) for id, days in (("y", 1), ("x", 2))
    )
    older, same, other = made("w", 1, effective_ms=0), made("a", 1), made("b", 1)
    grants = [other, older, ends_later, same, ends_soon, first]
    burns = burn([CreditCharge("l", "d", 6)], grants, NOW_MS)
    assert [one.grant for one in burns] == ["z", "y", "x", "w", "a", "b"]


def test_a_grant_that_ends_at_the_instant_pays_nothing() -> None:
    charges = [CreditCharge("l", "d", 100)]
    assert burn(charges, [made(expires_ms=NOW_MS)], NOW_MS) == []
    assert sums_by_grant(burn(charges, [made(expires_ms=NOW_MS + 1)], NOW_MS)) == {"g": 100}


def test_a_commitment_is_paid_too() -> None:
    """A minimum of 200, 175 of it by credits."""
    charges = [CreditCharge("l", "usage", 12_000), CreditCharge("l", "min-spend", 8_000)]
    burns = burn(charges, [made(amount=17_500)], NOW_MS)
    assert [(one.component, one.amount) for one in burns] == [("usage", 12_000), ("min-spend", 5_500)]


@given(charge_lists, grant_lists)
def test_laws_of_burning(charges: list[CreditCharge], grants: list[CreditGrant]) -> None:
    burns = burn(charges, grants, NOW_MS)
    total, paid = sum(one.amount for one in charges), sum(one.amount for one in burns)
    assert 0 <= paid <= max(0, total)
    by_id = {one.id: one for one in grants}
    for id, amount in sums_by_grant(burns).items():
        assert 0 < amount <= by_id[id].balance
    features = {one.component: one.feature for one in charges}
    for one in burns:
        assert by_id[one.grant].pays_for(features[one.component], NOW_MS)
    for charge in charges:
        own = [one for one in burns if one.component == charge.component]
        assert sum(one.amount for one in own) <= max(0, charge.amount)
        assert [by_id[one.grant].order for one in own] == sorted(by_id[one.grant].order for one in own)
    assert burn(charges, grants[::-1], NOW_MS) == burns


@given(charge_lists, grant_lists)
def test_no_grant_is_left_out_before_a_later_one(
    charges: list[CreditCharge], grants: list[CreditGrant]
) -> None:
    """A grant that pays a component leaves nothing in an earlier one that could have paid it."""
    burns = burn(charges, grants, NOW_MS)
    features = {one.component: one.feature for one in charges}
    by_id = {one.id: one for one in grants}
    for place, one in enumerate(burns):
        paid = sums_by_grant(burns[:place])
        for other in grants:
            if other.order < by_id[one.grant].order and other.pays_for(features[one.component], NOW_MS):
                assert paid.get(other.id, 0) == other.balance


@given(charge_lists, grant_lists, st.integers(0, 900))
def test_what_comes_back_is_the_newest_and_never_more(
    charges: list[CreditCharge], grants: list[CreditGrant], amount: int
) -> None:
    burns = burn(charges, grants, NOW_MS)
    paid = sum(one.amount for one in burns)
    back, kept = come_back(burns, amount)
    assert sum(one.amount for one in back) == min(amount, paid)
    assert sum(one.amount for one in kept) == paid - min(amount, paid)
    assert kept[:-1] == burns[: max(len(kept) - 1, 0)]


def test_a_correction_shows_what_comes_back_on_what_it_takes_back() -> None:
    charges = [CreditCharge("c", "more", 50), CreditCharge("c", "less", -80), CreditCharge("c", "least", -40)]
    back = [CreditBurn("l", "d", "new", 60), CreditBurn("l", "d", "old", 10)]
    found = spread_back(charges, back)
    assert [(one.component, one.grant, one.amount) for one in found] == [
        ("less", "new", -60), ("less", "old", -10),
    ]  # fmt: skip
    assert all(one.line == "c" for one in found)


def test_a_void_of_more_than_is_left_is_refused_as_in_lago() -> None:

    case = next(case for case in PEERS if case["id"] == "lago-wallet-void-over-balance")
    assert case["out"]["status"] == "422"
    with pytest.raises(Rejected) as refusal:
        lowered([made(amount=100)], 101, NOW_MS)
    assert refusal.value.reason == "credit_balance_too_low"
