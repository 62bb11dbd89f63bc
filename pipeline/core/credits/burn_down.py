"""What credits pay: which grant pays how much of which component, in which order, and what comes back.

Owns: the order, the sharing, un-burning for corrections. Does not own: grants (credit_grant), the components
(invoices), booking.

Components are paid in the invoice's order, each by the grants in their order. No component is paid more than it costs,
and an invoice not more than it sums to, so that what is due is never below 0: corrections below 0 on the invoice count
against what credits pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from pipeline.core.credits.credit_grant import CreditGrant


class CreditCharge(NamedTuple):
    """A component of an invoice that credits may pay.

    Attributes:
        line: id of its line.
        component: its id.
        amount: without tax, in minor units; below 0: it takes something back.
        feature: key of the line's feature.
    """

    line: str
    component: str
    amount: int
    feature: str | None = None


class CreditBurn(msgspec.Struct, frozen=True, array_like=True):
    """What a grant paid of a component, in minor units; below 0: what came back to the grant."""

    line: str
    component: str
    grant: str
    amount: int


def burn(
    charges: Sequence[CreditCharge], grants: Iterable[CreditGrant], at_ms: int, most: int | None = None
) -> list[CreditBurn]:
    """What grants pay of an invoice at an instant.

    Args:
        charges: in the invoice's order.
        grants: of the invoice's currency, in any order.
        at_ms: the instant.
        most: that is paid in all, in minor units; None: what the charges sum to.

    Returns:
        One for each component and grant that pays it, in the order of the charges.
    """
    ordered = sorted(grants, key=lambda grant: grant.order)
    left = {grant.id: grant.balance for grant in ordered}
    to_pay = max(0, sum(one.amount for one in charges) if most is None else most)
    found: list[CreditBurn] = []
    for charge in charges:
        owed = charge.amount
        for grant in ordered:
            if owed <= 0 or to_pay <= 0:
                break
            amount = min(owed, to_pay, left[grant.id])
            if amount > 0 and grant.pays_for(charge.feature, at_ms):
                found.append(CreditBurn(charge.line, charge.component, grant.id, amount))
                left[grant.id] -= amount
                owed, to_pay = owed - amount, to_pay - amount
    return found


def come_back(burns: Sequence[CreditBurn], amount: int) -> tuple[list[CreditBurn], list[CreditBurn]]:
    """What comes back to grants of what they paid, the newest first.

    Args:
        burns: that are in force, the oldest first.
        amount: that is taken back, in minor units; what the burns do not cover is left.

    Returns:
        What comes back (above 0), and the burns that stay in force.
    """
    left, back, kept = amount, list[CreditBurn](), list[CreditBurn]()
    for one in reversed(burns):
        taken = min(left, one.amount)
        left -= taken
        if taken:
            back.append(msgspec.structs.replace(one, amount=taken))
        if one.amount > taken:
            kept.append(msgspec.structs.replace(one, amount=one.amount - taken))
    return back, kept[::-1]


def spread_back(charges: Sequence[CreditCharge], back: Sequence[CreditBurn]) -> list[CreditBurn]:
    """On which components of a correction what comes back is shown: those that take something back, in order.

    Args:
        charges: of the correction; what they take back is at least what comes back.
        back: as `come_back` returns it.

    Returns:
        Burns below 0.
    """
    waiting = [(one.grant, one.amount) for one in back]
    found: list[CreditBurn] = []
    for charge in charges:
        room = -charge.amount
        while room > 0 and waiting:
            grant, amount = waiting.pop(0)
            taken = min(room, amount)
            found.append(CreditBurn(charge.line, charge.component, grant, -taken))
            room -= taken
            if amount > taken:
                waiting.insert(0, (grant, amount - taken))
    return found


def sums_by_grant(burns: Iterable[CreditBurn]) -> dict[str, int]:
    """What each grant paid in all, in minor units."""
    sums: dict[str, int] = {}
    for one in burns:
        sums[one.grant] = sums.get(one.grant, 0) + one.amount
    return {grant: amount for grant, amount in sums.items() if amount}
