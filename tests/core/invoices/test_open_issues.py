"""Issues of invoices that are not issued."""

from __future__ import annotations

from pipeline.core.bills.issues import issue, with_issues
from pipeline.core.invoices.open_issues import OpenIssue, open_issues
from pipeline.core.values import timestamp
from tests.core.bills.bill_world import BillWorld, at
from tests.core.bills.invoices_made import draft


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
