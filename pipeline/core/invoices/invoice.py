"""An invoice, as JSON has it.

Owns: its members, its totals and period as sums of its lines, the answer that clients see. Does not own: its state
(progress), its lines (line), amounts (rating).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` Invoice.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pipeline.core.catalog.plan import SettlementMode
from pipeline.core.customers.customer import BillingAddress, Customer, UsageAttribution
from pipeline.core.invoices import line
from pipeline.core.invoices.line import InvoiceLine, LinePeriod, live_lines, second_of
from pipeline.core.invoices.numbering import NumberedKind
from pipeline.core.invoices.profile import BillingProfile, PartyTaxId, ProfileApps, Supplier
from pipeline.core.invoices.progress import InvoiceProgress
from pipeline.core.invoices.status_details import (
    ActionDetails,
    AvailableActions,
    StatusDetails,
    details_of,
    status_of,
)
from pipeline.core.invoices.totals import InvoiceTotals, summed
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.rating.tax import TaxRate
from pipeline.core.values import money, number, timestamp, ulid
from pipeline.core.values.currency import digits_of

IssueSeverity = Literal["critical", "warning"]


class InvoiceCustomer(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True
):
    """The customer as it was when the invoice was created."""

    id: str
    key: str | None = None
    name: str
    tax_id: PartyTaxId | None = None
    addresses: tuple[BillingAddress, ...] = ()
    usage_attribution: UsageAttribution


class InvoiceWorkflow(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True
):
    """The settings with which the invoice was created, whatever its profile is later."""

    apps: ProfileApps
    source_billing_profile_id: str
    workflow: BillingWorkflow
    tax_rates: tuple[TaxRate, ...] = ()


class ValidationIssue(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True
):
    """What is wrong with an invoice. component: which app or part of ours found it. field: a JSONPath."""

    id: str
    severity: IssueSeverity
    code: str | None = None
    component: str
    field: str | None = None
    message: str
    created_at: str


class InvoiceExternalIds(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The ids of an invoice in apps."""

    invoicing: str | None = None
    tax: str | None = None
    payment: str | None = None


class PrecedingInvoice(
    msgspec.Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    tag_field="type",
    tag="credit_note_original_invoice",
):
    """The invoice that a credit note takes back."""

    issued_at: str | None = None
    number: str | None = None
    url: str
    reason: str | None = None
    description: str | None = None


class InvoiceContent(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """What an invoice bills, beside its state. Instants are RFC 3339 in UTC with milliseconds.

    Attributes:
        settlement_mode: credit_only: it is a statement of what credits pay, by which nothing is due.
        amount_due: what is left of its total after credit notes, if they came before it was paid; None: all.
    """

    id: str
    type: NumberedKind
    number: str
    currency: str
    supplier: Supplier
    customer: InvoiceCustomer
    totals: InvoiceTotals
    workflow: InvoiceWorkflow
    period: LinePeriod | None = None
    lines: tuple[InvoiceLine, ...] = ()
    validation_issues: tuple[ValidationIssue, ...] = ()
    external_ids: InvoiceExternalIds | None = None
    quantity_snapshotted_at: str | None = None
    sent_to_customer_at: str | None = None
    voided_at: str | None = None
    preceding: tuple[PrecedingInvoice, ...] = ()
    settlement_mode: SettlementMode = "credit_then_invoice"
    amount_due: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    created_at: str
    updated_at: str
    deleted_at: str | None = None


class InvoiceAnswer(InvoiceContent, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The whole invoice as clients see it."""

    status: str
    status_details: StatusDetails
    collection_at: str | None = None
    draft_until: str | None = None
    issued_at: str | None = None
    due_at: str | None = None


def invoice_id(created_at_ms: int, cause: str) -> str:
    """The id of an invoice. cause: the customer, the currency and the record that made it."""
    return ulid.make(created_at_ms, f"invoice/{cause}")


def customer_snapshot(customer: Customer) -> InvoiceCustomer:
    """The customer as an invoice keeps it."""
    return InvoiceCustomer(
        id=customer.id,
        key=customer.key,
        name=customer.name,
        addresses=() if customer.billing_address is None else (customer.billing_address,),
        usage_attribution=customer.usage_attribution,
    )


def workflow_snapshot(profile: BillingProfile) -> InvoiceWorkflow:
    """The settings of a profile as an invoice keeps them."""
    return InvoiceWorkflow(apps=profile.apps, source_billing_profile_id=profile.id, workflow=profile.workflow)


def with_lines(content: InvoiceContent, lines: tuple[InvoiceLine, ...]) -> InvoiceContent:
    """The invoice with these lines: its totals are their sum, its period is the one that covers them."""
    live = live_lines(lines)
    period = LinePeriod(
        min((one.period.start for one in live), key=second_of, default=""),
        max((one.period.end for one in live), key=second_of, default=""),
    )
    return msgspec.structs.replace(
        content,
        lines=lines,
        totals=summed(one.totals for one in live),
        period=period if live else None,
    )


def due_of(content: InvoiceContent) -> int:
    """What is due for an issued invoice, in minor units."""
    due = content.totals.total if content.amount_due is None else content.amount_due
    return money.minor(number.exact(due), digits_of(content.currency))


def has_critical_issue(content: InvoiceContent) -> bool:
    """Whether an issue keeps it from being issued."""
    return any(one.severity == "critical" for one in content.validation_issues)


def answer_of(
    content: InvoiceContent,
    progress: InvoiceProgress,
    now_s: int,
    is_billable: bool = False,
    voids_again: bool = False,
) -> InvoiceAnswer:
    """The invoice as clients see it at an instant.

    Args:
        content: its lines are shown as they are.
        progress: its state, its times, its number once it has one.
        is_billable: a gathering invoice has a line that can be invoiced.
        voids_again: its app refused a void, and a retry asks it again.
    """
    members = {name: getattr(content, name) for name in InvoiceContent.__struct_fields__}
    status_details = details_of(progress, now_s, is_billable)
    actions = status_details.available_actions
    if content.type == "credit_note":  # is final, also while it waits for its number
        actions = AvailableActions(
            retry=ActionDetails("paid") if progress.state == "issuing.failed" else None
        )
    if voids_again:
        actions = msgspec.structs.replace(actions, retry=ActionDetails("voided"))
    if content.amount_due is not None:
        actions = msgspec.structs.replace(actions, void=None)
    status_details = msgspec.structs.replace(status_details, available_actions=actions)
    if progress.number is not None:
        members["number"] = progress.number
    return InvoiceAnswer(
        **members,
        status=status_of(progress),
        status_details=status_details,
        collection_at=_text(progress.terms.collection_at_s),
        draft_until=_text(progress.terms.draft_until_s),
        issued_at=_text(progress.issued_at_s),
        due_at=_text(progress.due_at_s),
    )


def shown(answer: InvoiceAnswer) -> dict[str, object]:
    """The JSON of an invoice: each of its lines as `line.shown` has it."""
    members = msgspec.to_builtins(answer)
    reference = {"id": answer.id, "number": answer.number}
    if answer.lines:
        members["lines"] = [line.shown(one) | {"invoice": reference} for one in answer.lines]
    return dict(members)


def _text(at_s: int | None) -> str | None:
    return None if at_s is None else timestamp.text_of(at_s * 1000)
