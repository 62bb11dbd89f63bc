"""How what a customer used is settled: by credits and then an invoice, or by credits only.

Owns: what of an amount no grant covers, what a grant covers of it later. Does not own: burning (burn_down), which mode
a subscription has (subscriptions), the documents (bills).

With `credit_only` nothing is ever due: what grants do not cover is a burn of no grant, by which the balance of the
customer is below 0. The next credits that can be used cover it first, the oldest charge first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipeline.core.catalog.plan import SettlementMode
from pipeline.core.credits.burn_down import CreditBurn, CreditCharge, burn
from pipeline.core.credits.credit_grant import CreditGrant

CREDIT_ONLY: Final[SettlementMode] = "credit_only"
UNCOVERED: Final = ""  # in the place of the id of a grant
COVERED: Final = (
    "credit.covered"  # kind of a transaction by which a grant takes that place: no balance changes
)


class UncoveredCharge(msgspec.Struct, frozen=True, array_like=True):
    """What no grant covers of a component yet. amount: above 0, in minor units. feature: key; None: it has none."""

    currency: str
    invoice: str
    line: str
    component: str
    amount: int
    feature: str | None = None


def settle(
    mode: SettlementMode, charges: Sequence[CreditCharge], grants: Iterable[CreditGrant], at_ms: int
) -> list[CreditBurn]:
    """What grants pay of charges at an instant, and with `credit_only` the rest as burns of no grant."""
    burns = burn(charges, grants, at_ms)
    return [*burns, *uncovered(charges, burns)] if mode == CREDIT_ONLY else burns


def uncovered(charges: Sequence[CreditCharge], burns: Iterable[CreditBurn]) -> list[CreditBurn]:
    """The burns of no grant after which nothing of the charges is due, if they sum to 0 or more."""
    paid: dict[str, int] = {}
    for one in burns:
        paid[one.component] = paid.get(one.component, 0) + one.amount
    left = sum(one.amount for one in charges) - sum(paid.values())
    found: list[CreditBurn] = []
    for charge in charges:
        amount = min(left, charge.amount - paid.get(charge.component, 0))
        if amount > 0:
            found.append(CreditBurn(charge.line, charge.component, UNCOVERED, amount))
            left -= amount
    return found


class Covered(msgspec.Struct, frozen=True):
    """What a grant covers of a charge. amount: in minor units."""

    charge: UncoveredCharge
    grant: str
    amount: int


def cover(charges: Iterable[UncoveredCharge], grants: Iterable[CreditGrant], at_ms: int) -> list[Covered]:
    """What grants cover now of charges that nothing covered.

    Args:
        charges: the oldest first.
        grants: of any currency.
        at_ms: now.
    """
    ordered = sorted(grants, key=lambda grant: grant.order)
    left = {grant.id: grant.balance for grant in ordered}
    found: list[Covered] = []
    for charge in charges:
        owed = charge.amount
        for grant in ordered:
            amount = min(owed, left[grant.id])
            if amount <= 0 or grant.currency != charge.currency or not grant.pays_for(charge.feature, at_ms):
                continue
            found.append(Covered(charge, grant.id, amount))
            left[grant.id] -= amount
            owed -= amount
    return found


def without(
    charges: Iterable[UncoveredCharge], taken: Iterable[UncoveredCharge]
) -> tuple[UncoveredCharge, ...]:
    """The charges after amounts of them are covered or taken back."""
    off: dict[tuple[str, str, str], int] = {}
    for one in taken:
        key = one.invoice, one.line, one.component
        off[key] = off.get(key, 0) + one.amount
    found = []
    for charge in charges:
        key = charge.invoice, charge.line, charge.component
        amount = charge.amount - off.get(key, 0)
        if amount > 0:
            found.append(msgspec.structs.replace(charge, amount=amount))
    return tuple(found)
