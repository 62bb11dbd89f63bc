"""Bodies of requests about invoices, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: the rules (core.invoices), which decide.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.billing.bodies import WrittenObject
from pipeline.api.catalog.price_bodies import AnyPriceBody, DiscountsBody
from pipeline.api.catalog.rate_card_bodies import TaxConfigBody
from pipeline.api.customers.bodies import Address
from pipeline.api.http.members import InstantText, Metadata, Written

ShortText = Annotated[str, Meta(min_length=1, max_length=256)]
LongText = Annotated[str, Meta(min_length=1, max_length=1024)]
DecimalText = Annotated[int | float | str, Meta(description="a decimal, not negative")]
InvoiceCurrency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217")]
_OLDER = "an older form of the member of `rateCard`, which counts if both are sent"


class InvoicePeriodBody(msgspec.Struct, forbid_unknown_fields=True):
    """[from, to); fractions of a second are left out."""

    from_: InstantText = msgspec.field(name="from")
    to: InstantText


class LineRateCardBody(msgspec.Struct, forbid_unknown_fields=True):
    price: AnyPriceBody
    featureKey: Annotated[str, Meta(description="whose usage is billed")] | UnsetType | None = UNSET
    taxConfig: TaxConfigBody | UnsetType | None = UNSET
    discounts: DiscountsBody | UnsetType | None = UNSET


class _LineMembers(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every line that a client sends has."""

    name: ShortText
    period: InvoicePeriodBody
    invoiceAt: InstantText
    description: LongText | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    currency: Annotated[InvoiceCurrency, Meta(description="that of the invoice")] | UnsetType | None = UNSET
    rateCard: LineRateCardBody | UnsetType | None = UNSET
    price: Annotated[AnyPriceBody, Meta(description=_OLDER)] | UnsetType | None = UNSET
    featureKey: Annotated[str, Meta(description=_OLDER)] | UnsetType | None = UNSET
    taxConfig: Annotated[TaxConfigBody, Meta(description=_OLDER)] | UnsetType | None = UNSET
    discounts: Annotated[DiscountsBody, Meta(description=_OLDER)] | UnsetType | None = UNSET


class PendingLineBody(_LineMembers, forbid_unknown_fields=True, kw_only=True):
    """A line to be billed. `rateCard` or `price` is required."""


class PendingLinesBody(msgspec.Struct, forbid_unknown_fields=True):
    currency: InvoiceCurrency
    lines: Annotated[list[PendingLineBody], Meta(min_length=1, max_length=1000)]


class SimulatedLineBody(_LineMembers, forbid_unknown_fields=True, kw_only=True):
    """A line with a quantity that is made up."""

    quantity: Annotated[DecimalText, Meta(description="metered units; 1 for a fixed fee")]
    preLinePeriodQuantity: (
        Annotated[DecimalText, Meta(description="units of the period that were billed before")]
        | UnsetType
        | None
    ) = UNSET
    id: Annotated[str, Meta(description="a ULID")] | UnsetType | None = UNSET


class SimulationBody(msgspec.Struct, forbid_unknown_fields=True):
    currency: InvoiceCurrency
    lines: Annotated[list[SimulatedLineBody], Meta(min_length=1, max_length=1000)]
    number: Annotated[ShortText, Meta(description="INV-SIMULATED by default")] | UnsetType | None = UNSET


class LineFilterBody(msgspec.Struct, forbid_unknown_fields=True):
    lineIds: (
        Annotated[list[str], Meta(min_length=1, max_length=1000, description="only these lines")]
        | UnsetType
        | None
    ) = UNSET


class InvoiceNowBody(msgspec.Struct, forbid_unknown_fields=True):
    customerId: Annotated[str, Meta(description="id or key")]
    asOf: (
        Annotated[
            InstantText, Meta(description="lines that are due by then; not in the future. Now by default")
        ]
        | UnsetType
        | None
    ) = UNSET
    filters: LineFilterBody | UnsetType | None = UNSET
    progressiveBillingOverride: (
        Annotated[
            bool,
            Meta(
                description="whether lines by usage whose period runs are cut and billed up to now; by default as the "
                "profile has it"
            ),
        ]
        | UnsetType
        | None
    ) = UNSET


class InvoiceTaxIdBody(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, Meta(min_length=1, max_length=32)]


class InvoicePartyBody(msgspec.Struct, forbid_unknown_fields=True):
    key: ShortText | UnsetType | None = UNSET
    name: ShortText | UnsetType | None = UNSET
    taxId: InvoiceTaxIdBody | UnsetType | None = UNSET
    addresses: Annotated[list[Address], Meta(max_length=1)] | UnsetType | None = UNSET


class InvoiceCustomerBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who gets the invoice."""

    name: ShortText
    taxId: InvoiceTaxIdBody | UnsetType | None = UNSET
    addresses: Annotated[list[Address], Meta(max_length=1)] | UnsetType | None = UNSET
    id: Written | UnsetType = UNSET
    key: Written | UnsetType = UNSET
    usageAttribution: WrittenObject | UnsetType = UNSET


class UpdatedLineBody(_LineMembers, forbid_unknown_fields=True, kw_only=True):
    """A line that the invoice shall have. Without `id` it is new."""

    id: str | UnsetType | None = UNSET


class UpdatedInvoicingBody(msgspec.Struct, forbid_unknown_fields=True):
    autoAdvance: bool | UnsetType | None = UNSET
    draftPeriod: str | UnsetType | None = UNSET
    dueAfter: str | UnsetType | None = UNSET
    progressiveBilling: bool | UnsetType | None = UNSET
    subscriptionEndProrationMode: Literal["bill_actual_period", "bill_full_period"] | UnsetType | None = UNSET


class UpdatedPaymentBody(msgspec.Struct, forbid_unknown_fields=True):
    collectionMethod: Literal["charge_automatically", "send_invoice"] | UnsetType | None = UNSET


class UpdatedSettingsBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is absent stays."""

    invoicing: UpdatedInvoicingBody | UnsetType | None = UNSET
    payment: UpdatedPaymentBody | UnsetType | None = UNSET


class UpdatedWorkflowBody(msgspec.Struct, forbid_unknown_fields=True):
    workflow: UpdatedSettingsBody | UnsetType | None = UNSET


class InvoiceUpdateBody(msgspec.Struct, forbid_unknown_fields=True):
    """What of a draft or gathering invoice can be changed. A line that is not sent is deleted."""

    supplier: Annotated[InvoicePartyBody | None, Meta(description="stays where it is absent")] | UnsetType = (
        UNSET
    )
    customer: (
        Annotated[InvoiceCustomerBody | None, Meta(description="stays where it is absent")] | UnsetType
    ) = UNSET
    lines: (
        Annotated[
            Annotated[list[UpdatedLineBody], Meta(max_length=1000)] | None,
            Meta(description="stay where they are absent"),
        ]
        | UnsetType
    ) = UNSET
    workflow: (
        Annotated[UpdatedWorkflowBody | None, Meta(description="stays where it is absent")] | UnsetType
    ) = UNSET
    description: Annotated[LongText | None, Meta(description="absent: none")] | UnsetType = UNSET
    metadata: Annotated[Metadata | None, Meta(description="absent: none")] | UnsetType = UNSET


class DiscardLineBody(msgspec.Struct, tag_field="type", tag="discard", forbid_unknown_fields=True):
    """It is not billed again."""


class PendLineBody(msgspec.Struct, tag_field="type", tag="pending", forbid_unknown_fields=True):
    """It is billed again."""

    nextInvoiceAt: Annotated[InstantText, Meta(description="now by default")] | UnsetType | None = UNSET


class VoidActionBody(msgspec.Struct, forbid_unknown_fields=True):
    percentage: Annotated[
        int | float | str,
        Meta(description="the share that is taken back: 100 in this version"),
    ]
    action: DiscardLineBody | PendLineBody


class VoidOverrideBody(msgspec.Struct, forbid_unknown_fields=True):
    lineId: str
    action: VoidActionBody


class VoidInvoiceBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(min_length=1, max_length=1024)]
    action: Annotated[VoidActionBody, Meta(description="of every line that has none of its own")]
    overrides: Annotated[list[VoidOverrideBody], Meta(max_length=1000)] | UnsetType | None = UNSET


class LineExternalIdBody(msgspec.Struct, forbid_unknown_fields=True):
    lineId: str
    externalId: ShortText


class DiscountExternalIdBody(msgspec.Struct, forbid_unknown_fields=True):
    lineDiscountId: str
    externalId: ShortText


class SyncedDraftBody(msgspec.Struct, forbid_unknown_fields=True):
    invoiceNumber: Annotated[ShortText, Meta(description="that your system gives it")] | UnsetType | None = (
        UNSET
    )
    externalId: ShortText | UnsetType | None = UNSET
    lineExternalIds: Annotated[list[LineExternalIdBody], Meta(max_length=1000)] | UnsetType | None = UNSET
    lineDiscountExternalIds: (
        Annotated[list[DiscountExternalIdBody], Meta(max_length=1000)] | UnsetType | None
    ) = UNSET


class DraftSynchronizedBody(msgspec.Struct, forbid_unknown_fields=True):
    invoicing: SyncedDraftBody | UnsetType | None = UNSET


class SyncedIssueBody(msgspec.Struct, forbid_unknown_fields=True):
    invoiceNumber: (
        Annotated[ShortText, Meta(description="that your system gives it; without one it gets one of ours")]
        | UnsetType
        | None
    ) = UNSET
    sentToCustomerAt: InstantText | UnsetType | None = UNSET


class SyncedPaymentBody(msgspec.Struct, forbid_unknown_fields=True):
    externalId: ShortText | UnsetType | None = UNSET


class IssuingSynchronizedBody(msgspec.Struct, forbid_unknown_fields=True):
    invoicing: SyncedIssueBody | UnsetType | None = UNSET
    payment: SyncedPaymentBody | UnsetType | None = UNSET


class PaymentStatusBody(msgspec.Struct, forbid_unknown_fields=True):
    trigger: Literal[
        "paid", "payment_failed", "payment_uncollectible", "payment_overdue", "action_required", "void"
    ]


AnyBody = dict[str, Any]
