"""Lines of invoices in answers, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (invoice_json, line_export, core.invoices), the rest of
an invoice (answers).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.catalog.price_bodies import AnyPriceBody, DiscountsBody, UnitConfigBody
from pipeline.api.catalog.rate_card_bodies import TaxConfigBody
from pipeline.api.http.members import Instant, Metadata, Ulid

InvoiceAmount = Annotated[str, Meta(description="a decimal, in units of the currency")]
Quantity = Annotated[str, Meta(description="a decimal")]
Percent = Annotated[float, Meta(description="exact: read it as a decimal")]


class InvoicePeriodAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """[from, to)"""

    from_: Instant = msgspec.field(name="from")
    to: Instant


class InvoiceTotalsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """total = amount + chargesTotal + taxesExclusiveTotal - discountsTotal - creditsTotal"""

    amount: InvoiceAmount
    chargesTotal: Annotated[str, Meta(description="what a minimum adds")]
    discountsTotal: InvoiceAmount
    creditsTotal: InvoiceAmount
    taxesInclusiveTotal: Annotated[str, Meta(description="taxes that the amount has in it")]
    taxesExclusiveTotal: Annotated[str, Meta(description="taxes that are added")]
    taxesTotal: InvoiceAmount
    total: InvoiceAmount


class MaximumSpendAnswer(msgspec.Struct, tag_field="type", tag="maximum_spend", forbid_unknown_fields=True):
    """The maximum of the price was reached."""


class PercentageReasonAnswer(
    msgspec.Struct, tag_field="type", tag="ratecard_percentage", forbid_unknown_fields=True
):
    percentage: Percent
    correlationId: Annotated[str, Meta(description="the same on all parts of a line")]


class UsageReasonAnswer(msgspec.Struct, tag_field="type", tag="ratecard_usage", forbid_unknown_fields=True):
    quantity: Annotated[str, Meta(description="units of a period that cost nothing")]
    correlationId: Annotated[str, Meta(description="the same on all parts of a line")]


AnyReason = MaximumSpendAnswer | PercentageReasonAnswer | UsageReasonAnswer


class AmountDiscountAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    reason: AnyReason
    amount: InvoiceAmount
    description: str | UnsetType = UNSET
    externalId: str | UnsetType = UNSET


class QuantityDiscountAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    reason: AnyReason
    quantity: Quantity
    preLinePeriodQuantity: Annotated[str, Meta(description="of earlier parts of the period")] | UnsetType = (
        UNSET
    )
    description: str | UnsetType = UNSET


class LineDiscountsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    amount: list[AmountDiscountAnswer]
    usage: list[QuantityDiscountAnswer]


class CreditAllocationAnswer(msgspec.Struct, forbid_unknown_fields=True):
    amount: InvoiceAmount
    description: str | UnsetType = UNSET
    afterTax: (
        Annotated[bool, Meta(description="it is the credit of a credit note, which pays the tax too")]
        | UnsetType
    ) = UNSET


class LineTaxAnswer(msgspec.Struct, forbid_unknown_fields=True):
    percent: Percent
    behavior: Literal["inclusive", "exclusive"]


class InvoiceReferenceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: Ulid
    number: str


class InvoiceDetailAnswer(
    msgspec.Struct, tag_field="type", tag="flat_fee", forbid_unknown_fields=True, kw_only=True
):
    """One component of a line, such as a tier."""

    id: Ulid
    childReference: Annotated[str, Meta(description="which component; the same after each rating")]
    name: str
    managedBy: Literal["system"]
    status: Literal["detailed"]
    period: InvoicePeriodAnswer
    invoiceAt: Instant
    currency: str
    invoice: InvoiceReferenceAnswer
    quantity: Quantity
    perUnitAmount: InvoiceAmount
    paymentTerm: Literal["in_advance", "in_arrears"]
    category: Annotated[Literal["regular", "commitment"], Meta(description="commitment: a minimum")]
    totals: InvoiceTotalsAnswer
    createdAt: Instant
    updatedAt: Instant
    discounts: LineDiscountsAnswer | UnsetType = UNSET
    creditAllocations: list[CreditAllocationAnswer] | UnsetType = UNSET


class LineRateCardAnswer(msgspec.Struct, forbid_unknown_fields=True):
    price: Annotated[AnyPriceBody | None, Meta(description="null: free")]
    featureKey: str | UnsetType = UNSET
    taxConfig: TaxConfigBody | UnsetType = UNSET
    discounts: DiscountsBody | UnsetType = UNSET
    unitConfig: UnitConfigBody | UnsetType = UNSET


class IdAnswer(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class LineSubscriptionAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What of a subscription the line bills."""

    subscription: IdAnswer
    phase: IdAnswer
    item: IdAnswer
    billingPeriod: InvoicePeriodAnswer


class LineExternalIdsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    invoicing: str | UnsetType = UNSET
    tax: str | UnsetType = UNSET


class LineSplitAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The line is a part of one that is billed while its period runs."""

    group: Ulid
    period: InvoicePeriodAnswer


class LineCorrectsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The issued line whose amount the line changes."""

    invoiceId: Ulid
    lineId: Ulid


class InvoiceLineAnswer(
    msgspec.Struct, tag_field="type", tag="usage_based", forbid_unknown_fields=True, kw_only=True
):
    """A line. Fixed fees have this type too: their price is `flat`."""

    id: Ulid
    name: str
    managedBy: Annotated[
        Literal["subscription", "system", "manual"],
        Meta(description="manual: a client changed it, and its subscription leaves it as it is"),
    ]
    status: Literal["valid", "detailed", "split"]
    period: InvoicePeriodAnswer
    invoiceAt: Instant
    currency: str
    rateCard: LineRateCardAnswer
    price: Annotated[AnyPriceBody | None, Meta(description="that of `rateCard`")]
    totals: InvoiceTotalsAnswer
    createdAt: Instant
    updatedAt: Instant
    invoice: InvoiceReferenceAnswer | UnsetType = UNSET
    deletedAt: Instant | UnsetType = UNSET
    reference: Annotated[str, Meta(description="what it bills, for lines of subscriptions")] | UnsetType = (
        UNSET
    )
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    featureKey: Annotated[str, Meta(description="that of `rateCard`")] | UnsetType = UNSET
    taxConfig: Annotated[TaxConfigBody, Meta(description="that of `rateCard`")] | UnsetType = UNSET
    quantity: Annotated[str, Meta(description="billed units, after free ones")] | UnsetType = UNSET
    meteredQuantity: Annotated[str, Meta(description="units as the meter has them")] | UnsetType = UNSET
    preLinePeriodQuantity: (
        Annotated[str, Meta(description="billed units of earlier parts of the period")] | UnsetType
    ) = UNSET
    meteredPreLinePeriodQuantity: (
        Annotated[str, Meta(description="metered units of earlier parts of the period")] | UnsetType
    ) = UNSET
    discounts: LineDiscountsAnswer | UnsetType = UNSET
    creditAllocations: list[CreditAllocationAnswer] | UnsetType = UNSET
    taxes: list[LineTaxAnswer] | UnsetType = UNSET
    subscription: LineSubscriptionAnswer | UnsetType = UNSET
    externalIds: LineExternalIdsAnswer | UnsetType = UNSET
    children: list[InvoiceDetailAnswer] | UnsetType = UNSET
    split: LineSplitAnswer | UnsetType = UNSET
    corrects: LineCorrectsAnswer | UnsetType = UNSET


class InvoiceLineRowAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """One component of a line; null: there is none. A line without components has one row."""

    invoiceId: Ulid
    invoiceNumber: str
    invoiceType: str
    invoiceStatus: str
    customerId: Ulid
    customerKey: str | None
    currency: str
    lineId: Ulid
    name: str
    description: str | None
    managedBy: str
    featureKey: str | None
    from_: Instant = msgspec.field(name="from")
    to: Instant
    invoiceAt: Instant
    component: Annotated[str | None, Meta(description="which component, as `childReference`")]
    componentName: str | None
    category: str | None
    quantity: str | None
    perUnitAmount: str | None
    amount: InvoiceAmount
    chargesTotal: InvoiceAmount
    discountsTotal: InvoiceAmount
    creditsTotal: InvoiceAmount
    taxPercent: str | None
    taxBehavior: str | None
    taxesInclusiveTotal: InvoiceAmount
    taxesExclusiveTotal: InvoiceAmount
    total: InvoiceAmount
    subscriptionId: str | None
    phaseId: str | None
    itemId: str | None
    correctsInvoiceId: str | None
    correctsLineId: str | None
    externalId: str | None
