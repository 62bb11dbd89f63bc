"""Issues of invoices that are open."""

from __future__ import annotations

from typing import Final

import pytest

from pipeline.core.bills.issues import issue, with_issues
from pipeline.core.invoices.invoice import IssueSeverity, ValidationIssue
from pipeline.core.invoices.open_issues import OpenIssue, open_issues
from pipeline.core.invoices.state_table import InvoiceState
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values import timestamp
from tests.core.bills.bill_world import BillWorld, at
from tests.core.bills.invoices_made import draft
from tests.core.invoices.invoices import content
from tests.core.invoices.states import in_state

SEVERITIES: Final[tuple[IssueSeverity, ...]] = ("critical", "warning")


def test_an_invoice_that_is_not_issued_shows_its_issues() -> None:
    world = BillWorld()
    id = draft(world)
    found = issue(id, "critical", "refused", "billing", "It was refused.", 5)
    stored = with_issues(world.invoice(id), "billing", (found,))
    assert open_issues("default", stored) == [
        OpenIssue(
            timestamp.text_of(5), "default", world.customer, id, stored.content.number, "draft", "critical",
            "refused", "It was refused.",
        )
    ]  # fmt: skip
    assert open_issues("default", world.invoice(id)) == []
    world.until(at("2026-01-02"))
    assert world.invoice(id).progress.state == "paid"
    paid = with_issues(world.invoice(id), "billing", (found,))
    assert paid.content.validation_issues == (found,)
    assert open_issues("default", paid) == []


@pytest.mark.parametrize(
    ("state", "awaits_void", "shown"),
    [
        ("issuing.failed", False, ["critical", "warning"]),
        ("payment_processing.failed", False, ["critical"]),
        ("paid", False, []),
        ("voided", False, []),
        ("voided", True, ["critical"]),
        ("delete.failed", False, []),
    ],
)
def test_an_invoice_that_is_issued_shows_what_keeps_it_open(
    state: InvoiceState, awaits_void: bool, shown: list[str]
) -> None:
    issues = tuple(
        ValidationIssue(id=severity, severity=severity, message="No.", component="stripe", created_at="")
        for severity in SEVERITIES
    )
    stored = StoredInvoice(
        content=content(validation_issues=issues), progress=in_state(state), awaits_void=awaits_void
    )
    assert [one.severity for one in open_issues("default", stored)] == shown
