"""How what a customer used is settled: by credits and then an invoice, or by credits only.

Owns: the sums of both modes. Does not own: burning (burn_down), which mode a subscription has (subscriptions).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipeline.core.catalog.plan import SettlementMode
from pipeline.core.credits.burn_down import CreditBurn, CreditCharge, burn
from pipeline.core.credits.credit_grant import CreditGrant


class CreditSettlement(NamedTuple):
    """burns: what grants pay. invoiced: the rest, if there is an invoice. uncovered: the rest, if there is none."""

    burns: list[CreditBurn]
    invoiced: int
    uncovered: int

    @property
    def burnt(self) -> int:
        """What credits pay, in minor units."""
        return sum(one.amount for one in self.burns)


def settle(
    mode: SettlementMode, charges: Sequence[CreditCharge], grants: Iterable[CreditGrant], at_ms: int
) -> CreditSettlement:
    """Settle charges at an instant. In both modes: burnt + invoiced + uncovered = the sum of the charges."""
    burns = burn(charges, grants, at_ms)
    rest = sum(one.amount for one in charges) - sum(one.amount for one in burns)
    return CreditSettlement(burns, 0, rest) if mode == "credit_only" else CreditSettlement(burns, rest, 0)
