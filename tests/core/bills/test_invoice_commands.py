"""What clients do with invoices, command by command, and what the law of bookings makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.invoices.invoice import answer_of, shown
from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.core.bills.bill_world import DAY_S, HOUR_S, BillWorld, Definitions, at, lines_of, live
from tests.fixtures.catalog_bodies import Body

FROM, TO = "2026-01-10T00:00:00Z", "2026-01-20T00:00:00Z"
NO_METER = {"price": {"type": "unit", "amount": "1"}, "featureKey": "sso"}
BY_HAND = {"workflow": {"invoicing": {"autoAdvance": False}}}


def usage_line(**more: object) -> Body:
    return {
        "name": "Calls", "period": {"from": FROM, "to": TO}, "invoiceAt": TO,
        "rateCard": {"price": {"type": "unit", "amount": "0.5"}, "featureKey": "tokens"}, **more,
    }  # fmt: skip


def fee_line(amount: str = "10", **more: object) -> Body:
    return {
        "name": "Setup", "period": {"from": FROM, "to": FROM}, "invoiceAt": FROM,
        "price": {"type": "flat", "amount": amount}, **more,
    }  # fmt: skip


def world(app: Body | None = None, **profile: object) -> BillWorld:
    made = BillWorld(Definitions(app=app, profile=profile)) if app is not None or profile else BillWorld()
    made.now_s = at(FROM)
    return made


def pend(found: BillWorld, *lines: Body, currency: str = "EUR") -> Body:
    return found.do("invoice.pending-lines", {"currency": currency, "lines": list(lines)})


def draft(found: BillWorld) -> StoredInvoice:
    """A draft with usage of 40 and a fee."""
    pend(found, usage_line(), fee_line(invoiceAt=TO))
    found.use(at("2026-01-12"), "40")
    found.now_s = at(TO)
    [id] = found.do("invoice.now", {"customerId": found.customer})["created"]
    found.until(at(TO) + HOUR_S)
    return found.invoice(id)


def test_lines_of_a_client_wait_until_they_are_due() -> None:
    found = world()
    reply = pend(found, usage_line())
    again = pend(found, fee_line())
    assert (reply["isInvoiceNew"], again["isInvoiceNew"]) == (True, False)
    assert reply["invoice"] == again["invoice"] and reply["invoices"] == [reply["invoice"]]
    assert [one.id for one in live(found.gathering())] == [*reply["lines"], *again["lines"]]
    assert found.gathering().is_billable
    other = pend(found, fee_line(currency="USD"), currency="USD")
    assert other["invoice"] != reply["invoice"]
    found.use(at("2026-01-10"), "10")
    found.until(at(TO) + DAY_S)
    assert sorted((one.content.currency, lines_of(one)) for one in found.billed()) == [
        ("EUR", [("Calls", "2026-01-10", "5")]),
        ("EUR", [("Setup", "2026-01-10", "10")]),
        ("USD", [("Setup", "2026-01-10", "10")]),
    ]
    assert {one.progress.state for one in found.invoices()} == {"paid", "deleted"}  # the gathering ones ended


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"currency": "EUR", "lines": []}, "invoice_create_no_lines"),
        ({"currency": "EUR", "lines": [usage_line(rateCard=NO_METER)]}, "invoice_line_feature_has_no_meters"),
        ({"currency": "EUR", "lines": [fee_line("0")]}, "invoice_line_zero_amount_create"),
        ({"currency": "EUR", "lines": [fee_line(currency="USD")]}, "invoice_line_currency_mismatch"),
        ({"currency": "XXX", "lines": [fee_line()]}, "bad-currency"),
        ({"lines": [fee_line()]}, "bad-invoice"),
    ],
)  # fmt: skip
def test_a_line_that_is_refused_leaves_nothing(sent: Body, reason: str) -> None:
    assert world().refused("invoice.pending-lines", sent) == reason


def test_a_running_line_is_cut_and_its_parts_bill_what_the_whole_would() -> None:
    found = world()
    tiers = [
        {"upToAmount": "10", "unitPrice": {"type": "unit", "amount": "1"}},
        {"unitPrice": {"type": "unit", "amount": "0.1"}},
    ]
    price = {"type": "tiered", "mode": "graduated", "tiers": tiers, "minimumAmount": "12"}
    pend(found, usage_line(rateCard={"price": price, "featureKey": "tokens"}))
    found.use(at("2026-01-11"), "8")
    found.now_s = at("2026-01-12T00:00:30Z")
    [first] = found.do("invoice.now", {"customerId": found.customer, "asOf": "2026-01-12T00:00:30Z"})[
        "created"
    ]
    found.until(found.now_s + 2 * HOUR_S)
    assert found.invoice(first).content.totals.total == "8"
    found.use(at("2026-01-11T01:00:00Z"), "1")  # late, for the first part
    found.use(at("2026-01-15"), "5")
    found.until(at(TO) + 2 * HOUR_S)
    second = found.billed()[1]
    assert lines_of(second) == [("Calls", "2026-01-12", "3"), ("Calls: correction", "2026-01-10", "1")]
    [part, _] = live(second)
    assert (part.quantity, part.pre_line_period_quantity, [one.name for one in part.children]) == (
        "5", "9", ["Calls: usage price for tier 1", "Calls: usage price for tier 2", "Calls: minimum spend"],
    )  # fmt: skip


def test_what_cannot_be_invoiced_now_is_refused() -> None:
    found = world()
    assert found.refused("invoice.now", {"customerId": found.customer}) == "invoice_lines_not_billable"
    id = pend(found, usage_line())["lines"][0]
    future = {"customerId": found.customer, "asOf": "2026-01-11T00:00:00Z"}
    assert found.refused("invoice.now", future) == "invoice_as_of_in_future"
    named = {"customerId": found.customer, "filters": {"lineIds": [id]}}
    assert found.refused("invoice.now", named) == "invoice_lines_not_billable"
    whole = {"customerId": found.customer, "progressiveBillingOverride": False}
    found.now_s += DAY_S
    assert found.refused("invoice.now", whole) == "invoice_lines_not_billable"
    assert len(found.do("invoice.now", named)["created"]) == 1


def test_a_draft_waits_for_an_approval() -> None:
    found = world(**BY_HAND)
    made = draft(found)
    assert (made.progress.state, made.content.totals.total) == ("draft.manual_approval_needed", "30")
    found.do("invoice.approve", {}, id=made.content.id)
    found.answer_numbers()
    assert found.invoice(made.content.id).progress.state == "paid"
    assert found.refused("invoice.approve", {}, id=made.content.id) == "invoice_action_not_available"
    assert found.refused("invoice.advance", {}, id=made.content.id) == "invoice_cannot_advance"
    assert found.refused("invoice.approve", {}, id="01X") == "not-found"


def test_late_usage_changes_a_draft_that_waits_for_an_approval() -> None:
    found = world(**BY_HAND)
    made = draft(found)
    found.use(at("2026-01-13"), "2")
    found.tick()
    again = found.invoice(made.content.id)
    assert (again.progress.state, again.content.totals.total) == ("draft.manual_approval_needed", "31")


def test_a_draft_that_is_deleted_is_not_billed_again() -> None:
    found = world(**BY_HAND)
    made = draft(found)
    found.do("invoice.delete", {}, id=made.content.id)
    gone = found.invoice(made.content.id)
    assert (gone.progress.state, live(gone)) == ("deleted", []) and gone.content.deleted_at
    found.use(at("2026-01-13"), "2")
    found.until(found.now_s + 60 * DAY_S)
    assert [one.content.id for one in found.billed()] == [made.content.id]
    assert found.refused("invoice.delete", {}, id=pend(found, usage_line())["invoice"]) == (
        "invoice_cannot_delete_gathering"
    )


def test_an_edit_replaces_lines_and_the_sum_follows() -> None:
    found = world(**BY_HAND)
    made = draft(found)
    calls, setup = live(made)
    sent = {
        "description": "For you", "metadata": {"a": "b"},
        "lines": [
            {**usage_line(rateCard={"price": {"type": "unit", "amount": "2"}, "featureKey": "tokens"}), "id": calls.id},
            {**fee_line("7"), "name": "New"},
        ],
    }  # fmt: skip
    found.do("invoice.update", sent, id=made.content.id)
    again = found.invoice(made.content.id)
    assert [(one.name, one.totals.total, one.managed_by) for one in live(again)] == [
        ("Calls", "80", "manual"),
        ("New", "7", "manual"),
    ]
    assert again.content.totals.total == "87" and again.content.description == "For you"
    assert next(one for one in again.content.lines if one.id == setup.id).deleted_at is not None
    found.do("invoice.approve", {}, id=made.content.id)
    found.answer_numbers()
    found.use(at("2026-01-13"), "1")
    found.until(found.now_s + 3 * DAY_S)
    assert [one.content.totals.total for one in found.billed()] == ["87", "2"]
    assert found.refused("invoice.update", sent, id=made.content.id) == "invoice_cannot_be_edited"


def test_an_edit_that_sends_everything_back_changes_no_amount() -> None:
    found = world(**BY_HAND)
    made = draft(found)
    answer = shown(answer_of(made.content, made.progress, found.now_s))
    names = ("description", "metadata", "supplier", "customer", "lines")
    found.do("invoice.update", {name: answer[name] for name in names if name in answer}, id=made.content.id)
    again = found.invoice(made.content.id)
    assert (again.content.lines, again.content.totals) == (made.content.lines, made.content.totals)


def test_usage_is_snapshotted_before_the_grace_time_is_over() -> None:
    found = world()
    pend(found, usage_line())
    found.use(at("2026-01-12"), "40")
    found.now_s = at(TO)
    [id] = found.do("invoice.now", {"customerId": found.customer})["created"]
    assert found.invoice(id).progress.state == "draft.waiting_for_collection"
    found.do("invoice.snapshot", {}, id=id)
    assert found.invoice(id).progress.state == "draft.waiting_auto_approval"
    found.until(found.now_s + HOUR_S)
    assert (found.invoice(id).progress.state, found.invoice(id).content.totals.total) == ("paid", "20")
    assert found.invoice(id).content.quantity_snapshotted_at is not None


@pytest.mark.parametrize("then", ["discard", "pending"])
def test_a_void_invoice_is_given_up_or_billed_again(then: str) -> None:
    found = world(app={"enableDraftSyncHook": False, "enableIssuingSyncHook": False})
    made = draft(found)
    found.answer_numbers()
    id = made.content.id
    assert found.invoice(id).progress.state == "payment_processing.pending"
    whole: Body = {"percentage": 100, "action": {"type": then}}
    found.do("invoice.void", {"reason": "wrong", "action": whole}, id=id)
    void = found.invoice(id)
    assert void.progress.state == "voided" and void.content.voided_at and void.progress.number
    found.use(at("2026-01-13"), "2")
    found.until(found.now_s + 3 * DAY_S)
    totals = [one.content.totals.total for one in found.billed()]
    assert totals == (["30", "1"] if then == "discard" else ["30", "31"])
    part = {"percentage": 50, "action": {"type": "discard"}}
    last = found.billed()[1].content.id
    assert (
        found.refused("invoice.void", {"reason": "r", "action": part}, id=last)
        == "invoice_void_share_not_supported"
    )


def test_a_client_with_its_own_invoicing_calls_back() -> None:
    found = world(app={"enableDraftSyncHook": True, "enableIssuingSyncHook": True})
    made = draft(found)
    id, line = made.content.id, live(made)[0].id
    assert found.invoice(id).progress.state == "draft.syncing"
    assert found.refused("invoice.issuing-synchronized", {}, id=id) == "invoice_action_not_available"
    ids = {"externalId": "ext", "lineExternalIds": [{"lineId": line, "externalId": "l1"}]}
    found.do("invoice.draft-synchronized", {"invoicing": ids}, id=id)
    assert found.invoice(id).progress.state == "issuing.syncing"
    found.do(
        "invoice.issuing-synchronized",
        {"invoicing": {"invoiceNumber": "OWN-1"}, "payment": {"externalId": "p"}},
        id=id,
    )
    issued = found.invoice(id)
    assert (issued.progress.state, issued.progress.number) == ("payment_processing.pending", "OWN-1")
    external = issued.content.external_ids
    assert external is not None and (external.invoicing, external.payment) == ("ext", "p")
    assert live(issued)[0].external_ids is not None
    found.do("invoice.payment-status", {"trigger": "payment_failed"}, id=id)
    assert found.invoice(id).progress.state == "payment_processing.failed"
    found.do("invoice.retry", {}, id=id)
    found.do("invoice.payment-status", {"trigger": "paid"}, id=id)
    assert found.invoice(id).progress.state == "paid"
    assert found.published.numbers == {}  # no number of ours was used


def test_an_unpaid_invoice_becomes_overdue_and_is_given_up() -> None:
    dunning = {
        "steps": [{"after": "P3D", "action": "notify"}],
        "giveUpAfter": "P10D",
        "then": "uncollectible",
    }
    found = world(
        app={"enableDraftSyncHook": False, "enableIssuingSyncHook": False},
        workflow={"dunning": dunning, "invoicing": {"dueAfter": "P5D"}},
    )
    made = draft(found)
    found.answer_numbers()
    id, due_s = made.content.id, at(TO) + HOUR_S + 5 * DAY_S
    states: list[tuple[str, int]] = []
    for day in (0, 3, 10):
        found.until(due_s + day * DAY_S)
        states.append((found.invoice(id).progress.state, found.invoice(id).dunning_made))
    assert states == [("overdue", 0), ("overdue", 1), ("uncollectible", 2)]


def test_taxes_are_computed_again_by_the_rates_that_the_profile_has_now() -> None:
    found = world(**BY_HAND)
    made = draft(found)
    log = found.definitions.log
    id = made.content.workflow.source_billing_profile_id
    body: dict[str, Any] = {
        "id": id,
        "name": "Plain",
        "supplier": {},
        "default": True,
        "workflow": BY_HAND["workflow"],
    }
    log.do("billing-profile.update", {**body, "taxRates": [{"code": "default", "percent": "10"}]})
    found.definitions.read()
    found.do("invoice.recalculate-tax", {}, id=made.content.id)
    again = found.invoice(made.content.id)
    assert (again.content.totals.taxes_total, again.content.totals.total) == ("3", "33")
    assert again.progress.state == "draft.manual_approval_needed"


def test_a_command_that_is_sent_again_under_its_key_is_done_once() -> None:
    found = world()
    sent = {"currency": "EUR", "lines": [fee_line()]}
    first = found.send("invoice.pending-lines", sent, command="key-1", request="r1")
    again = found.send("invoice.pending-lines", sent, command="key-1", request="r1")
    assert (again.body, again.repeated, again.error) == (first.body, True, "")
    assert len(live(found.gathering())) == 1
    assert (
        found.send("invoice.pending-lines", sent, command="key-1", request="r2").error
        == "idempotency-key-reused"
    )
    found.now_s += DAY_S
    found.tick()
    assert found.send("invoice.pending-lines", sent, command="key-1", request="r1").repeated is False


def test_unknown_commands_and_customers_are_refused() -> None:
    found = world()
    assert found.refused("invoice.what", {}) == "bad-command"
    assert found.send("invoice.now", {}, customer="01UNKNOWN").error == "not-found"
