"""Both modes of settlement: nothing is lost, nothing is paid twice, and nothing is due of what only credits settle."""

from __future__ import annotations

import msgspec
from hypothesis import given

from pipeline.core.credits.burn_down import CreditBurn, CreditCharge, burn, sums_by_grant
from pipeline.core.credits.credit_grant import CreditGrant
from pipeline.core.credits.settlement import (
    CREDIT_ONLY,
    UNCOVERED,
    Covered,
    UncoveredCharge,
    cover,
    settle,
    without,
)
from tests.core.credits.grants_made import NOW_MS, charge_lists, grant_lists, made


@given(charge_lists, grant_lists)
def test_grants_pay_the_same_in_both_modes_and_the_rest_is_not_covered(
    charges: list[CreditCharge], grants: list[CreditGrant]
) -> None:
    paid = settle("credit_then_invoice", charges, grants, NOW_MS)
    assert paid == burn(charges, grants, NOW_MS)
    found = settle(CREDIT_ONLY, charges, grants, NOW_MS)
    assert [one for one in found if one.grant != UNCOVERED] == paid
    assert sum(one.amount for one in found) == max(0, sum(one.amount for one in charges))
    costs = {one.component: one.amount for one in charges}
    for component, cost in costs.items():
        assert sum(one.amount for one in found if one.component == component) <= max(0, cost)


def test_what_is_not_covered_is_a_burn_of_no_grant() -> None:
    charges = [CreditCharge("l", "a", 50), CreditCharge("l", "b", 60), CreditCharge("l", "c", -10)]
    found = settle(CREDIT_ONLY, charges, [made(id="g", amount=70)], NOW_MS)
    assert found == [
        CreditBurn("l", "a", "g", 50),
        CreditBurn("l", "b", "g", 20),
        CreditBurn("l", "b", UNCOVERED, 30),
    ]


def owed(amount: int, component: str = "a", feature: str | None = None) -> UncoveredCharge:
    return UncoveredCharge("USD", "i", "l", component, amount, feature)


def test_grants_cover_the_oldest_charge_first_in_the_order_of_burning() -> None:
    grants = [made(id="late", amount=50), made(id="first", amount=30, priority=1)]
    first, second = owed(40, "a"), owed(60, "b")
    assert cover([first, second], grants, NOW_MS) == [
        Covered(first, "first", 30),
        Covered(first, "late", 10),
        Covered(second, "late", 40),
    ]


def test_a_grant_covers_what_it_may_pay_and_no_other_currency() -> None:
    charge = owed(10, feature="tokens")
    assert cover([charge], [made(amount=5, features=("sso",)), made(amount=5, currency="EUR")], NOW_MS) == []
    assert cover([charge], [made(amount=5, effective_ms=NOW_MS + 1)], NOW_MS) == []
    (found,) = cover([charge], [made(amount=50, features=("tokens",))], NOW_MS)
    assert found.amount == 10


def test_what_is_covered_or_taken_back_is_off_the_charges() -> None:
    assert without([owed(10), owed(20, "b")], [owed(4), owed(20, "b")]) == (owed(6),)


@given(charge_lists, grant_lists)
def test_nothing_that_a_grant_can_pay_stays_uncovered(
    charges: list[CreditCharge], grants: list[CreditGrant]
) -> None:
    waiting = tuple(
        UncoveredCharge("USD", "i", one.line, one.component, one.amount, one.feature)
        for one in charges
        if one.amount > 0
    )
    found = cover(waiting, grants, NOW_MS)
    paid = sums_by_grant(CreditBurn("", "", one.grant, one.amount) for one in found)
    left = [msgspec.structs.replace(one, balance=one.balance - paid.get(one.id, 0)) for one in grants]
    assert all(one.balance >= 0 for one in left)
    taken = [owed_by(one) for one in found]
    assert cover(without(waiting, taken), left, NOW_MS) == []


def owed_by(covered: Covered) -> UncoveredCharge:
    charge = covered.charge
    return UncoveredCharge(charge.currency, charge.invoice, charge.line, charge.component, covered.amount)
