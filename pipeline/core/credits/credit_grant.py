"""A grant of credits: what it holds, when it can be used, for what.

Owns: its members, its status at an instant, whether it can pay. Does not own: burning (burn_down), what is booked
(grant_postings), what a client may send (grant_reading).

A grant that ends at an instant pays nothing at it. What a grant has left is never below 0.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from pipeline.errors import Broken

CreditSource = Literal["given", "purchased", "top_up", "adjustment", "credit_note"]
FundingMethod = Literal["none", "invoice", "external"]
Availability = Literal["on_creation", "on_authorization", "on_settlement"]
PaymentOfGrant = Literal["pending", "authorized", "settled"]
GivenUp = Literal["", "uncollectible", "withdrawn"]
GrantStatus = Literal["pending", "active", "expired", "voided"]

USUAL_PRIORITY: Final = 10
_REACHED: Final[dict[Availability, tuple[PaymentOfGrant, ...]]] = {
    "on_creation": ("pending", "authorized", "settled"),
    "on_authorization": ("authorized", "settled"),
    "on_settlement": ("settled",),
}


class CreditPurchase(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a grant is paid.

    Attributes:
        cost_basis: what a unit of credit costs, plain decimal text.
        price: of the whole grant, in minor units.
        availability: what makes the grant usable.
        payment: how far its payment is.
        available_ms: since when it is so far that the grant can be used; None: it is not.
        invoice_line: id of the line that bills it; empty: it is paid elsewhere.
        given_up: why nothing is owed for it any more; uncollectible: until it is settled; empty: it is not given up.
    """

    cost_basis: str
    price: int
    availability: Availability = "on_creation"
    payment: PaymentOfGrant = "pending"
    available_ms: int | None = None
    invoice_line: str = ""
    given_up: GivenUp = ""


class CreditGrant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A grant. Amounts are in minor units, instants in ms since 1970.

    Attributes:
        amount: that was granted.
        balance: that is left.
        burnt: that paid for something, less what came back.
        effective_ms, expires_ms: it pays in [effective, expires); None: it does not expire.
        features: keys of those for which it pays; none: any line.
        purchase: None: it was given.
        labels, key: of the client; a key names one grant of a customer.
        after_tax: it is money of a credit note, whose tax was taken back: it pays an invoice with its tax.
    """

    id: str
    name: str
    currency: str
    amount: int
    balance: int
    burnt: int = 0
    priority: int = USUAL_PRIORITY
    effective_ms: int
    expires_ms: int | None = None
    created_ms: int
    source: CreditSource = "given"
    funding: FundingMethod = "none"
    features: tuple[str, ...] = ()
    purchase: CreditPurchase | None = None
    voided_ms: int | None = None
    is_expired: bool = False
    description: str | None = None
    labels: dict[str, str] | None = None
    key: str | None = None
    after_tax: bool = False

    @property
    def usable_ms(self) -> int | None:
        """Since when it can pay, unless it has ended; None: its payment is not so far."""
        if self.purchase is None:
            return self.effective_ms
        available_ms = self.purchase.available_ms
        return None if available_ms is None else max(available_ms, self.effective_ms)

    @property
    def order(self) -> tuple[int, int, int, str]:
        """In which order grants are burnt: priority, expiry (never: last), effective, id."""
        never = 1 << 62
        return (
            self.priority,
            never if self.expires_ms is None else self.expires_ms,
            self.effective_ms,
            self.id,
        )

    def status(self, at_ms: int) -> GrantStatus:
        """Its status at an instant."""
        if self.voided_ms is not None and self.voided_ms <= at_ms:
            return "voided"
        if self.has_ended(at_ms):
            return "expired"
        usable_ms = self.usable_ms
        return "active" if usable_ms is not None and usable_ms <= at_ms else "pending"

    def has_ended(self, at_ms: int) -> bool:
        """Whether it has expired at an instant."""
        return self.expires_ms is not None and self.expires_ms <= at_ms

    def pays_for(self, feature: str | None, at_ms: int) -> bool:
        """Whether it can pay a line of a feature at an instant. feature: key; None: a line without one."""
        return self.balance > 0 and self.status(at_ms) == "active" and self.allows(feature)

    def allows(self, feature: str | None) -> bool:
        """Whether its filter takes a line of a feature."""
        return not self.features or feature in self.features


decode_grant = msgspec.json.Decoder(CreditGrant).decode


def with_payment(purchase: CreditPurchase, payment: PaymentOfGrant, at_ms: int) -> CreditPurchase:
    """The purchase after its payment has come so far at an instant."""
    available_ms = purchase.available_ms
    if available_ms is None and payment in _REACHED[purchase.availability]:
        available_ms = at_ms
    return msgspec.structs.replace(purchase, payment=payment, available_ms=available_ms)


def with_burnt(grant: CreditGrant, amount: int) -> CreditGrant:
    """The grant after it paid; below 0: after something came back.

    Raises:
        Broken: it has not so much left, or more comes back than it paid.
    """
    balance, burnt = grant.balance - amount, grant.burnt + amount
    if balance < 0 or burnt < 0:
        raise Broken(f"The grant {grant.id} has {grant.balance} left and cannot pay {amount}.")
    return msgspec.structs.replace(grant, balance=balance, burnt=burnt)
