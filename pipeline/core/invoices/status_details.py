"""The status of an invoice as answers show it: what may be done, and where it leads.

Owns: `statusDetails` and the actions in it. Does not own: the actions themselves (actions).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` InvoiceStatusDetails: `resultingState` is where the
invoice waits next if every effect on the way succeeds.
"""

from __future__ import annotations

import msgspec

from pipeline.core.invoices import machine
from pipeline.core.invoices.progress import EffectAnswer, InvoiceProgress, Step
from pipeline.core.invoices.state_table import (
    FAILED,
    InvoiceState,
    InvoiceTrigger,
    is_immutable,
    short_status,
)


class ActionDetails(msgspec.Struct, frozen=True, rename="camel"):
    """resulting_state: extended status after the action."""

    resulting_state: InvoiceState


class InvoiceNow(msgspec.Struct, frozen=True):
    """The action of a gathering invoice; it has no details."""


class AvailableActions(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The actions that the state allows at this moment."""

    advance: ActionDetails | None = None
    approve: ActionDetails | None = None
    delete: ActionDetails | None = None
    retry: ActionDetails | None = None
    snapshot_quantities: ActionDetails | None = None
    void: ActionDetails | None = None
    invoice: InvoiceNow | None = None


class StatusDetails(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """extended_status: the state. failed: it needs a retry."""

    immutable: bool
    failed: bool
    extended_status: InvoiceState
    available_actions: AvailableActions


def status_of(invoice: InvoiceProgress) -> str:
    """The short status."""
    return short_status(invoice.state)


def details_of(invoice: InvoiceProgress, now_s: int, is_billable: bool = False) -> StatusDetails:
    """The status of an invoice at an instant.

    Args:
        now_s: what waits for an instant is available from then on.
        is_billable: a gathering invoice has a line that can be invoiced.
    """
    return StatusDetails(
        immutable=is_immutable(invoice.state),
        failed=invoice.state in FAILED,
        extended_status=invoice.state,
        available_actions=AvailableActions(
            advance=None if invoice.waiting else _leads_to(invoice, "next", now_s),
            approve=_leads_to(invoice, "approve", now_s),
            delete=_leads_to(invoice, "delete", now_s),
            retry=_leads_to(invoice, "retry", now_s),
            snapshot_quantities=_leads_to(invoice, "snapshot_quantities", now_s),
            void=_leads_to(invoice, "void", now_s),
            invoice=InvoiceNow() if invoice.state == "gathering" and is_billable else None,
        ),
    )


def _leads_to(invoice: InvoiceProgress, trigger: InvoiceTrigger, now_s: int) -> ActionDetails | None:
    """Where a trigger leads if all succeeds, also the validation that failed before."""
    if machine.way_of(invoice, trigger, now_s) is None:
        return None
    valid = msgspec.structs.replace(invoice.terms, is_critical=False)
    step = machine.fire(msgspec.structs.replace(invoice, terms=valid, held=None), trigger, now_s)
    while step is not None and step.invoice.waiting:
        step = _succeed(step, now_s)
    return None if step is None else ActionDetails(step.invoice.state)


def _succeed(step: Step, now_s: int) -> Step:
    effect = step.invoice.waiting[0]
    number = "1" if effect == "request_number" else None
    return machine.answer(
        step.invoice,
        EffectAnswer(sequence=step.invoice.sequence, effect=effect, number=number),
        now_s,
    )
