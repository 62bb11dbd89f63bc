"""Which parts of an invoice are shown."""

from __future__ import annotations

import msgspec

from pipeline.api.invoices.invoice_json import InvoiceJson, InvoicePart, invoice_json, read_invoice
from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.fixtures.invoices_to_print import INVOICES, NOW_S, gathering, long, small


def app_of(id: str) -> InvoiceJson:
    return {"id": id, "type": "sandbox"}


def of(stored: StoredInvoice, *expand: InvoicePart, deleted_lines: bool = False) -> InvoiceJson:
    again = read_invoice(msgspec.json.encode(stored))
    assert again == stored
    return invoice_json(again, NOW_S, expand, app_of, deleted_lines)


def test_only_parts_that_are_asked_for_are_shown() -> None:
    note = INVOICES["credit-note"]()
    assert {"lines", "preceding"} & of(note).keys() == set()
    assert {"lines", "preceding"} & of(note, "lines").keys() == {"lines"}
    assert of(note, "preceding")["preceding"][0]["number"] == "INV-ACME-40"
    assert of(note)["totals"] == of(note, "lines")["totals"]


def test_apps_are_named_or_shown() -> None:
    assert of(small())["workflow"]["apps"]["tax"] == {"id": "app"}
    assert of(small(), "workflow.apps")["workflow"]["apps"]["payment"] == {"id": "app", "type": "sandbox"}


def test_lines_name_their_invoice_and_price() -> None:
    seats, tokens = of(small(), "lines")["lines"]
    assert (seats["type"], seats["invoice"]["number"]) == ("usage_based", "INV-ACME-41")
    assert (tokens["price"], tokens["price"]) == (
        tokens["rateCard"]["price"],
        {"type": "unit", "amount": "0.000012"},
    )
    (child,) = tokens["children"]
    assert (child["type"], child["status"], child["invoiceAt"]) == (
        "flat_fee",
        "detailed",
        tokens["invoiceAt"],
    )


def test_deleted_lines_are_shown_if_they_are_asked_for() -> None:
    stored = small()
    first, second = stored.content.lines
    gone = msgspec.structs.replace(first, deleted_at=first.updated_at)
    content = msgspec.structs.replace(stored.content, lines=(gone, second))
    changed = msgspec.structs.replace(stored, content=content)
    assert [line["id"] for line in of(changed, "lines")["lines"]] == [second.id]
    assert len(of(changed, "lines", deleted_lines=True)["lines"]) == 2


def test_what_may_be_done_is_shown() -> None:
    assert set(of(small())["statusDetails"]["availableActions"]) == {"void"}
    waiting = msgspec.structs.replace(gathering(), is_billable=True)
    assert set(of(waiting)["statusDetails"]["availableActions"]) == {"invoice"}
    assert of(waiting)["number"] == "GATHER-ACME-7WZ9X8ZQ"


def test_percentages_are_numbers() -> None:
    lines = of(long(), "lines")["lines"]
    assert bytes(msgspec.json.encode(lines[1]["taxes"])) == b'[{"percent":19,"behavior":"exclusive"}]'
    discount = lines[1]["children"][0]["discounts"]["amount"][0]
    assert bytes(msgspec.json.encode(discount["reason"]["percentage"])) == b"12.5"
