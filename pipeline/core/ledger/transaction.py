"""Transactions of the ledger: postings of one cause that sum to zero.

Owns: merging postings, the id of a transaction, its record. Does not own: which postings a cause has (invoice_postings,
credits.grant_postings), the order of transactions.

The id is a function of the cause, so that booking the same thing again makes the same record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from pipeline.core.values import money, number, ulid
from pipeline.core.values.currency import digits_of
from pipeline.errors import Broken
from pipeline.records import LedgerAccount, LedgerEntry, LedgerTransaction

ReceivableStatus = Literal["", "open", "authorized"]
PostingKey = tuple[LedgerAccount, str, ReceivableStatus]


class Posting(msgspec.Struct, frozen=True, array_like=True):
    """A change of one account.

    Attributes:
        account: of the ledger.
        amount: signed, in minor units of the currency.
        grant: id of the credit grant that it belongs to; empty: none.
        status: of a receivable.
    """

    account: LedgerAccount
    amount: int
    grant: str = ""
    status: ReceivableStatus = ""

    @property
    def key(self) -> PostingKey:
        """What it changes: postings with the same key are one."""
        return self.account, self.grant, self.status


Postings = tuple[Posting, ...]


class LedgerCause(NamedTuple):
    """Why something is booked.

    Attributes:
        namespace, customer: customer is an id.
        kind: such as "invoice.accrued".
        id: of the invoice or grant, with the step if there are several of the kind.
    """

    namespace: str
    customer: str
    kind: str
    id: str

    @property
    def transaction_id(self) -> str:
        """The same for the same cause, another for another."""
        return ulid.make(0, "ledger/" + "/".join(self))


class LedgerTime(NamedTuple):
    """Milliseconds since 1970. at_ms: for which it is booked. created_ms: of the record that books it."""

    at_ms: int
    created_ms: int


def merged(postings: Iterable[Posting]) -> Postings:
    """One posting for each key, in the order of their first; those that sum to 0 are left out.

    >>> found = merged([Posting("wash", -5), Posting("earnings", 5), Posting("wash", -1), Posting("earnings", 1)])
    >>> [(one.account, one.amount) for one in found]
    [('wash', -6), ('earnings', 6)]
    """
    sums: dict[PostingKey, int] = {}
    for one in postings:
        sums[one.key] = sums.get(one.key, 0) + one.amount
    return tuple(Posting(key[0], amount, *key[1:]) for key, amount in sums.items() if amount)


def reversed_of(postings: Iterable[Posting]) -> Postings:
    """What takes postings back."""
    return merged(Posting(one.account, -one.amount, one.grant, one.status) for one in postings)


def transaction(
    cause: LedgerCause, currency: str, when: LedgerTime, postings: Sequence[Posting], name: str = ""
) -> LedgerTransaction | None:
    """The record of a transaction; None: nothing changes.

    Args:
        cause: of which it is the only transaction.
        currency: of every posting.
        when: it is booked.
        postings: in any number for an account.
        name: that a client gave it.

    Raises:
        Broken: the postings do not sum to 0.
    """
    found = merged(postings)
    if total := sum(one.amount for one in found):
        raise Broken(f"The postings of {cause.kind} {cause.id} sum to {total}, not to 0.")
    if not found:
        return None
    digits = digits_of(currency)
    entries = tuple(
        LedgerEntry(one.account, money.text(one.amount, digits), one.grant, one.status) for one in found
    )
    return LedgerTransaction(
        id=cause.transaction_id,
        namespace=cause.namespace,
        customer=cause.customer,
        kind=cause.kind,
        cause=cause.id,
        currency=currency,
        at_ms=when.at_ms,
        created_ms=when.created_ms,
        entries=entries,
        name=name,
    )


def amount_of(entry: LedgerEntry, digits: int) -> int:
    """The amount of an entry in minor units. digits: of the currency."""
    return money.minor(number.parse(entry.amount), digits)
