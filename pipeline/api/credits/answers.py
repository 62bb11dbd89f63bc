"""Answers about credits and the ledger, as OpenAPI shows them, with the members of OpenMeter's v3 API.

Owns: members, forms, meaning. Does not own: how they are made (credit_json).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.http.members import Instant, Metadata, Ulid
from pipeline.records import LedgerAccount

CreditMoney = Annotated[str, Meta(description="a decimal, in units of the currency")]


class CreditPageMeta(msgspec.Struct, forbid_unknown_fields=True):
    number: Annotated[int, Meta(ge=1, description="from 1")]
    size: Annotated[int, Meta(ge=1, description="most items of a page")]
    total: Annotated[int, Meta(ge=0, description="items of all pages")]


class CreditListMeta(msgspec.Struct, forbid_unknown_fields=True):
    page: CreditPageMeta


class CreditPurchaseAnswer(msgspec.Struct, forbid_unknown_fields=True):
    currency: str
    amount: Annotated[CreditMoney, Meta(description="what the grant costs")]
    per_unit_cost_basis: str
    availability_policy: Literal["on_creation", "on_authorization", "on_settlement"]
    settlement_status: Literal["pending", "authorized", "settled"]


class CreditFiltersAnswer(msgspec.Struct, forbid_unknown_fields=True):
    features: list[str]


class CreditGrantAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    name: str
    funding_method: Literal["none", "invoice", "external"]
    source: Literal["given", "purchased", "top_up", "adjustment", "credit_note"]
    currency: str
    amount: CreditMoney
    balance: Annotated[
        CreditMoney, Meta(description="what is left; of a running period nothing is taken yet")
    ]
    priority: int
    status: Literal["pending", "active", "expired", "voided"]
    effective_at: Instant
    created_at: Instant
    updated_at: Instant
    description: str | UnsetType = UNSET
    labels: Metadata | UnsetType = UNSET
    key: str | UnsetType = UNSET
    filters: CreditFiltersAnswer | UnsetType = UNSET
    purchase: CreditPurchaseAnswer | UnsetType = UNSET
    expires_at: Instant | UnsetType = UNSET
    voided_at: Instant | UnsetType = UNSET


class CreditGrantList(msgspec.Struct, forbid_unknown_fields=True):
    data: list[CreditGrantAnswer]
    meta: CreditListMeta


class CurrencyBalanceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    currency: str
    live: Annotated[
        CreditMoney,
        Meta(description="can be used; negative: what is settled by credits only and no credits cover yet"),
    ]
    settled: Annotated[CreditMoney, Meta(description="of it: is given, or paid")]
    pending: Annotated[CreditMoney, Meta(description="is granted and cannot be used yet")]


class CreditBalanceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    retrieved_at: Annotated[Instant, Meta(description="the instant of the balance")]
    balances: list[CurrencyBalanceAnswer]


class AvailableBalanceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    before: CreditMoney
    after: CreditMoney


class CreditTransactionAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A transaction of the ledger that changes credits."""

    id: Ulid
    name: str
    type: Literal["funded", "consumed", "returned", "expired", "voided", "adjusted"]
    currency: str
    amount: CreditMoney
    available_balance: Annotated[AvailableBalanceAnswer, Meta(description="all credits of the currency")]
    cause: Annotated[str, Meta(description="id of the invoice or grant")]
    booked_at: Annotated[Instant, Meta(description="the instant for which it is booked")]
    created_at: Instant


class CreditTransactionList(msgspec.Struct, forbid_unknown_fields=True):
    data: list[CreditTransactionAnswer]
    meta: CreditListMeta


class CreditAdjustmentAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    name: str
    currency: str
    amount: CreditMoney


class TopUpAnswer(msgspec.Struct, forbid_unknown_fields=True):
    currency: str
    threshold: CreditMoney
    amount: CreditMoney
    per_unit_cost_basis: str
    funding_method: Literal["none", "invoice", "external"]
    availability_policy: Literal["on_creation", "on_authorization", "on_settlement"]
    priority: int
    period: str
    target: CreditMoney | UnsetType = UNSET
    max_amount: CreditMoney | UnsetType = UNSET
    expires_after: str | UnsetType = UNSET


class AccountBalanceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    account: LedgerAccount
    currency: str
    debit: CreditMoney
    credit: CreditMoney
    balance: Annotated[CreditMoney, Meta(description="credit - debit")]


class TrialBalanceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    ok: Annotated[bool, Meta(description="every transaction sums to zero")]
    at: Instant
    transactions: Annotated[int, Meta(ge=0, description="that are booked")]
    accounts: list[AccountBalanceAnswer]
    differences: Annotated[list[str], Meta(description="sentences on what does not add up")]
