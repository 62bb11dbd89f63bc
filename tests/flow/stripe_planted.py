"""Differences between our invoices and Stripe's, planted by hand in a sandbox: drift has to name each of them.

Owns: our invoices as billing would keep them after a run, the planting. Does not own: the run (stripe_bills_run), the
causes (core.invoices.stripe_invoice_drift).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import msgspec

from pipeline.core.billing.stripe_amount import plain_amount
from pipeline.core.invoices.invoice import InvoiceExternalIds, ValidationIssue
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.stripe_invoice_drift import InvoiceDrift, compare_invoices
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.local.stripe_sandbox.invoices import SandboxInvoice, SandboxInvoices
from pipeline.records import StripeInvoiceFact, StripeOrder
from tests.core.invoices.invoices import content
from tests.core.invoices.states import in_state

Ours = dict[str, StoredInvoice]


def stored_of(
    orders: Mapping[str, tuple[str, StripeOrder]], answers: Mapping[str, list[StripeInvoiceFact]]
) -> Ours:
    """Our invoices. orders: customer and order by invoice; answers: to them."""
    found: Ours = {}
    for id, (_, order) in orders.items():
        shown = answers[id][0].found
        made = content(
            id=id,
            currency=order.currency,
            totals=InvoiceTotals(total=plain_amount(order.total, order.currency)),
            external_ids=InvoiceExternalIds(invoicing="" if shown is None else shown.id),
        )
        state = "payment_processing.pending" if order.total else "paid"
        progress = in_state(state, invoice_id=id, number=order.number, number_requested=True)  # type: ignore[arg-type]
        found[id] = StoredInvoice(content=made, progress=progress)
    return found


def unnamed(app: str, ours: Ours, there: SandboxInvoices) -> list[str]:
    """Plant a difference of each cause in some invoices. Returns what drift names wrongly, before and after it."""
    before = compare_invoices(app, ours.values(), _shown(there))
    wrong = [f"before anything is planted: {one}" for one in before]
    unpaid = iter([one for one in ours.values() if one.progress.state != "paid"])
    planted: dict[str, InvoiceDrift] = {}
    for cause, plant in _PLANTS.items():
        stored = next(unpaid)
        named = plant(ours, stored, there)
        planted[named] = cause
    found = {one.invoice: one.cause for one in compare_invoices(app, ours.values(), _shown(there))}
    wrong += [
        f"planted {planted.get(id)} in {id}, and drift names {found.get(id)}"
        for id in planted.keys() | found.keys()
        if planted.get(id) != found.get(id)
    ]
    return wrong


def _shown(there: SandboxInvoices) -> Iterable[dict[str, object]]:
    return [one.json() for one in there.invoices.values()]


def _at_stripe(stored: StoredInvoice, there: SandboxInvoices) -> SandboxInvoice:
    ids = stored.content.external_ids
    assert ids is not None and ids.invoicing is not None
    return there.invoices[ids.invoicing]


def _missing(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    del there.invoices[_at_stripe(stored, there).id]
    return stored.content.id


def _doubled(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    again = dataclasses.replace(_at_stripe(stored, there), id="in_doubled")
    there.invoices[again.id] = again
    return stored.content.id


def _total(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    _at_stripe(stored, there).lines[0].amount += 1
    return stored.content.id


def _changed(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    _at_stripe(stored, there).number = "BY-HAND-1"
    return stored.content.id


def _reported(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    _at_stripe(stored, there).status = "paid"
    return stored.content.id


def _foreign(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    one = _at_stripe(stored, there)
    metadata = one.metadata | {"tm_invoice_id": "01FOREIGN"}
    there.invoices["in_foreign"] = dataclasses.replace(one, id="in_foreign", metadata=metadata)
    return "01FOREIGN"


def _not_voided(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    issue = ValidationIssue(id="01", severity="critical", message="No.", component="stripe", created_at="")
    made = msgspec.structs.replace(stored.content, validation_issues=(issue,))
    ours[stored.content.id] = _voided(msgspec.structs.replace(stored, content=made))
    return stored.content.id


def _pending(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    ours[stored.content.id] = _voided(stored)
    return stored.content.id


def _failed(ours: Ours, stored: StoredInvoice, there: SandboxInvoices) -> str:
    ours[stored.content.id] = _in(stored, "issuing.failed")
    return stored.content.id


def _voided(stored: StoredInvoice) -> StoredInvoice:
    return msgspec.structs.replace(_in(stored, "voided"), awaits_void=True)


def _in(stored: StoredInvoice, state: str) -> StoredInvoice:
    return msgspec.structs.replace(stored, progress=msgspec.structs.replace(stored.progress, state=state))


_PLANTS: dict[InvoiceDrift, Callable[[Ours, StoredInvoice, SandboxInvoices], str]] = {
    "missing": _missing,
    "doubled": _doubled,
    "total": _total,
    "changed": _changed,
    "reported": _reported,
    "foreign": _foreign,
    "not_voided": _not_voided,
    "pending": _pending,
    "failed": _failed,
}

PLANTED = tuple(_PLANTS)
