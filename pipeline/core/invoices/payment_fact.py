"""What an app reports of a payment, and which of two reports counts.

Owns: the order between facts that arrive in any order. Does not own: what a fact does to an invoice (payment).

A fact has the time at which it happened in the outside system. `paid` and `void` end a payment there, so they count
whatever arrived before; among the others the newest counts. Two of one millisecond are ordered by rank, so that the
order of arrival decides nothing.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pipeline.core.invoices.state_table import PaymentTrigger

FactTrigger = PaymentTrigger | Literal["void"]

_RANK: Final[dict[str, int]] = {
    "authorized": 0, "payment_failed": 1, "action_required": 2, "overdue": 3, "uncollectible": 4, "void": 5, "paid": 6,
}  # fmt: skip
_LEAST_ENDING = _RANK["void"]


class PaymentFact(msgspec.Struct, frozen=True, gc=False):
    """A change of a payment. at_ms: when it happened, by the clock of the outside system."""

    trigger: FactTrigger
    at_ms: int

    @property
    def is_ending(self) -> bool:
        """Whether the outside system takes the payment no further."""
        return _RANK[self.trigger] >= _LEAST_ENDING


def is_stronger(fact: PaymentFact, other: PaymentFact | None) -> bool:
    """Whether a fact counts beside another one; no fact is stronger than itself.

    >>> failed, asked = PaymentFact("payment_failed", 7), PaymentFact("action_required", 7)
    >>> is_stronger(asked, failed), is_stronger(failed, asked), is_stronger(PaymentFact("paid", 1), asked)
    (True, False, True)
    """
    return other is None or _strength(fact) > _strength(other)


def stronger(one: PaymentFact | None, other: PaymentFact) -> PaymentFact:
    """The one of two that counts."""
    return other if one is None or is_stronger(other, one) else one


def _strength(fact: PaymentFact) -> tuple[int, int, int]:
    rank = _RANK[fact.trigger]
    return (rank, 0, 0) if fact.is_ending else (0, fact.at_ms, rank)
