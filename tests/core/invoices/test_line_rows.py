"""Rows of lines: they add up to the invoice, and name what they belong to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from pipeline.core.invoices.line import LinePeriod, LineSubscription, ReferenceId
from pipeline.core.invoices.line_rows import COLUMNS, line_rows
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.values import number
from tests.fixtures.invoices_to_print import EARLIER, INVOICES, long, small, stored

SUMS = {
    "total": "total", "amount": "amount", "discounts_total": "discounts_total", "credits_total": "credits_total",
    "taxes_exclusive_total": "taxes_exclusive_total", "taxes_inclusive_total": "taxes_inclusive_total",
}  # fmt: skip


@pytest.mark.parametrize("made", INVOICES.values(), ids=INVOICES)
def test_rows_add_up_to_the_invoice(made: Callable[[], StoredInvoice]) -> None:
    invoice = made()
    rows = line_rows(invoice)
    for column, member in SUMS.items():
        whole = number.parse(getattr(invoice.content.totals, member))
        assert sum(number.parse(getattr(row, column)) for row in rows) == whole


def test_a_row_names_invoice_line_and_component() -> None:
    first = msgspec.to_builtins(line_rows(small())[0])
    assert tuple(first) == COLUMNS
    assert {name: first[name] for name in ("invoiceNumber", "invoiceStatus", "name", "component", "taxPercent")} == {
        "invoiceNumber": "INV-ACME-41", "invoiceStatus": "payment_processing", "name": "Seats",
        "component": "flat-price", "taxPercent": "19",
    }  # fmt: skip


def test_a_line_without_components_has_a_row_and_a_deleted_one_none() -> None:
    whole = long()
    plain = next(line for line in whole.content.lines if not line.children)
    gone = msgspec.structs.replace(plain, deleted_at=plain.created_at)
    assert [row.component for row in line_rows(stored("paid", (plain, gone)))] == [None]


def test_a_row_names_its_subscription_and_the_line_that_it_corrects() -> None:
    line = small().content.lines[0]
    bills = LineSubscription(
        subscription=ReferenceId("s"),
        phase=ReferenceId("p"),
        item=ReferenceId("i"),
        billing_period=line.period,
    )
    (row,) = line_rows(stored("paid", (msgspec.structs.replace(line, subscription=bills),)))
    assert (row.subscription_id, row.phase_id, row.item_id) == ("s", "p", "i")
    assert LinePeriod(row.from_, row.to) == line.period
    assert {row.corrects_invoice_id for row in line_rows(long())} == {None, EARLIER}
