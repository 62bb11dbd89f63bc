"""Invoices: sums of lines, snapshots, and the answer that clients see."""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.invoice import (
    InvoiceContent,
    ValidationIssue,
    answer_of,
    has_critical_issue,
    invoice_id,
    shown,
    with_lines,
    workflow_snapshot,
)
from pipeline.core.invoices.line import with_details
from tests.core.invoices.invoices import (
    AT,
    HOUR_S,
    START_S,
    billing_profile,
    content,
    detail,
    flat,
    line,
    period,
    text,
)
from tests.core.invoices.states import NOW_S, in_state


def test_an_invoice_is_the_sum_of_its_live_lines() -> None:
    tokens, seats = line(), flat(period=period(START_S - HOUR_S, START_S + HOUR_S))
    lines = (
        with_details(tokens, (detail(tokens, "usage", "0.1"),)),
        with_details(seats, (detail(seats, "flat-price", "10"),)),
        with_details(line("gone", deleted_at=AT), (detail(seats, "usage", "99"),)),
    )
    invoice = with_lines(content(), lines)
    assert invoice.totals.total == "10.1"
    assert invoice.period == period(START_S - HOUR_S, START_S + 10 * HOUR_S)
    assert with_lines(invoice, ()).period is None
    assert with_lines(invoice, ()).totals.total == "0"


def test_an_invoice_keeps_the_settings_that_it_was_created_with() -> None:
    profile = billing_profile()
    snapshot = workflow_snapshot(profile)
    assert (snapshot.source_billing_profile_id, snapshot.workflow) == (profile.id, profile.workflow)


def test_an_issue_is_critical_by_its_severity() -> None:
    issues = [
        ValidationIssue(id="1", severity=severity, component="openmeter", message="no", created_at=AT)  # type: ignore[arg-type]
        for severity in ("warning", "critical")
    ]
    assert not has_critical_issue(content(validation_issues=(issues[0],)))
    assert has_critical_issue(content(validation_issues=tuple(issues)))


def test_the_answer_has_the_number_once_it_is_known() -> None:
    draft = shown(answer_of(content(), in_state("draft.waiting_auto_approval"), NOW_S))
    assert draft["number"] == "DRAFT-ACME-1"
    assert (draft["status"], draft["draftUntil"], draft["collectionAt"]) == (
        "draft", text(NOW_S + 86_400), text(NOW_S),
    )  # fmt: skip
    assert "issuedAt" not in draft
    issued = in_state("payment_processing.pending", number="INV-ACME-1", issued_at_s=NOW_S, approved=True)
    members = shown(answer_of(with_lines(content(), (line(),)), issued, NOW_S))
    assert (members["number"], members["type"], members["issuedAt"]) == (
        "INV-ACME-1",
        "standard",
        text(NOW_S),
    )
    assert members["dueAt"] == text(NOW_S + 30 * 86_400)
    (only,) = members["lines"]  # type: ignore[misc]
    assert only["invoice"] == {"id": "01INVOICE", "number": "INV-ACME-1"}
    assert members["statusDetails"]["immutable"] is True  # type: ignore[index]


def test_a_stored_invoice_is_read_as_it_was() -> None:
    invoice = with_lines(content(), (line(), flat()))
    assert msgspec.json.decode(msgspec.json.encode(invoice), type=InvoiceContent) == invoice


def test_ids_are_functions_of_the_cause() -> None:
    assert invoice_id(5, "a") == invoice_id(5, "a") != invoice_id(5, "b")
