"""Each difference between our invoices and Stripe's has its name; equal ones have none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.invoices.invoice import InvoiceExternalIds, ValidationIssue
from pipeline.core.invoices.state_table import InvoiceState
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.stripe_invoice_drift import INVOICE_CAUSES, compare_invoices
from pipeline.core.invoices.totals import InvoiceTotals
from tests.core.invoices.invoices import content
from tests.core.invoices.states import in_state

APP = "app"


def ours(state: InvoiceState = "payment_processing.pending", **changed: Any) -> StoredInvoice:
    made = content(totals=InvoiceTotals(total="5"), external_ids=InvoiceExternalIds(invoicing="in_1"))
    progress = in_state(state, number="INV-1", number_requested=True)
    return StoredInvoice(content=msgspec.structs.replace(made, **changed), progress=progress)


def voided(*issues: ValidationIssue) -> StoredInvoice:
    """Stripe was asked to void it, and has not done so."""
    return msgspec.structs.replace(ours("voided", validation_issues=issues), awaits_void=True)


REFUSED = ValidationIssue(id="01ISSUE", severity="critical", message="No.", component="stripe", created_at="")
LATE = msgspec.structs.replace(REFUSED, severity="warning", component="billing")


def theirs(**changed: Any) -> dict[str, Any]:
    metadata = {"tm_invoice_id": "01INVOICE", "tm_app_id": APP, "tm_customer_id": "01CUSTOMER"}
    return {"id": "in_1", "status": "open", "total": 500, "number": "INV-1", "metadata": metadata} | changed


FOREIGN = {"tm_invoice_id": "01OTHER", "tm_app_id": APP, "tm_customer_id": "01CUSTOMER"}
PLANTED = {
    "pending": ([ours("issuing.syncing")], [], ("issuing.syncing", "")),
    "failed": ([ours("issuing.failed")], [], ("issuing.failed", "")),
    "missing": ([ours()], [], ("payment_processing.pending", "")),
    "doubled": ([ours()], [theirs(), theirs(id="in_2")], ("1", "2")),
    "total": ([ours()], [theirs(total=499)], ("5", "4.99")),
    "changed": ([ours()], [theirs(number="X-1")], ("INV-1", "X-1")),
    "not_voided": ([voided(LATE, REFUSED)], [theirs(status="paid")], ("voided", "paid")),
    "reported": ([ours()], [theirs(status="paid")], ("payment_processing.pending", "paid")),
    "foreign": ([ours()], [theirs(), theirs(id="in_9", metadata=FOREIGN)], ("", "open")),
}  # fmt: skip


def test_every_cause_is_planted() -> None:
    assert set(PLANTED) == set(INVOICE_CAUSES)


@pytest.mark.parametrize("cause", PLANTED)
def test_a_difference_that_is_planted_is_named(cause: str) -> None:
    mine, other, values = PLANTED[cause]
    (found,) = compare_invoices(APP, mine, other)
    assert (found.cause, found.ours, found.stripe) == (cause, *values)


@pytest.mark.parametrize(
    ("state", "status"),
    [("paid", "open"), ("voided", "open"), ("voided", "paid"), ("overdue", "draft"), ("overdue", "void")],
)
def test_a_state_that_was_changed_by_hand_is_named(state: InvoiceState, status: str) -> None:
    (found,) = compare_invoices(APP, [ours(state)], [theirs(status=status)])
    assert (found.cause, found.ours, found.stripe) == ("changed", state, status)


def test_a_void_that_stripe_has_not_answered_is_pending() -> None:
    (found,) = compare_invoices(APP, [voided(LATE)], [theirs()])
    assert (found.cause, found.ours, found.stripe) == ("pending", "voided", "open")


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ([ours()], [theirs()]),
        ([ours("paid")], [theirs(status="paid")]),
        ([ours("voided")], [theirs(status="void")]),
        ([voided(REFUSED)], [theirs(status="void")]),
        ([ours("voided")], [theirs(status="paid", post_payment_credit_notes_amount=500)]),
        ([ours("uncollectible")], [theirs(status="uncollectible")]),
        ([ours("overdue")], [theirs()]),
        ([ours("draft.waiting_auto_approval")], []),
        ([ours("voided", external_ids=None)], []),
        ([ours("deleted")], []),
        ([], [theirs(metadata={})]),
        ([], [theirs(metadata=FOREIGN | {"tm_app_id": "01B"})]),
    ],
)
def test_what_is_equal_or_not_ours_is_no_difference(mine: list[StoredInvoice], other: list[Any]) -> None:
    assert compare_invoices(APP, mine, other) == []
