"""Bodies of requests about credits, as OpenAPI shows them, with the members of OpenMeter's v3 API.

Owns: members, forms, meaning. Does not own: the rules (core.credits), which decide.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.rate_card_bodies import TaxConfigBody
from pipeline.api.http.members import InstantText, Metadata

CreditAmount = Annotated[
    int | float | str, Meta(description="a decimal in units of the currency, with its decimals at most")
]
CreditCurrency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217")]
CreditPriority = Annotated[int, Meta(ge=1, le=1000, description="lower burns first; 10 by default")]
AvailabilityPolicy = Annotated[
    Literal["on_creation", "on_authorization", "on_settlement"],
    Meta(description="how far its payment has to be before it can be used; on_creation by default"),
]
CostBasis = Annotated[int | float | str, Meta(description="price of one unit of credit; 1 by default")]
CreditDuration = Annotated[
    str, Meta(description="ISO 8601, such as P30D; without it the credits do not expire")
]


class CreditPurchaseBody(msgspec.Struct, forbid_unknown_fields=True):
    currency: (
        Annotated[CreditCurrency, Meta(description="that of the grant: nothing is converted")]
        | UnsetType
        | None
    ) = UNSET
    per_unit_cost_basis: CostBasis | UnsetType | None = UNSET
    availability_policy: AvailabilityPolicy | UnsetType | None = UNSET


class CreditFiltersBody(msgspec.Struct, forbid_unknown_fields=True):
    features: (
        Annotated[list[str], Meta(max_length=100, description="keys: only their lines are paid")]
        | UnsetType
        | None
    ) = UNSET


class CreditGrantBody(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    currency: CreditCurrency
    amount: CreditAmount
    funding_method: (
        Annotated[
            Literal["none", "invoice", "external"],
            Meta(
                description="none, by default: it is given. invoice: an invoice over amount and cost basis sells it. "
                "external: it is paid elsewhere"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    description: Annotated[str, Meta(min_length=1, max_length=1024)] | UnsetType | None = UNSET
    labels: Metadata | UnsetType | None = UNSET
    purchase: CreditPurchaseBody | UnsetType | None = UNSET
    tax_config: Annotated[TaxConfigBody, Meta(description="of the line that sells it")] | UnsetType | None = (
        UNSET
    )
    filters: CreditFiltersBody | UnsetType | None = UNSET
    priority: CreditPriority | UnsetType | None = UNSET
    effective_at: Annotated[InstantText, Meta(description="now by default")] | UnsetType | None = UNSET
    expires_after: CreditDuration | UnsetType | None = UNSET
    key: (
        Annotated[str, Meta(min_length=1, max_length=256, description="of one grant of the customer only")]
        | UnsetType
        | None
    ) = UNSET


class CreditSettlementBody(msgspec.Struct, forbid_unknown_fields=True):
    status: Annotated[Literal["pending", "authorized", "settled"], Meta(description="how far the payment is")]


class CreditAdjustmentBody(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    currency: CreditCurrency
    amount: Annotated[CreditAmount, Meta(description="below 0: credits are taken, in the order of burning")]
    description: Annotated[str, Meta(min_length=1, max_length=1024)] | UnsetType | None = UNSET


class TopUpBody(msgspec.Struct, forbid_unknown_fields=True):
    """When the balance falls to `threshold`, `amount` is added, or what is missing to `target`.

    There is no other top-up until the newest one is paid or its invoice is taken back, and never more than 100 in a
    period.
    """

    threshold: CreditAmount
    amount: CreditAmount
    target: CreditAmount | UnsetType | None = UNSET
    per_unit_cost_basis: CostBasis | UnsetType | None = UNSET
    funding_method: (
        Annotated[Literal["none", "invoice", "external"], Meta(description="invoice by default")]
        | UnsetType
        | None
    ) = UNSET
    availability_policy: AvailabilityPolicy | UnsetType | None = UNSET
    expires_after: CreditDuration | UnsetType | None = UNSET
    priority: CreditPriority | UnsetType | None = UNSET
    max_amount: (
        Annotated[CreditAmount, Meta(description="that the rule adds in one period at most")]
        | UnsetType
        | None
    ) = UNSET
    period: (
        Annotated[str, Meta(description="ISO 8601, from the first top-up in it; P1M by default")]
        | UnsetType
        | None
    ) = UNSET
