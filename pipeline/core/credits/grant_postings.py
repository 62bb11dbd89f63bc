"""What a grant does to the ledger, and how it changes with it.

Owns: granting, its payment, voiding, expiry, adjustments: the grant after each, and the postings. Does not own: what it
pays of invoices (burn_down, ledger.invoice_postings), refusals of a client's body (grant_reading).

    given                fbo +amount, promotion -amount
    purchased            fbo +amount, receivable.open -amount
    credit note          fbo +amount, receivable.open -amount, which the note itself has put there
    paid                 receivable +amount, wash -amount
    uncollectible        receivable +amount, bad_debt -amount
    withdrawn            fbo -left, receivable +amount, bad_debt -(amount - left)
    expired, voided      fbo -left, breakage +left; voided and given for nothing: promotion +left
    adjusted             fbo ±amount, adjustments ∓amount

A purchase is booked at the worth of its credits; what was paid for them follows from its cost basis. Expiry is booked
for the instant at which the grant ends. Source: reference `billing.md` section 15; OpenMeter books a planned breakage
when it grants, which gives the same sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from pipeline.core.credits.credit_grant import CreditGrant, CreditPurchase, PaymentOfGrant, with_payment
from pipeline.core.ledger.invoice_postings import AUTHORIZED, OPEN
from pipeline.core.ledger.transaction import Posting, Postings, ReceivableStatus, merged
from pipeline.errors import Broken, Rejected
from pipeline.records import LedgerAccount

_STEPS: tuple[PaymentOfGrant, ...] = ("pending", "authorized", "settled")


class GrantChange(NamedTuple):
    """A grant after a change, and what is booked for it."""

    grant: CreditGrant
    postings: Postings


class Owed(NamedTuple):
    """Where what is owed for a grant is booked."""

    account: LedgerAccount
    status: ReceivableStatus = ""

    def of(self, amount: int, grant: str) -> Posting:
        """A change of it. amount: in minor units."""
        is_receivable = self.account == "customer_receivable"
        return Posting(self.account, amount, grant if is_receivable else "", self.status)


def _owed(purchase: CreditPurchase) -> Owed | None:
    """Where what is owed for a purchase is booked; None: nothing is owed."""
    if purchase.payment == "settled" or purchase.given_up == "withdrawn":
        return None
    if purchase.given_up:
        return Owed("bad_debt")
    return Owed("customer_receivable", OPEN if purchase.payment == "pending" else AUTHORIZED)


def granted(grant: CreditGrant) -> Postings:
    """A new grant."""
    held = Posting("customer_fbo", grant.amount, grant.id)
    if grant.source == "adjustment":
        return merged([held, Posting("adjustments", -grant.amount)])
    if grant.source == "credit_note":
        return merged([held, Posting("customer_receivable", -grant.amount, status=OPEN)])
    if grant.purchase is None:
        return merged([held, Posting("promotion", -grant.amount)])
    return merged([held, Posting("customer_receivable", -grant.amount, grant.id, OPEN)])


def paid(grant: CreditGrant, payment: PaymentOfGrant, at_ms: int) -> GrantChange:
    """The payment of a purchase has come so far. One that is as far already, or is withdrawn, changes nothing.

    Raises:
        Rejected: `credit_grant_has_no_payment`: it was given; `credit_payment_goes_back`.
    """
    purchase = grant.purchase
    if purchase is None:
        raise Rejected("credit_grant_has_no_payment", "The grant was given: nothing is paid for it.")
    if _STEPS.index(payment) < _STEPS.index(purchase.payment):
        raise Rejected("credit_payment_goes_back", f"The payment of the grant is {purchase.payment} already.")
    before = _owed(purchase)
    if before is None:
        return GrantChange(grant, ())
    changed = with_payment(purchase, payment, at_ms)
    after = _owed(changed) or Owed("wash")
    postings = merged([before.of(grant.amount, grant.id), after.of(-grant.amount, grant.id)])
    return GrantChange(msgspec.structs.replace(grant, purchase=changed), postings)


def uncollectible(grant: CreditGrant) -> GrantChange:
    """What is owed for a grant is given up; it may be paid yet, and can be used as before."""
    purchase = grant.purchase
    owed = None if purchase is None else _owed(purchase)
    if purchase is None or owed is None:
        return GrantChange(grant, ())
    purchase = msgspec.structs.replace(purchase, given_up="uncollectible")
    postings = merged([owed.of(grant.amount, grant.id), Posting("bad_debt", -grant.amount)])
    return GrantChange(msgspec.structs.replace(grant, purchase=purchase), postings)


def voided(grant: CreditGrant, at_ms: int) -> GrantChange:
    """What is left of a grant is taken back; its payment stays as it is.

    Raises:
        Rejected: `credit_grant_has_ended`: it is voided or has expired.
    """
    if grant.status(at_ms) in ("voided", "expired"):
        raise Rejected("credit_grant_has_ended", f"The grant is {grant.status(at_ms)}.")
    is_free = grant.purchase is None and grant.source != "credit_note"
    to: LedgerAccount = "promotion" if is_free else "breakage"
    postings = merged([Posting("customer_fbo", -grant.balance, grant.id), Posting(to, grant.balance)])
    return GrantChange(msgspec.structs.replace(grant, balance=0, voided_ms=at_ms), postings)


def withdrawn(grant: CreditGrant, at_ms: int) -> GrantChange:
    """The sale of a grant is taken back: what is left ends, and nothing is paid for the rest. A paid one stays.

    The rest is what was burnt, and what was lost by a void or at its end, which is breakage already.
    """
    purchase = grant.purchase
    owed = None if purchase is None else _owed(purchase)
    if purchase is None or owed is None:
        return GrantChange(grant, ())
    postings = merged(
        [
            Posting("customer_fbo", -grant.balance, grant.id),
            owed.of(grant.amount, grant.id),
            Posting("bad_debt", grant.balance - grant.amount),
        ]
    )
    voided_ms = at_ms if grant.voided_ms is None else grant.voided_ms
    purchase = msgspec.structs.replace(purchase, given_up="withdrawn")
    return GrantChange(
        msgspec.structs.replace(grant, balance=0, voided_ms=voided_ms, purchase=purchase), postings
    )


def expired(grant: CreditGrant) -> GrantChange:
    """A grant has ended: what is left is not used any more."""
    return GrantChange(
        msgspec.structs.replace(grant, balance=0, is_expired=True), forfeited(grant, grant.balance)
    )


def forfeited(grant: CreditGrant, amount: int) -> Postings:
    """Credits that can never be used. amount: in minor units."""
    return merged([Posting("customer_fbo", -amount, grant.id), Posting("breakage", amount)])


def lowered(grants: Iterable[CreditGrant], amount: int, at_ms: int) -> list[GrantChange]:
    """Take an amount off what a customer can use, in the order of burning.

    Args:
        grants: of the currency.
        amount: above 0, in minor units.
        at_ms: now.

    Raises:
        Rejected: `credit_balance_too_low`: there is not so much.
        Broken: a grant would fall below 0.
    """
    found: list[GrantChange] = []
    left = amount
    for grant in sorted(grants, key=lambda grant: grant.order):
        taken = min(left, grant.balance)
        if not taken or grant.status(at_ms) != "active":
            continue
        if taken < 0:
            raise Broken(f"The grant {grant.id} has {grant.balance} left.")
        postings = merged([Posting("customer_fbo", -taken, grant.id), Posting("adjustments", taken)])
        found.append(GrantChange(msgspec.structs.replace(grant, balance=grant.balance - taken), postings))
        left -= taken
    if left:
        raise Rejected(
            "credit_balance_too_low", "The customer has fewer credits than the adjustment takes off."
        )
    return found
