"""Every refusal of a command about invoices has its code, and changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from pipeline.contracts import ROOT
from tests.core.bills.bill_world import BillWorld, at
from tests.core.bills.invoices_made import (
    FLAT,
    JANUARY,
    UNIT,
    draft,
    issued,
    line,
    of_own_system,
    pending,
    sent_lines,
    split_draft,
    unpaid,
)

Refusal = Callable[[BillWorld], str]
DISCARD = {"percentage": 100, "action": {"type": "discard"}}
VOID = {"reason": "r", "action": DISCARD}
CODES: dict[str, list[Refusal]] = {}


def refuses(*codes: str) -> Callable[[Refusal], Refusal]:
    """The function sends what is refused with one of these codes."""

    def kept(refusal: Refusal) -> Refusal:
        for code in codes:
            CODES.setdefault(code, []).append(refusal)
        return refusal

    return kept


@refuses("invoice_create_no_lines")
def no_lines(world: BillWorld) -> str:
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": []})


@refuses("invoice_too_many_lines")
def too_many_lines(world: BillWorld) -> str:
    pending(world, *[line()] * 900)
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": [line()] * 101})


@refuses("invoice_line_feature_has_no_meters")
def no_meter(world: BillWorld) -> str:
    card = {"price": UNIT, "featureKey": "nothing"}
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": [line(rateCard=card)]})


@refuses("invoice_create_ubp_line_customer_has_no_subjects")
def no_subjects(world: BillWorld) -> str:
    id = world.definitions.log.do("customer.create", {"name": "Without"})["id"]
    world.definitions.read()
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": [line(UNIT)]}, customer=id)


@refuses("invoice_create_ubp_line_period_is_empty")
def no_period(world: BillWorld) -> str:
    empty = {"from": JANUARY["from"], "to": "2026-01-01T00:00:00.999Z"}
    sent = {"currency": "EUR", "lines": [line(UNIT, period=empty)]}
    return world.refused("invoice.pending-lines", sent)


@refuses("invoice_line_currency_mismatch")
def other_currency(world: BillWorld) -> str:
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": [line(currency="USD")]})


@refuses("invoice_line_zero_amount_create")
def zero(world: BillWorld) -> str:
    sent = {"currency": "EUR", "lines": [line(rateCard={"price": {**FLAT, "amount": "0"}})]}
    return world.refused("invoice.pending-lines", sent)


@refuses("customer_deleted")
def deleted_customer(world: BillWorld) -> str:
    world.definitions.log.do("customer.delete", {"id": world.customer})
    world.definitions.read()
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": [line()]})


@refuses("invoice_too_many_lines")
def too_many(world: BillWorld) -> str:
    pending(world, *[line()] * 1000)
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": [line()]})


@refuses("bad-currency")
def no_currency(world: BillWorld) -> str:
    return world.refused("invoice.pending-lines", {"currency": "ZZZ", "lines": [line()]})


@refuses("bad-invoice-line")
def unknown_member(world: BillWorld) -> str:
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": [line(zz=1)]})


@refuses("bad-invoice")
def unknown_outer_member(world: BillWorld) -> str:
    return world.refused("invoice.pending-lines", {"currency": "EUR", "lines": [line()], "zz": 1})


@refuses("bad-invoice")
def unknown_member_of_now(world: BillWorld) -> str:
    return world.refused("invoice.now", {"zz": 1})


@refuses("invoice_lines_not_billable")
def nothing_is_due(world: BillWorld) -> str:
    pending(world, line())
    return world.refused("invoice.now", {})


@refuses("invoice_lines_not_billable")
def an_unknown_line(world: BillWorld) -> str:
    pending(world, line(invoiceAt="2026-01-01T00:00:00Z"))
    return world.refused("invoice.now", {"filters": {"lineIds": ["01J0000000000000000000000A"]}})


@refuses("invoice_as_of_in_future")
def in_the_future(world: BillWorld) -> str:
    pending(world, line())
    return world.refused("invoice.now", {"asOf": "2026-01-01T00:00:01Z"})


@refuses("invoice_progressive_billing_not_supported")
def volume_in_parts(world: BillWorld) -> str:
    volume = {"type": "tiered", "mode": "volume", "tiers": [{"unitPrice": UNIT}]}
    (id,) = pending(world, line(volume, invoiceAt="2026-02-01T00:00:00Z"))
    world.now_s = at("2026-01-10")
    return world.refused("invoice.now", {"filters": {"lineIds": [id]}})


@refuses("invoice_cannot_be_edited")
def edit_issued(world: BillWorld) -> str:
    return world.refused("invoice.update", {"description": "d"}, id=issued(world))


@refuses("invoice_cannot_be_edited")
def tax_of_issued(world: BillWorld) -> str:
    return world.refused("invoice.recalculate-tax", {}, id=issued(world))


@refuses("invoice_line_not_found")
def edit_unknown_line(world: BillWorld) -> str:
    id = draft(world)
    lines = [{**sent_lines(world, id)[0], "id": "01J0000000000000000000000A"}]
    return world.refused("invoice.update", {"lines": lines}, id=id)


@refuses("invoice_line_sent_twice")
def edit_line_twice(world: BillWorld) -> str:
    id = draft(world)
    return world.refused("invoice.update", {"lines": sent_lines(world, id) * 2}, id=id)


@refuses("invoice_line_zero_amount_delete_instead")
def edit_to_zero(world: BillWorld) -> str:
    id = draft(world)
    lines = [{**sent_lines(world, id)[0], "rateCard": {"price": {**FLAT, "amount": "0"}}}]
    return world.refused("invoice.update", {"lines": lines}, id=id)


@refuses("invoice_line_no_period_change_for_split_line")
def edit_period_of_part(world: BillWorld) -> str:
    id = split_draft(world)
    lines = [{**sent_lines(world, id)[0], "period": JANUARY}]
    return world.refused("invoice.update", {"lines": lines}, id=id)


@refuses("invoice_line_progressive_billing_usage_discount_update_forbidden")
def edit_discount_of_part(world: BillWorld) -> str:
    id = split_draft(world)
    (one,) = sent_lines(world, id)
    lines = [{**one, "rateCard": {**one["rateCard"], "discounts": {"usage": {"quantity": "5"}}}}]
    return world.refused("invoice.update", {"lines": lines}, id=id)


@refuses("invoice_line_no_period_change_for_subscription_managed_line")
def edit_period_of_subscription(world: BillWorld) -> str:
    world.subscribe()
    stored = world.gathering()
    lines = sent_lines(world, stored.content.id)
    lines[0] = {**lines[0], "period": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}}
    return world.refused("invoice.update", {"lines": lines}, id=stored.content.id)


@refuses("invoice_cannot_delete_gathering")
def delete_gathering(world: BillWorld) -> str:
    pending(world, line())
    return world.refused("invoice.delete", {}, id=world.gathering().content.id)


@refuses("invoice_action_not_available")
def delete_issued(world: BillWorld) -> str:
    return world.refused("invoice.delete", {}, id=issued(world))


@refuses("invoice_action_not_available")
def approve_gathering(world: BillWorld) -> str:
    pending(world, line())
    return world.refused("invoice.approve", {}, id=world.gathering().content.id)


@refuses("invoice_action_not_available")
def retry_what_did_not_fail(world: BillWorld) -> str:
    return world.refused("invoice.retry", {}, id=issued(world))


@refuses("invoice_action_not_available")
def collect_issued(world: BillWorld) -> str:
    return world.refused("invoice.snapshot", {}, id=issued(world))


@refuses("invoice_action_not_available")
def void_paid(world: BillWorld) -> str:
    return world.refused("invoice.void", VOID, id=issued(world))


@refuses("invoice_action_not_available")
def void_gathering(world: BillWorld) -> str:
    pending(world, line())
    return world.refused("invoice.void", VOID, id=world.gathering().content.id)


@refuses("invoice_action_not_available")
def callback_for_sandbox(world: BillWorld) -> str:
    return world.refused("invoice.payment-status", {"trigger": "paid"}, id=issued(world))


@refuses("invoice_cannot_advance")
def advance_gathering(world: BillWorld) -> str:
    pending(world, line())
    return world.refused("invoice.advance", {}, id=world.gathering().content.id)


@refuses("not-found")
def unknown_invoice(world: BillWorld) -> str:
    return world.refused("invoice.approve", {}, id="01J0000000000000000000000A")


@refuses("invoice_total_below_zero")
def below_zero(world: BillWorld) -> str:
    """Usage that was billed is taken back."""
    pending(
        world, line(UNIT, period={**JANUARY, "to": "2026-01-05T00:00:00Z"}, invoiceAt="2026-01-05T00:00:00Z")
    )
    world.use(at("2026-01-02"), "500", subject="c0")
    world.until(at("2026-01-06"))
    world.use(at("2026-01-02"), "100", subject="c0")
    world.tick()
    assert world.gathering().content.totals.total == "-40"
    return world.refused("invoice.now", {})


@refuses("bad-void-invoice")
def void_without_reason(world: BillWorld) -> str:
    return world.refused("invoice.void", {"action": DISCARD}, id=unpaid(world))


@refuses("invoice_line_not_found")
def void_unknown_line(world: BillWorld) -> str:
    overrides = [{"lineId": "01J0000000000000000000000A", "action": DISCARD}]
    return world.refused("invoice.void", {**VOID, "overrides": overrides}, id=unpaid(world))


@refuses("invoice_void_without_effect")
def void_nothing(world: BillWorld) -> str:
    return world.refused("invoice.void", {**VOID, "action": {**DISCARD, "percentage": 0}}, id=unpaid(world))


@refuses("invoice_void_share_not_supported")
def void_half(world: BillWorld) -> str:
    return world.refused("invoice.void", {**VOID, "action": {**DISCARD, "percentage": 50}}, id=unpaid(world))


@refuses("bad-billing-profile")
def edit_to_unknown_settings(world: BillWorld) -> str:
    workflow = {"workflow": {"invoicing": {"dueAfter": "soon"}}}
    return world.refused("invoice.update", {"workflow": workflow}, id=draft(world))


@refuses("bad-custom-invoicing")
def callback_with_unknown_member(world: BillWorld) -> str:
    return world.refused("invoice.draft-synchronized", {"zz": 1}, id=of_own_system(world))


@refuses("invoice_line_not_found")
def callback_for_unknown_line(world: BillWorld) -> str:
    ids = [{"lineId": "01J0000000000000000000000A", "externalId": "x"}]
    sent = {"invoicing": {"lineExternalIds": ids}}
    return world.refused("invoice.draft-synchronized", sent, id=of_own_system(world))


@refuses("invoice_action_not_available")
def callback_in_another_state(world: BillWorld) -> str:
    return world.refused("invoice.issuing-synchronized", {}, id=of_own_system(world))


@refuses("invoice_number_is_fixed")
def another_number(world: BillWorld) -> str:
    id = of_own_system(world)
    world.do("invoice.draft-synchronized", {"invoicing": {"invoiceNumber": "A-1"}}, id=id)
    world.until(at("2026-01-02"))
    assert world.invoice(id).progress.state == "issuing.syncing"
    return world.refused("invoice.issuing-synchronized", {"invoicing": {"invoiceNumber": "A-2"}}, id=id)


@pytest.mark.parametrize(
    ("code", "refusal"), [(code, one) for code, all_of_it in CODES.items() for one in all_of_it],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)  # fmt: skip
def test_a_refusal_has_its_code(code: str, refusal: Refusal) -> None:
    assert refusal(BillWorld()) == code


def test_usage_that_is_not_kept_is_an_issue_of_the_draft() -> None:
    world = BillWorld()
    old = {"from": "2020-01-01T00:00:00Z", "to": "2020-02-01T00:00:00Z"}
    id = draft(world, line(UNIT, period=old, invoiceAt=old["to"]))
    world.now_s += 3600
    world.tick()
    world.settle()
    stored = world.invoice(id)
    assert stored.progress.state == "draft.invalid"
    assert [one.code for one in stored.content.validation_issues] == ["invoice_usage_not_kept"]


# Codes that no command of the stage leads to, and what tests them instead.
PURE = {
    "invoice_has_credit_note": "needs a credit note: tests/core/bills/test_lowered_invoice.py",
    "invoice_has_returned_credits": "needs credits: tests/core/bills/test_customer_credits.py",
    "invoice_line_sells_credits": "needs credits: tests/core/bills/test_grant_payment.py",
    "invoice_line_not_billable_again": "needs a line that is too old: tests/core/bills/test_old_lines.py",
    "invoice_line_delete_invalid_status": "every line that a draft has is valid: tests/core/invoices/test_line_edit.py",
    "invoice_void_exceeds_line": "there are no credit notes yet: tests/core/invoices/test_voiding.py",
    "invoice_line_graduated_split_not_supported": "a simulation: tests/core/invoices/test_simulation.py",
    "invoice_tax_not_available": "an issue of an invoice: tests/core/invoices/test_simulation.py",
    "invoice_usage_not_kept": "an issue of an invoice: see above",
    "invoice_line_needs_events": "an issue of an invoice: tests/core/bills/test_bill_table.py",
}
ISSUES = {"invoice_tax_not_available", "invoice_usage_not_kept"}


def test_every_code_in_the_source_is_refused_here() -> None:
    folders = [ROOT / "pipeline" / "core" / name for name in ("bills", "invoices", "rating")]
    text = "".join(path.read_text("utf-8") for folder in folders for path in folder.glob("*.py"))
    raised = set(re.findall(r'"(invoice_(?!simulation|at")[a-z_]+)"', text))
    assert raised - {"invoice_at"} == {code for code in CODES if code.startswith("invoice_")} | set(PURE)


def test_openapi_lists_every_code() -> None:
    document = json.loads((ROOT / "schemas/openapi.json").read_text("utf-8"))
    listed = set(re.findall(r'"(invoice_[a-z_]+)"', json.dumps(document["paths"])))
    assert {code for code in (*CODES, *PURE) if code.startswith("invoice_")} - listed == ISSUES
