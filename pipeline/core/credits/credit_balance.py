"""What a customer holds in credits: now from its grants, at an instant from the ledger.

Owns: both sums, the transactions of credits as a customer reads them. Does not own: grants, the ledger.

    live      can be used; below 0: what credits settle and no grant covers
    pending   is granted and cannot be used yet
    settled   of what is live: is given, or paid
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from pipeline.core.credits.credit_grant import CreditGrant
from pipeline.core.credits.settlement import COVERED, UNCOVERED
from pipeline.core.ledger.transaction import amount_of
from pipeline.core.values import timestamp
from pipeline.core.values.currency import digits_of
from pipeline.records import LedgerTransaction


class CreditBalance(NamedTuple):
    """In minor units of a currency."""

    live: int = 0
    settled: int = 0
    pending: int = 0


def balances(
    grants: Iterable[CreditGrant], at_ms: int, feature: str | None = None
) -> dict[str, CreditBalance]:
    """What is left of grants by currency, as they are now.

    Args:
        grants: of a customer, ended ones too.
        at_ms: now.
        feature: only grants that pay lines of this feature (key); None: all.
    """
    return _summed(((one, one.balance) for one in grants), at_ms, feature)


def balances_at(
    grants: Iterable[CreditGrant],
    transactions: Iterable[LedgerTransaction],
    at_ms: int,
    feature: str | None = None,
) -> dict[str, CreditBalance]:
    """What was left of grants by currency at an instant, less what credits settle and no grant covers.

    Args:
        grants: of a customer, ended ones too.
        transactions: of the customer, in any order, each once.
        at_ms: the instant: what is booked for it counts.
        feature: as for `balances`; what no grant covers is for no feature.
    """
    booked = list(transactions)
    held = held_at(booked, at_ms)
    found = _summed(((one, held.get(one.id, 0)) for one in grants), at_ms, feature)
    for one in booked if feature is None else ():
        amount = changed_by(one).get(UNCOVERED, 0)
        if amount and one.at_ms <= at_ms:
            before = found.get(one.currency, CreditBalance())
            found[one.currency] = before._replace(live=before.live + amount, settled=before.settled + amount)
    return found


def held_at(transactions: Iterable[LedgerTransaction], at_ms: int) -> Mapping[str, int]:
    """What each grant (id) has left by what is booked for an instant or earlier, in minor units."""
    held: dict[str, int] = {}
    for one in transactions:
        if one.at_ms <= at_ms:
            for grant, amount in changed_by(one).items():
                held[grant] = held.get(grant, 0) + amount
    held.pop(UNCOVERED, None)
    return held


def changed_by(transaction: LedgerTransaction) -> dict[str, int]:
    """What a transaction adds to each grant (id), in minor units, and to UNCOVERED."""
    digits = digits_of(transaction.currency)
    return {
        entry.grant: amount_of(entry, digits)
        for entry in transaction.entries
        if entry.account == "customer_fbo"
    }


def _summed(
    held: Iterable[tuple[CreditGrant, int]], at_ms: int, feature: str | None
) -> dict[str, CreditBalance]:
    found: dict[str, CreditBalance] = {}
    for grant, amount in held:
        if feature is not None and not grant.allows(feature):
            continue
        before = found.get(grant.currency, CreditBalance())
        status = grant.status(at_ms)
        if status == "pending" and grant.created_ms <= at_ms:
            before = before._replace(pending=before.pending + amount)
        elif status == "active":
            is_paid = grant.purchase is None or grant.purchase.payment == "settled"
            before = before._replace(
                live=before.live + amount, settled=before.settled + (amount if is_paid else 0)
            )
        found[grant.currency] = before
    return found


class CreditMovement(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction of credits. Amounts are in minor units; before, after: all that the customer holds."""

    id: str
    name: str
    kind: str
    cause: str
    currency: str
    amount: int
    before: int
    after: int
    at_ms: int
    created_ms: int


def movements(transactions: Iterable[LedgerTransaction]) -> list[CreditMovement]:
    """The transactions that change credits, in the order in which they are booked, with the sum before and after.

    Args:
        transactions: of a customer, in any order, each once.
    """
    sums: dict[str, int] = {}
    found: list[CreditMovement] = []
    for one in sorted(transactions, key=lambda one: (one.at_ms, one.created_ms, one.id)):
        changed = changed_by(one)
        if not changed or one.kind == COVERED:
            continue
        amount, before = sum(changed.values()), sums.get(one.currency, 0)
        sums[one.currency] = before + amount
        found.append(
            CreditMovement(
                id=one.id,
                name=one.name or f"{one.kind} {timestamp.text_of(one.at_ms)}",
                kind=one.kind,
                cause=one.cause,
                currency=one.currency,
                amount=amount,
                before=before,
                after=before + amount,
                at_ms=one.at_ms,
                created_ms=one.created_ms,
            )
        )
    return found
