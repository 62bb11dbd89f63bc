"""Lists of invoices: conditions, bounds that are included, orders."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.invoices.invoice import customer_snapshot, with_lines
from pipeline.core.invoices.invoice_list import (
    INVOICE_ORDERS,
    Between,
    InvoiceHead,
    InvoiceOrder,
    InvoiceSelection,
    head_of,
    listed_invoices,
)
from pipeline.core.invoices.state_table import STATES, InvoiceState
from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.core.invoices.invoices import HOUR_S, START_S, content, customer, line, period, text
from tests.core.invoices.states import in_state

NS = 10**9


def head(id: str, state: InvoiceState = "paid", name: str = "Acme", **changed: object) -> InvoiceHead:
    """The head of an invoice of the customer with this name, which is its id too."""
    issued_at_s = changed.pop("issued_at_s", None)
    start_s = changed.pop("start_s", None)
    who = msgspec.structs.replace(customer_snapshot(customer()), id=name.lower(), name=name)
    whole = content(id=id, customer=who, **changed)
    if start_s is not None:
        assert isinstance(start_s, int)
        whole = with_lines(whole, (line(period=period(start_s, start_s + HOUR_S)),))
    stored = StoredInvoice(content=whole, progress=in_state(state, invoice_id=id, issued_at_s=issued_at_s))
    return head_of(msgspec.json.encode(stored))


def ids(
    heads: list[InvoiceHead], selection: InvoiceSelection = InvoiceSelection(),  # noqa: B008
    by: InvoiceOrder = "createdAt", descending: bool = False,
) -> str:  # fmt: skip
    return "".join(one.id for one in listed_invoices(heads, selection, by, descending))


THREE = [
    head("b", "gathering", "Bolt", created_at=text(START_S), updated_at=text(START_S + 9)),
    head("a", "overdue", "acme", created_at=text(START_S + 1), updated_at=text(START_S + 8),
             issued_at_s=START_S + 5, start_s=START_S - HOUR_S),
    head("c", "draft.invalid", "Zeta", created_at=text(START_S + 2), updated_at=text(START_S + 7),
             issued_at_s=START_S + 4, start_s=START_S),
]  # fmt: skip


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (InvoiceSelection(), "bac"),
        (InvoiceSelection(customers={"acme", "zeta"}), "ac"),
        (InvoiceSelection(statuses={"draft", "gathering"}), "bc"),
        (InvoiceSelection(extended_statuses={"draft.invalid"}), "c"),
        (InvoiceSelection(statuses={"draft"}, extended_statuses={"overdue"}), ""),
        # Bounds are included; an invoice that has no such instant is not selected by them.
        (InvoiceSelection(issued=Between((START_S + 5) * NS)), "a"),
        (InvoiceSelection(issued=Between(None, (START_S + 4) * NS)), "c"),
        (InvoiceSelection(issued=Between((START_S + 4) * NS + 1)), "a"),
        (InvoiceSelection(created=Between(START_S * NS, (START_S + 1) * NS)), "ba"),
        (InvoiceSelection(period_start=Between(START_S * NS)), "c"),
        (InvoiceSelection(period_start=Between(None, START_S * NS - 1)), "a"),
    ],
)
def test_a_condition_selects(selection: InvoiceSelection, found: str) -> None:
    assert ids(THREE, selection) == found


@pytest.mark.parametrize(
    ("by", "found"),
    [("createdAt", "bac"), ("updatedAt", "cab"), ("issuedAt", "bca"), ("periodStart", "bac"), ("status", "cba"),
     ("customer.name", "abc")],
)  # fmt: skip
def test_an_order_holds_both_ways(by: InvoiceOrder, found: str) -> None:
    assert ids(THREE, by=by) == found
    assert ids(THREE, by=by, descending=True) == found[::-1]


def test_every_order_is_tried_and_ties_are_by_id() -> None:
    same = [head(id, created_at=text(START_S), issued_at_s=START_S) for id in "cab"]
    assert {ids(same, by=by) for by in INVOICE_ORDERS} == {"abc"}


def test_deleted_invoices_are_listed_if_they_are_asked_for() -> None:
    heads = [head("a"), head("d", "deleted"), head("e", "deleted", deleted_at=text(START_S))]
    assert ids(heads) == "a"
    assert ids(heads, InvoiceSelection(include_deleted=True)) == "ade"


def test_each_state_is_selected_by_its_own_name() -> None:
    heads = [head(state, state) for state in STATES]
    for state in STATES:
        found = listed_invoices(heads, InvoiceSelection(extended_statuses={state}, include_deleted=True))
        assert [one.progress.state for one in found] == [state]
