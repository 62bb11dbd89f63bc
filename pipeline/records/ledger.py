"""The ledger: who holds which credits, who owes what, and what was earned."""

from __future__ import annotations

from typing import Literal

import msgspec

LedgerAccount = Literal[
    "customer_fbo",
    "customer_receivable",
    "customer_accrued",
    "wash",
    "earnings",
    "breakage",
    "promotion",
    "adjustments",
    "bad_debt",
    "tax_payable",
]


class LedgerEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a transaction changes in one account. amount: signed plain decimal text, in major units."""

    account: LedgerAccount
    amount: str
    grant: str = ""  # id of the credit grant that the amount belongs to; empty: none
    status: Literal["", "open", "authorized"] = ""  # of a receivable


class LedgerTransaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """`ledger`, key = `id`: entries that sum to zero. It is never changed; a repeated one is the same.

    `id` is a function of (namespace, customer, kind, cause): the same cause never books twice.
    """

    id: str
    namespace: str
    customer: str  # id
    kind: str  # such as "invoice.accrued" or "credit.granted"
    cause: str  # id of the invoice or grant, with the step if there are several
    currency: str
    at_ms: int  # the instant for which it is booked
    created_ms: int  # time of the record in `billing-work` that booked it
    entries: tuple[LedgerEntry, ...]
    name: str = ""
