"""Answers about invoices, as OpenAPI shows them.

Owns: members, forms, meaning. Does not own: how they are made (invoice_json, core.invoices), settings of a workflow
(api.billing.workflow_answers), lines (line_answers).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipeline.api.billing.profile_answers import PartyTaxIdAnswer
from pipeline.api.billing.workflow_answers import WorkflowAnswer, WorkflowAppsAnswer, WorkflowTaxRateAnswer
from pipeline.api.customers.bodies import Address, UsageAttributionBody
from pipeline.api.http.members import Instant, Metadata, Ulid, page_of
from pipeline.api.invoices.line_answers import InvoiceLineAnswer, InvoicePeriodAnswer, InvoiceTotalsAnswer

ExtendedStatus = Annotated[str, Meta(description="a state, as `draft.waiting_for_collection`")]


class ResultingStateAnswer(msgspec.Struct, forbid_unknown_fields=True):
    resultingState: Annotated[
        str, Meta(description="the state in which the invoice waits next if every step succeeds")
    ]


class NoDetailsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """It has no members."""


class AvailableActionsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What the state allows now. An action that is absent is refused."""

    advance: ResultingStateAnswer | UnsetType = UNSET
    approve: ResultingStateAnswer | UnsetType = UNSET
    delete: ResultingStateAnswer | UnsetType = UNSET
    retry: ResultingStateAnswer | UnsetType = UNSET
    snapshotQuantities: ResultingStateAnswer | UnsetType = UNSET
    void: ResultingStateAnswer | UnsetType = UNSET
    invoice: NoDetailsAnswer | UnsetType = UNSET


class StatusDetailsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    immutable: Annotated[bool, Meta(description="what it bills is fixed")]
    failed: Annotated[bool, Meta(description="it needs a retry")]
    extendedStatus: ExtendedStatus
    availableActions: AvailableActionsAnswer


class InvoiceSupplierAnswer(msgspec.Struct, forbid_unknown_fields=True):
    key: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    taxId: PartyTaxIdAnswer | UnsetType = UNSET
    addresses: list[Address] | UnsetType = UNSET


class InvoiceCustomerAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """As it was when the invoice was created."""

    id: Ulid
    name: str
    usageAttribution: UsageAttributionBody
    key: str | UnsetType = UNSET
    taxId: PartyTaxIdAnswer | UnsetType = UNSET
    addresses: list[Address] | UnsetType = UNSET


class InvoiceWorkflowAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The settings with which the invoice was created, whatever its profile is now."""

    apps: WorkflowAppsAnswer
    sourceBillingProfileId: Ulid
    workflow: WorkflowAnswer
    taxRates: list[WorkflowTaxRateAnswer] | UnsetType = UNSET


class ValidationIssueAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """What is wrong with an invoice; a critical issue keeps it from being issued."""

    id: Ulid
    severity: Literal["critical", "warning"]
    component: str
    message: str
    createdAt: Instant
    code: str | UnsetType = UNSET
    field: Annotated[str, Meta(description="JSONPath")] | UnsetType = UNSET


class InvoiceExternalIdsAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """The ids of the invoice in apps."""

    invoicing: str | UnsetType = UNSET
    tax: str | UnsetType = UNSET
    payment: str | UnsetType = UNSET


class PrecedingInvoiceAnswer(
    msgspec.Struct, tag_field="type", tag="credit_note_original_invoice", forbid_unknown_fields=True
):
    """The invoice that a credit note takes back."""

    url: str
    issuedAt: Instant | UnsetType = UNSET
    number: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class InvoiceCreditNoteAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """A credit note as its invoice names it."""

    id: Ulid
    total: Annotated[str, Meta(description="what it takes back, with taxes; a decimal")]
    number: str | UnsetType = UNSET


class BilledInvoiceAnswer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An invoice; one with the status `gathering` holds lines that are not invoiced yet."""

    id: Ulid
    type: Literal["standard", "credit_note"]
    number: Annotated[
        str, Meta(description="of its series once it is issued; of a draft it is another, without a count")
    ]
    currency: str
    status: Annotated[str, Meta(description="the part of `extendedStatus` before the dot")]
    statusDetails: StatusDetailsAnswer
    supplier: InvoiceSupplierAnswer
    customer: InvoiceCustomerAnswer
    totals: InvoiceTotalsAnswer
    workflow: InvoiceWorkflowAnswer
    createdAt: Instant
    updatedAt: Instant
    deletedAt: Instant | UnsetType = UNSET
    period: Annotated[InvoicePeriodAnswer, Meta(description="that covers all lines")] | UnsetType = UNSET
    lines: list[InvoiceLineAnswer] | UnsetType = UNSET
    validationIssues: list[ValidationIssueAnswer] | UnsetType = UNSET
    externalIds: InvoiceExternalIdsAnswer | UnsetType = UNSET
    quantitySnapshotedAt: (
        Annotated[Instant, Meta(description="when its usage was complete, or taken as it was")] | UnsetType
    ) = UNSET
    collectionAt: Annotated[Instant, Meta(description="until then late usage is awaited")] | UnsetType = UNSET
    draftUntil: Annotated[Instant, Meta(description="then it is issued by itself")] | UnsetType = UNSET
    issuedAt: Instant | UnsetType = UNSET
    dueAt: Instant | UnsetType = UNSET
    voidedAt: Instant | UnsetType = UNSET
    sentToCustomerAt: Instant | UnsetType = UNSET
    preceding: list[PrecedingInvoiceAnswer] | UnsetType = UNSET
    settlementMode: (
        Annotated[
            Literal["credit_only"],
            Meta(
                description="it is a statement of what credits pay: nothing is due, and no app and no series of "
                "numbers has it"
            ),
        ]
        | UnsetType
    ) = UNSET
    amountDue: (
        Annotated[
            str,
            Meta(
                description="what is left to pay where credit notes came before the payment; else the total is due"
            ),
        ]
        | UnsetType
    ) = UNSET
    creditNotes: (
        Annotated[
            list[InvoiceCreditNoteAnswer],
            Meta(description="of it, where one invoice is asked for; if it has any"),
        ]
        | UnsetType
    ) = UNSET
    description: str | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


BilledInvoicePage = page_of(BilledInvoiceAnswer)


class PendingLinesAnswer(msgspec.Struct, forbid_unknown_fields=True):
    lines: list[InvoiceLineAnswer]
    invoice: Annotated[BilledInvoiceAnswer, Meta(description="the gathering invoice that holds them")]
    isInvoiceNew: Annotated[bool, Meta(description="the gathering invoice was created for them")]


class PortalInvoiceAnswer(msgspec.Struct, forbid_unknown_fields=True):
    """An issued invoice, as its customer sees it in a list."""

    id: Ulid
    type: Literal["standard", "credit_note"]
    number: str
    currency: str
    status: str
    issuedAt: Instant
    totals: InvoiceTotalsAnswer
    dueAt: Instant | UnsetType = UNSET
    period: InvoicePeriodAnswer | UnsetType = UNSET
    amountDue: (
        Annotated[str, Meta(description="what is left of the total after credit notes")] | UnsetType
    ) = UNSET
    hostedInvoiceUrl: Annotated[str, Meta(description="page of Stripe to pay it")] | UnsetType = UNSET
    invoicePdf: Annotated[str, Meta(description="Stripe's document")] | UnsetType = UNSET


PortalInvoicePage = page_of(PortalInvoiceAnswer)
