"""The credits of a customer as a person reads them, for a page: every text of it, in order.

Owns: the balances, grants and transactions of the page, and their words. Does not own: its form (api.invoices.page),
what a customer holds (credits.credit_balance), numbers and dates as text (print_text).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from pipeline.core.credits.credit_balance import CreditBalance, CreditMovement, balances_at, movements
from pipeline.core.credits.credit_grant import CreditGrant, GrantStatus
from pipeline.core.invoices import print_text
from pipeline.core.values import money, timestamp
from pipeline.core.values.currency import digits_of
from pipeline.records import LedgerTransaction

MOST_TRANSACTIONS: Final = 200
_STATUSES: Final[Mapping[GrantStatus, str]] = {"active": "In use", "pending": "Not usable yet"}
_KINDS: Final[Mapping[str, str]] = {
    "credit.granted": "Added",
    "credit.expired": "Expired",
    "credit.forfeited": "Expired",
    "credit.voided": "Taken back",
    "credit.withdrawn": "Taken back",
    "credit.adjusted": "Adjusted",
}


class PrintedBalance(NamedTuple):
    """What a customer holds in a currency. notes: on what is not paid, not usable or not covered."""

    amount: str
    is_negative: bool
    notes: tuple[str, ...]


class PrintedGrant(NamedTuple):
    """A grant that has something left."""

    name: str
    notes: tuple[str, ...]
    expires: str
    left: str
    amount: str


class PrintedMovement(NamedTuple):
    """A transaction. balance: after it."""

    day: str
    kind: str
    name: str
    amount: str
    balance: str


class PrintedCredits(NamedTuple):
    """The whole page.

    Attributes:
        as_of: instant of the balances.
        grants: in the order in which they are used.
        movements: newest first.
        left_out: how many older transactions the page does not show.
    """

    customer: str
    as_of: str
    balances: tuple[PrintedBalance, ...]
    grants: tuple[PrintedGrant, ...]
    movements: tuple[PrintedMovement, ...]
    left_out: int


def printed_credits(
    customer: str,
    grants: Sequence[CreditGrant],
    ledger: Iterable[LedgerTransaction],
    at_ms: int,
    zone: str,
) -> PrintedCredits:
    """The texts of a page.

    Args:
        customer: its name.
        grants: of the customer, ended ones too.
        ledger: its transactions, each once.
        at_ms: the instant of the page.
        zone: in which its dates are.
    """
    booked = [one for one in ledger if one.at_ms <= at_ms]
    held = balances_at(grants, booked, at_ms)
    left = [one for one in grants if one.balance and one.status(at_ms) in _STATUSES]
    moved = movements(booked)[::-1]
    return PrintedCredits(
        customer=customer,
        as_of=print_text.moment(timestamp.text_of(at_ms), zone),
        balances=tuple(_balance(currency, held[currency]) for currency in sorted(held)),
        grants=tuple(
            _grant(one, at_ms, zone)
            for one in sorted(left, key=lambda one: (one.currency, one.status(at_ms) != "active", one.order))
        ),
        movements=tuple(_movement(one, zone) for one in moved[:MOST_TRANSACTIONS]),
        left_out=max(0, len(moved) - MOST_TRANSACTIONS),
    )


def _balance(currency: str, held: CreditBalance) -> PrintedBalance:
    notes = []
    if held.live < 0:
        notes.append("Used and not covered yet: the next credits cover it first.")
    if unpaid := held.live - held.settled:
        notes.append(f"{_money(unpaid, currency)} of it is not paid yet.")
    if held.pending:
        notes.append(f"{_money(held.pending, currency)} more cannot be used yet.")
    return PrintedBalance(_money(held.live, currency), held.live < 0, tuple(notes))


def _grant(grant: CreditGrant, at_ms: int, zone: str) -> PrintedGrant:
    status = grant.status(at_ms)
    notes = [_STATUSES[status]]
    if status == "pending" and grant.usable_ms is not None:
        notes = [f"Usable from {_day(grant.usable_ms, zone)}"]
    elif status == "pending":
        notes = ["Usable once it is paid"]
    if grant.features:
        notes.append(f"For {', '.join(grant.features)}")
    if grant.description:
        notes.append(grant.description)
    return PrintedGrant(
        grant.name,
        tuple(notes),
        "Never" if grant.expires_ms is None else _day(grant.expires_ms, zone),
        _money(grant.balance, grant.currency),
        _money(grant.amount, grant.currency),
    )


def _movement(one: CreditMovement, zone: str) -> PrintedMovement:
    kind = _KINDS.get(one.kind) or ("Used" if one.amount < 0 else "Returned")
    name = one.name if one.kind.startswith("credit.") else ""
    return PrintedMovement(
        _day(one.at_ms, zone), kind, name, _money(one.amount, one.currency), _money(one.after, one.currency)
    )


def _money(minor: int, currency: str) -> str:
    return print_text.money(money.text(minor, digits_of(currency)), currency)


def _day(at_ms: int, zone: str) -> str:
    return print_text.day(timestamp.text_of(at_ms), zone)
