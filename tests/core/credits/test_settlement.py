"""Both modes of settlement: nothing is lost, nothing is paid twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog.plan import SettlementMode
from pipeline.core.credits.burn_down import CreditCharge
from pipeline.core.credits.credit_grant import CreditGrant
from pipeline.core.credits.settlement import settle
from tests.core.credits.grants_made import NOW_MS, charge_lists, grant_lists, made

modes = st.sampled_from(["credit_then_invoice", "credit_only"])


@given(modes, charge_lists, grant_lists)
def test_burnt_and_invoiced_are_the_total(
    mode: SettlementMode, charges: list[CreditCharge], grants: list[CreditGrant]
) -> None:
    found = settle(mode, charges, grants, NOW_MS)
    total = sum(one.amount for one in charges)
    assert found.burnt + found.invoiced + found.uncovered == total
    assert found.invoiced == (0 if mode == "credit_only" else total - found.burnt)
    if total >= 0:
        assert min(found.invoiced, found.uncovered) >= 0


def test_credits_only_leave_no_invoice() -> None:
    charges = [CreditCharge("l", "d", 100)]
    assert settle("credit_only", charges, [made(amount=70)], NOW_MS)[1:] == (0, 30)
    assert settle("credit_then_invoice", charges, [made(amount=70)], NOW_MS)[1:] == (30, 0)
