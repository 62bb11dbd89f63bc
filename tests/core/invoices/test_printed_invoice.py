"""The texts of a page: totals that add up, the status, the parties, who has to pay what until when."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from pipeline.core.invoices.printed_invoice import corrected_invoices, printed_invoice
from pipeline.core.invoices.state_table import STATES
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.invoices.workflow import BillingWorkflow, PaymentSettings
from pipeline.core.values import number
from tests.core.invoices.test_printed_line import read
from tests.fixtures.invoices_to_print import EARLIER, INVOICES, NUMBERS, long, plain, small, stored, voided

EXCLUSIVE = {"small": 1, "long": 2, "credit-note": 1}  # taxes that are added


def unsigned(text: str) -> str:
    return text.replace("€", "").replace("$", "").replace("¥", "")


@pytest.mark.parametrize(("name", "made"), INVOICES.items())
def test_the_rows_below_the_lines_add_up(name: str, made: Callable[[], StoredInvoice]) -> None:
    invoice = made()
    page = printed_invoice(invoice, NUMBERS)
    (total,) = (one for one in page.totals if one.is_total)
    assert read(unsigned(total.amount)) == number.parse(invoice.content.totals.total)
    net = sum(read(line.amount) for line in page.lines)
    taxes = [read(unsigned(one.amount)) for one in page.totals if " tax on " in one.label]
    assert len(taxes) == EXCLUSIVE.get(name, 0)
    assert net + sum(taxes) == number.parse(invoice.content.totals.total)


def test_totals_are_named() -> None:
    shown = [(plain(one.label), plain(one.amount)) for one in printed_invoice(long(), {}).totals]
    assert shown == [
        ("Sum", "€29,057.00"), ("Discounts", "-€3,324.70"), ("Paid by credits", "-€20.00"),
        ("Net total", "€25,712.30"), ("19 % tax on 25,356.30", "€4,817.70"), ("7 % tax on 356.00", "€24.92"),
        ("Total", "€30,554.92"),
    ]  # fmt: skip
    inclusive = [(plain(one.label), plain(one.amount)) for one in printed_invoice(voided(), {}).totals]
    assert inclusive == [("Total", "$6,000.00"), ("of which 20 % tax", "$1,000.00")]


def test_facts_have_the_dates_of_the_zone() -> None:
    shown = {fact.label: plain(fact.value) for fact in printed_invoice(small(), {}).facts}
    assert shown == {
        "Issued": "1 Dec 2026", "Due": "31 Dec 2026", "Period": "1 Nov 2026 - 30 Nov 2026", "Currency": "EUR",
    }  # fmt: skip
    taken_back = stored(
        "voided", (), voided_at="2026-12-05T10:00:00.000Z", metadata={"voidReason": "Sent twice"}
    )
    shown = {fact.label: fact.value for fact in printed_invoice(taken_back, {}).facts}
    assert "Due" not in shown and (shown["Voided"], shown["Reason"]) == ("5 Dec 2026", "Sent twice")


def test_a_credit_note_names_its_invoice() -> None:
    page = printed_invoice(INVOICES["credit-note"](), {})
    assert page.title == "Credit note"
    assert {fact.label: fact.value for fact in page.facts}["Refers to"] == "INV-ACME-40"


def test_parties_have_address_and_tax_id() -> None:
    page = printed_invoice(small(), {})
    assert page.supplier.rows == ("Invalidenstraße 1", "10115 Berlin", "DE", "Tax ID DE123456789")
    assert page.customer.name == "Acme <Research> Ltd"


def test_what_is_no_bill_is_stamped() -> None:
    stamps = {state: printed_invoice(stored(state, ()), {}).stamp for state in STATES}
    assert {state for state, stamp in stamps.items() if stamp} == {
        state for state in STATES if state.startswith(("gathering", "draft.", "issuing.", "delete", "voided"))
    }


def test_how_it_is_paid_is_shown_while_it_is_open() -> None:
    automatic = small()
    assert printed_invoice(automatic, {}).footnotes[1] == "The amount is collected automatically."
    by_hand = BillingWorkflow(payment=PaymentSettings(collection_method="send_invoice"))
    workflow = msgspec.structs.replace(automatic.content.workflow, workflow=by_hand)
    content = msgspec.structs.replace(automatic.content, workflow=workflow)
    sent = msgspec.structs.replace(automatic, content=content)
    assert printed_invoice(sent, {}).footnotes[1] == "Please pay by 31 Dec 2026."
    assert printed_invoice(INVOICES["credit-note"](), {}).footnotes == ("Dates are in Europe/Berlin.",)


def test_issues_are_shown_until_it_is_issued() -> None:
    assert printed_invoice(INVOICES["invalid-draft"](), {}).issues == (
        "The profile enforces a tax and has no rates.",
    )


def test_the_invoices_that_are_corrected_are_known_by_id() -> None:
    assert corrected_invoices(long().content) == [EARLIER]
