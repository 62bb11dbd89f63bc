"""Taking back: the whole, a share, lines that are billed again; shares add up to what was billed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices.line import InvoiceLine, LineCorrects, with_details
from pipeline.core.invoices.totals import InvoiceTotals
from pipeline.core.invoices.voiding import VoidAction, VoidPlan, VoidRequest, plan_void, read_void
from pipeline.core.values.number import SCALE
from pipeline.errors import Rejected
from tests.core.invoices.invoices import AT, START_S, detail, flat, line, text

NOW_MS = START_S * 1000 + 7
DISCARD = {"percentage": 100, "action": {"type": "discard"}}
PENDING = {"percentage": 100, "action": {"type": "pending", "nextInvoiceAt": text(START_S + 60)}}


def billed(name: str, amount: str) -> InvoiceLine:
    of = line(name)
    return with_details(of, (detail(of, "usage", amount),))


A, B = billed("a", "10"), billed("b", "0.05")


def plan(body: dict[str, object], credited: dict[str, int] | None = None) -> VoidPlan:
    return plan_void(
        [A, B, line("gone", deleted_at=AT)], read_void({"reason": "no", **body}), credited or {}, NOW_MS
    )


def test_all_of_every_line_voids_the_invoice() -> None:
    assert plan({"action": DISCARD}) == VoidPlan(True, (), ())


def test_pending_lines_are_billed_again_without_their_rating() -> None:
    found = plan({"action": PENDING})
    assert found.is_whole
    assert [one.name for one in found.pending] == ["a", "b"]
    (first, _) = found.pending
    assert (first.invoice_at, first.children, first.totals) == (text(START_S + 60), (), InvoiceTotals())
    assert first.id != A.id
    assert plan({"action": PENDING}) == found
    at_once = plan({"action": {"percentage": 100, "action": {"type": "pending"}}})
    assert at_once.pending[0].invoice_at == text(START_S)


def test_a_correction_that_is_billed_again_keeps_what_it_bills() -> None:
    correction = msgspec.structs.replace(
        A, quantity="3", corrects=LineCorrects(invoice_id="01FIRST", line_id="01LINE")
    )
    [again] = plan_void([correction], read_void({"reason": "no", "action": PENDING}), {}, NOW_MS).pending
    assert (again.totals.total, again.quantity) == ("10", "3")
    assert again.children[0].id != correction.children[0].id


def test_a_share_makes_a_credit_note() -> None:
    found = plan({"action": {"percentage": 50, "action": {"type": "discard"}}})
    assert (found.is_whole, found.pending) == (False, ())
    assert [(one.line_id, one.amount) for one in found.credit] == [(A.id, 500), (B.id, 3)]


def test_an_override_is_for_its_line() -> None:
    none = {"percentage": 0, "action": {"type": "discard"}}
    found = plan({"action": none, "overrides": [{"lineId": B.id, "action": PENDING}]})
    assert [(one.line_id, one.amount) for one in found.credit] == [(B.id, 5)]
    assert [one.name for one in found.pending] == ["b"]
    assert plan({"action": DISCARD, "overrides": None}).is_whole


@given(shares=st.lists(st.integers(1, 40), min_size=1, max_size=10), cents=st.integers(-2000, 2000))
def test_shares_add_up_to_the_line(shares: list[int], cents: int) -> None:
    of = msgspec.structs.replace(
        A, totals=InvoiceTotals(total=f"{cents // 100}" if cents % 100 == 0 else _text(cents))
    )
    before, taken = 0, 0
    for share in [*shares, 100]:
        part = min(share, 100 - before)
        if not part:
            break
        request = VoidRequest("no", VoidAction(part * SCALE, "discard"), {})
        (one,) = plan_void([of], request, {of.id: before * SCALE}, NOW_MS).credit
        before, taken = before + part, taken + one.amount
        assert abs(taken) <= abs(cents)
    assert (before, taken) == (100, cents)


def _text(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"


def test_codes() -> None:
    half = {"percentage": 50, "action": {"type": "discard"}}
    for body, credited, code in [
        (
            {"action": DISCARD, "overrides": [{"lineId": "x", "action": DISCARD}]},
            {},
            "invoice_line_not_found",
        ),
        ({"action": half}, {A.id: 51 * SCALE}, "invoice_void_exceeds_line"),
        ({"action": {"percentage": 0, "action": {"type": "discard"}}}, {}, "invoice_void_without_effect"),
    ]:
        with pytest.raises(Rejected) as refused:
            plan(body, credited)
        assert refused.value.reason == code
    assert not plan({"action": half}, {A.id: 50 * SCALE}).is_whole


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": ""},
        {"action": {}},
        {"action": {"percentage": 100}},
        {"action": {"percentage": 101, "action": {"type": "discard"}}},
        {"action": {"percentage": -1, "action": {"type": "discard"}}},
        {"action": {"percentage": 50, "action": {"type": "pending"}}},
        {"action": {"percentage": 100, "action": {"type": "forget"}}},
        {"action": {"percentage": 100, "action": {"type": "discard", "nextInvoiceAt": AT}}},
        {"action": DISCARD, "overrides": [{"lineId": "a"}]},
        {"action": DISCARD, "overrides": [{"lineId": "a", "action": DISCARD}] * 2},
    ],
)
def test_what_is_no_request_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(Rejected) as refused:
        read_void({"reason": "no", **body} if body else body)
    assert refused.value.reason == "bad-void-invoice"


def test_a_fee_is_taken_back_without_its_tax() -> None:
    totals = InvoiceTotals(amount="10", taxes_exclusive_total="2", taxes_total="2", total="12")
    taxed = msgspec.structs.replace(flat(), totals=totals)
    request = VoidRequest("no", VoidAction(50 * SCALE, "discard"), {})
    (one,) = plan_void([taxed], request, {}, NOW_MS).credit
    assert one.amount == 500
