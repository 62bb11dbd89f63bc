"""What an invoice books, from its issue to its payment.

Owns: these postings. Does not own: the states of an invoice, credits (credits.grant_postings).

What has been booked of an invoice is kept as one posting for each key (`booked`), from which the next steps follow: so
a void takes back exactly that, less what corrections gave back in between.

    accrued        fbo -credits, receivable.open -due, accrued +net, tax_payable +tax
    earned         accrued -net, earnings +net
    authorized     receivable.open +due, receivable.authorized -due
    settled        receivable +due, wash -due
    uncollectible  receivable +due, bad_debt -due
    taken back     all of it reversed, less credits that corrections on other invoices gave back already

A line that sells credits is no revenue: its grant has booked what is owed for it, so only its tax is booked here.
Source: reference `billing.md` section 15.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.core.ledger.transaction import Posting, Postings, ReceivableStatus, merged
from pipeline.records import LedgerAccount

OPEN: ReceivableStatus = "open"
AUTHORIZED: ReceivableStatus = "authorized"
_OWED: tuple[LedgerAccount, ...] = ("customer_receivable", "bad_debt")


class PaidByCredit(NamedTuple):
    """amount: that a grant pays of an invoice, in minor units; below 0: that comes back to it."""

    grant: str
    amount: int


class BilledMoney(NamedTuple):
    """The money of an invoice, in minor units.

    Attributes:
        net: without tax, before credits, without lines that sell credits.
        tax: of the lines without those that sell credits.
        sold_tax: of lines that sell credits, on top of their price.
        sold_tax_inside: of lines that sell credits, inside their price.
    """

    net: int
    tax: int
    sold_tax: int = 0
    sold_tax_inside: int = 0


def accrued(billed: BilledMoney, credits: Sequence[PaidByCredit]) -> Postings:
    """An invoice is fixed: what credits pay of it, and what the customer owes.

    Args:
        billed: of the invoice.
        credits: that were burnt for it.
    """
    paid = sum(one.amount for one in credits)
    due = billed.net + billed.tax + billed.sold_tax - paid
    return merged(
        [
            *(Posting("customer_fbo", -one.amount, one.grant) for one in credits),
            Posting("customer_receivable", -due, status=OPEN),
            Posting("customer_accrued", billed.net),
            Posting("tax_payable", billed.tax + billed.sold_tax + billed.sold_tax_inside),
            Posting("earnings", -billed.sold_tax_inside),
        ]
    )


def earned(booked: Postings) -> Postings:
    """An invoice is issued: what was accrued is revenue."""
    net = sum(one.amount for one in booked if one.account == "customer_accrued")
    return merged([Posting("customer_accrued", -net), Posting("earnings", net)])


def authorized(booked: Postings) -> Postings:
    """A payment is authorized."""
    due = _owed(booked, OPEN)
    return merged(
        [
            Posting("customer_receivable", -due, status=OPEN),
            Posting("customer_receivable", due, status=AUTHORIZED),
        ]
    )


def settled(booked: Postings) -> Postings:
    """The money has come in, also after it was given up."""
    return _moved(booked, "wash")


def uncollectible(booked: Postings) -> Postings:
    """What is owed is given up."""
    return _moved(booked, "bad_debt")


def came_back(booked: Postings, burnt: Mapping[str, int]) -> Postings:
    """What a void may not take back again: credits that a correction gave back, and the revenue that it took.

    Args:
        booked: of the invoice.
        burnt: what is still burnt for it by the id of the grant, in minor units.
    """
    found: list[Posting] = []
    for one in booked:
        if one.account == "customer_fbo":
            amount = -one.amount - burnt.get(one.grant, 0)
            found += [Posting("customer_fbo", -amount, one.grant), Posting("earnings", amount)]
    return merged(found)


def _moved(booked: Postings, to: LedgerAccount) -> Postings:
    owed = [one for one in booked if one.account in _OWED and one.account != to]
    total = sum(one.amount for one in owed)
    taken = [Posting(one.account, -one.amount, one.grant, one.status) for one in owed]
    return merged([*taken, Posting(to, total)])


def _owed(booked: Postings, status: ReceivableStatus) -> int:
    return sum(one.amount for one in booked if one.account == "customer_receivable" and one.status == status)
