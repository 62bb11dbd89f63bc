"""An invoice as it would be: lines with quantities that a client makes up, rated, and nothing kept.

Owns: which lines may be sent, the answer, with the taxes of the profile's rates. Does not own: lines without quantities
(pending_line), ratings (rating).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` InvoiceSimulationInput.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.invoices.invoice import (
    InvoiceAnswer,
    InvoiceContent,
    ValidationIssue,
    customer_snapshot,
    has_critical_issue,
    invoice_id,
    with_lines,
    workflow_snapshot,
)
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.numbering import SIMULATED
from pipeline.core.invoices.pending_line import KIND, MOST_LINES, PendingContext, read_pending_lines
from pipeline.core.invoices.profile import BillingProfile
from pipeline.core.invoices.rated_line import rating_terms, with_rating
from pipeline.core.invoices.status_details import AvailableActions, StatusDetails
from pipeline.core.invoices.taxed_lines import NO_TAX_RATE, codes_without_rate, with_taxes
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.invoices.workflow import usual_tax
from pipeline.core.rating.rate import LinePart, rate
from pipeline.core.rating.tariff import tariff_of
from pipeline.core.values import number as numbers
from pipeline.core.values import timestamp, ulid
from pipeline.core.values.currency import digits_of

_SIMULATION: Final = "invoice-simulation"
_OWN: Final = ("id", "quantity", "preLinePeriodQuantity")


def simulate(body: Mapping[str, object], profile: BillingProfile, context: PendingContext) -> InvoiceAnswer:
    """The invoice that a customer would get for some lines.

    Args:
        body: as sent; its currency counts, not that of `context`.
        profile: in force for the customer.
        context: of the lines.

    Raises:
        Rejected: `bad-invoice-simulation`, `bad-currency`, or as for pending lines.
    """
    sent = BodyReader(_SIMULATION, body, ("number", "currency", "lines"))
    currency = sent.required("currency", 3)
    digits_of(currency)
    number = sent.text("number", 256) or SIMULATED
    within = context._replace(currency=currency)
    bodies = sent.objects("lines", 0, MOST_LINES) or []
    pending = read_pending_lines([_without_own(one) for one in bodies], within)
    lines = tuple(_rated(line, bodies[place], place) for place, line in enumerate(pending))
    now = timestamp.text_of(context.now_ms)
    content = InvoiceContent(
        id=invoice_id(context.now_ms, f"simulation/{context.command_id}"),
        type="standard",
        number=number,
        currency=currency,
        supplier=profile.supplier,
        customer=customer_snapshot(context.customer),
        totals=InvoiceTotals(),
        workflow=workflow_snapshot(profile),
        validation_issues=_issues(profile, lines, now),
        created_at=now,
        updated_at=now,
    )
    usual = usual_tax(profile.workflow)
    taxed = with_taxes(lines, profile.tax_rates, currency, usual) if profile.workflow.tax.enabled else lines
    return _answer(with_lines(content, taxed))


def _answer(content: InvoiceContent) -> InvoiceAnswer:
    """It does not exist, so it has no actions."""
    failed = has_critical_issue(content)
    details = StatusDetails(
        immutable=False,
        failed=failed,
        extended_status="draft.invalid" if failed else "draft.created",
        available_actions=AvailableActions(),
    )
    members = {name: getattr(content, name) for name in InvoiceContent.__struct_fields__}
    return InvoiceAnswer(**members, status="draft", status_details=details)


def _rated(line: InvoiceLine, body: Mapping[str, object], place: int) -> InvoiceLine:
    sent = {name: body[name] for name in _OWN if name in body}
    own = BodyReader(KIND, sent, _OWN, inside=f"lines[{place}]")
    usage_atto, pre_atto = own.at_least_zero("quantity"), own.at_least_zero("preLinePeriodQuantity") or 0
    if usage_atto is None and line.is_metered:
        own.refuse(f"{own.kind} quantity is required")
    if not line.is_metered and (usage_atto not in (None, numbers.SCALE) or pre_atto):
        own.refuse(f"{own.kind} quantity must be 1 for a fixed amount, and preLinePeriodQuantity absent")
    id = own.text("id", 26)
    if id is not None and not ulid.is_ulid(id):
        own.refuse(f"{own.kind} id must be a ULID")
    line = msgspec.structs.replace(line, id=id or line.id)
    terms = rating_terms(line)
    if terms is None:
        return line
    tariff = tariff_of(terms)
    before = rate(tariff, LinePart(pre_atto, last=False)).total if pre_atto else 0
    part = LinePart(usage_atto or 0, pre_atto, first=not pre_atto, booked=before)
    return with_rating(line, part, rate(tariff, part))


def _without_own(body: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if name not in _OWN}


def _issues(profile: BillingProfile, lines: tuple[InvoiceLine, ...], now: str) -> tuple[ValidationIssue, ...]:
    """An enforced tax for which there is no rate keeps an invoice from being issued."""
    without = codes_without_rate(lines, profile.tax_rates, usual_tax(profile.workflow))
    if not profile.workflow.tax.enforced or not without:
        return ()
    return (
        ValidationIssue(
            id=ulid.make(0, "simulation/tax"),
            severity="critical",
            code="invoice_tax_not_available",
            component="openmeter",
            message=NO_TAX_RATE.format(", ".join(without)),
            created_at=now,
        ),
    )
