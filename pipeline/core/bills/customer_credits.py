"""The credits of one customer while one record is applied: read as needed, written with its bills or not at all.

Owns: reading and writing its rows, what was booked, balances before and after. Does not own: what a record does to them
(credit_commands, credit_step, credit_burn), the rules of credits (credits), of booking (ledger).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.core.bills.bill_rows import (
    BOOKED,
    CREDIT,
    CREDIT_ACCOUNT,
    BillRows,
    CustomerHead,
    DocumentRow,
)
from pipeline.core.bills.credit_rows import CreditAccountRow, InvoiceBookedRow
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.credits.credit_balance import balances
from pipeline.core.credits.credit_grant import CreditGrant, decode_grant
from pipeline.core.credits.settlement import UncoveredCharge, without
from pipeline.core.ledger.transaction import LedgerCause, LedgerTime, Posting, merged, transaction
from pipeline.core.values.cached_rows import encode_json
from pipeline.errors import Broken, Rejected
from pipeline.records import LedgerTransaction


class CustomerCredits:
    """The credits of one customer within one record."""

    def __init__(self, rows: BillRows, head: CustomerHead, key: bytes, offset: int, now_ms: int) -> None:
        """head: of the customer before the record."""
        self.namespace, self.customer, self.now_ms = head.namespace, head.customer, now_ms
        self._is_known = head.credits_ms is not None
        self._rows, self._key, self._offset = rows, key, offset
        self._account: CreditAccountRow | None = None
        self._balances: dict[str, int] = {}  # before the record
        self._grants: dict[str, CreditGrant] = {}
        self._booked: dict[str, InvoiceBookedRow] = {}
        self.changed: dict[str, None] = {}
        self.ledger: list[LedgerTransaction] = []

    # -- the account --------------------------------------------------------------------------------------------

    @property
    def account(self) -> CreditAccountRow:
        """Its row as it is by now."""
        if self._account is None:
            self._account = self.stored
            self._balances = self._account.balances
        return self._account

    @property
    def stored(self) -> CreditAccountRow:
        """Its row as it was before the record."""
        return self._rows.credit_accounts.get(CREDIT_ACCOUNT + self._key) or CreditAccountRow()

    @property
    def is_used(self) -> bool:
        """Whether the customer has or had credits, or a rule that gives it some."""
        return self._is_known or self._account is not None

    @property
    def is_touched(self) -> bool:
        """Whether there may be something to write."""
        return self._account is not None or bool(self._booked)

    @property
    def balance_change(self) -> tuple[dict[str, int], dict[str, int]] | None:
        """The balances that the record changed, before and after it; None: it changed none."""
        after = self._balances if self._account is None else self._account.balances
        return None if after == self._balances else (self._balances, after)

    def change(self, **values: object) -> None:
        """Change members of the account."""
        self._account = msgspec.structs.replace(self.account, **values)

    # -- grants -------------------------------------------------------------------------------------------------

    def find(self, id: str) -> CreditGrant | None:
        """A grant of the customer, ended ones too."""
        if id not in self._grants:
            row = self._rows.credits.get(CREDIT + self._key + id.encode())
            if row is None:
                return None
            self._grants[id] = decode_grant(row.body)
        return self._grants[id]

    def grant(self, id: str) -> CreditGrant:
        """A grant of the customer. Raises Rejected `not-found`."""
        found = self.find(id)
        if found is None:
            raise Rejected("not-found", f"There is no credit grant with the id {id[:64]}.")
        return found

    def grants(self, currency: str | None = None) -> list[CreditGrant]:
        """The grants that have something left, or whose payment is not settled. currency: None: of all."""
        found = [self.grant(id) for id in self.account.grants]
        return [one for one in found if currency in (None, one.currency)]

    def put(self, grant: CreditGrant) -> None:
        """A grant is new or has changed."""
        if grant.balance < 0:
            raise Broken(f"The grant {grant.id} has {grant.balance} left.")
        self._grants[grant.id] = grant
        self.changed[grant.id] = None
        others = tuple(id for id in self.account.grants if id != grant.id)
        if _is_open(grant) != (grant.id in self.account.grants):
            self.change(grants=(*others, grant.id) if _is_open(grant) else others)

    # -- what no grant covers -----------------------------------------------------------------------------------

    def add_uncovered(self, charges: Sequence[UncoveredCharge]) -> None:
        """No grant covers these."""
        if charges:
            self.change(uncovered=(*self.account.uncovered, *charges))

    def take_uncovered(self, charges: Sequence[UncoveredCharge]) -> None:
        """These amounts are covered or taken back.

        Raises:
            Broken: there is not so much that is not covered.
        """
        before = self.account.uncovered
        after = without(before, charges)
        taken = sum(one.amount for one in before) - sum(one.amount for one in after)
        if taken != sum(one.amount for one in charges):
            raise Broken(
                f"The customer {self.customer} has less that credits do not cover than is taken off."
            )
        if charges:
            self.change(uncovered=after)

    # -- the ledger ---------------------------------------------------------------------------------------------

    def book(
        self,
        kind: str,
        id: str,
        currency: str,
        postings: Sequence[Posting],
        *,
        at_ms: int | None = None,
        name: str = "",
    ) -> None:
        """Book what one cause changes. kind, id: of the cause. at_ms: None: now."""
        when = LedgerTime(self.now_ms if at_ms is None else at_ms, self.now_ms)
        cause = LedgerCause(self.namespace, self.customer, kind, id)
        booked = transaction(cause, currency, when, postings, name)
        if booked is not None:
            self.ledger.append(booked)

    def booked(self, invoice: str) -> InvoiceBookedRow:
        """What an invoice (id) has booked."""
        if invoice not in self._booked:
            row = self._rows.booked.get(BOOKED + self._key + invoice.encode())
            self._booked[invoice] = InvoiceBookedRow() if row is None else row
        return self._booked[invoice]

    def book_invoice(self, kind: str, invoice: str, currency: str, postings: Sequence[Posting]) -> None:
        """Book a step of an invoice."""
        row = self.booked(invoice)
        self.book(kind, invoice, currency, postings)
        self.put_booked(invoice, msgspec.structs.replace(row, postings=merged([*row.postings, *postings])))

    def put_booked(self, invoice: str, row: InvoiceBookedRow) -> None:
        """An invoice has booked something else in all."""
        self._booked[invoice] = row

    # -- writing ------------------------------------------------------------------------------------------------

    def next_ms(self) -> int:
        """When a grant begins or ends next, or a rule may top up again; NEVER_MS: never."""
        instants = [
            at_ms
            for one in self.grants()
            for at_ms in (one.effective_ms, one.expires_ms)
            if at_ms is not None and (at_ms > self.now_ms or at_ms == one.expires_ms)
        ]
        account = self.account
        periods = [one.until_ms for currency, one in account.top_ups.items() if currency in account.rules]
        instants += [at_ms for at_ms in periods if at_ms > self.now_ms]
        return min(instants, default=NEVER_MS)

    def live(self) -> dict[str, int]:
        """What can be used now by currency, in minor units; below 0: what no grant covers."""
        found = {currency: one.live for currency, one in balances(self.grants(), self.now_ms).items()}
        for charge in self.account.uncovered:
            found[charge.currency] = found.get(charge.currency, 0) - charge.amount
        return {currency: amount for currency, amount in sorted(found.items()) if amount}

    def save(self) -> int | None:
        """Write all changes to the rows. Returns when the customer is due for its credits; None: it has none."""
        for id in self.changed:
            body = msgspec.Raw(encode_json(self._grants[id]))
            self._rows.credits.put(
                CREDIT + self._key + id.encode(), DocumentRow(self._offset, self.now_ms, body)
            )
        for id, row in self._booked.items():
            key = BOOKED + self._key + id.encode()
            if (self._rows.booked.get(key) or InvoiceBookedRow()) != row:
                self._rows.booked.put(key, row)
        if not self.is_used:
            return None
        if self.account != self.stored:
            self._rows.credit_accounts.put(CREDIT_ACCOUNT + self._key, self.account)
        return self.next_ms()


def _is_open(grant: CreditGrant) -> bool:
    """Whether a grant has something left that can be used, or is to be paid."""
    is_unpaid = grant.purchase is not None and grant.purchase.payment != "settled"
    return grant.balance > 0 or (is_unpaid and grant.voided_ms is None and not grant.is_expired)
