"""Credit notes: when corrections become one, what it gives back, what it books."""

from __future__ import annotations

import pytest

from pipeline.core.invoices.credit_note import GRANT, credited_lines, original_id
from pipeline.core.invoices.numbering import Numbering, series_of
from pipeline.core.invoices.open_issues import open_issues
from pipeline.core.invoices.printed_invoice import printed_invoice
from pipeline.core.invoices.stored_invoice import StoredInvoice, stored_answer
from pipeline.core.values import money, number
from tests.core.bills.bill_world import DAY_S, NAMESPACE, ONE_PHASE, Definitions, at, lines_of
from tests.core.bills.test_customer_credits import HOOKS, TAXED, CreditWorld, totals
from tests.fixtures.catalog_bodies import FEE

PHASE = ONE_PHASE["phases"][0]
CANCEL = {"timing": "immediate"}


def cancelled(**definitions: object) -> tuple[CreditWorld, StoredInvoice]:
    """A fee of 20 is billed for January and paid; the subscription ends on the second: nothing follows."""
    world = CreditWorld(Definitions(app=HOOKS, **definitions))  # type: ignore[arg-type]
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    pay(world)
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    return world, note_of(world)


def pay(world: CreditWorld) -> None:
    """Every invoice that is issued and not paid is paid."""
    for one in world.billed():
        if one.progress.state == "payment_processing.pending":
            world.do("invoice.payment-status", {"trigger": "paid"}, id=one.content.id)


def note_of(world: CreditWorld) -> StoredInvoice:
    (found,) = [one for one in world.billed() if one.content.type == "credit_note"]
    return found


def test_a_correction_that_nothing_follows_is_a_credit_note() -> None:
    world, note = cancelled()
    assert (note.progress.number, note.progress.state) == ("CN-CU0-1", "paid")
    assert lines_of(note) == [("Base fee: correction", "2026-01-02", "-19.35")]
    assert [one.amount for one in credited_lines(note.content)] == [1935]
    first = world.billed()[0]
    assert original_id(note.content) == first.content.id
    assert note.content.preceding[0].number == first.progress.number
    (grant,) = world.grants()
    assert (grant.id, grant.balance, grant.source) == (
        (note.content.metadata or {})[GRANT],
        1935,
        "credit_note",
    )
    assert [one for one in world.invoices() if one.progress.state == "gathering"] == []
    assert printed_invoice(note, {first.content.id: "INV-1"}).title == "Credit note"
    world.check()
    assert world.accounts()["earnings"] == "0.65"


def test_the_next_invoice_burns_what_a_credit_note_gave() -> None:
    world, _ = cancelled()
    made = world.charge("25")
    assert totals(made) == ("19.35", "5.65")
    world.check()
    assert world.accounts()["earnings"] == "25.65"


def test_a_credit_note_has_the_tax_of_what_it_corrects() -> None:
    world, note = cancelled(profile=TAXED)
    assert (note.content.totals.taxes_total, note.content.totals.total) == ("-1.94", "-21.29")
    (grant,) = world.grants()
    assert (grant.balance, grant.after_tax) == (2129, True)
    assert world.accounts()["tax_payable"] == "0.06"  # 10 % of 0.65, as the invoice had 2 in all
    made = world.charge("25")
    assert totals(made) == ("21.29", "6.21")  # 25 and 2.50, less what was given back
    assert made.content.totals.taxes_total == "2.5"
    (allocated,) = made.content.lines[0].children[0].credit_allocations
    assert (allocated.amount, allocated.after_tax) == ("21.29", True)
    shown = {one.label: one.amount for one in printed_invoice(made, {}).totals}
    assert (shown["Net total"], shown["Paid by credit notes"]) == ("\u20ac25.00", "\N{MINUS SIGN}\u20ac21.29")
    world.check()
    assert world.accounts()["tax_payable"] == "2.56"


def test_the_credit_of_a_credit_note_pays_taxes_too() -> None:
    world, _ = cancelled(profile=TAXED)
    grant = world.grant("4")
    made = world.charge("23")  # 4 is paid before the tax, 19 and 1.90 of it after
    assert totals(made) == ("24.9", "0")
    assert made.content.totals.taxes_total == "1.9"
    assert world.granted(grant).balance == 0
    assert world.live() == 2129 - 2090
    world.check()


@pytest.mark.parametrize("behavior", ["exclusive", "inclusive"])
def test_the_taxes_of_all_credit_notes_are_that_of_the_invoice(behavior: str) -> None:
    """33 % of 0.05, three times, is 0.05 and not three times 0.02."""
    rates = {"taxRates": [{"code": "default", "percent": 33, "behavior": behavior}]}
    world = CreditWorld(Definitions(app=HOOKS, profile={**rates, "workflow": {"tax": {"enabled": True}}}))
    id = world.subscribe(timing="immediate")
    world.use(at("2026-01-01") + 60, "15")
    world.until(at("2026-01-02"))
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-03"))
    pay(world)
    for left in ("10", "5", "0"):
        world.use(at("2026-01-01") + 60, left)
        world.until(world.now_s + DAY_S)
    notes = [one.content for one in world.billed() if one.content.type == "credit_note"]
    taxes = [number.exact(one.totals.taxes_total) for one in notes]
    nets = [number.exact(one.totals.total) - number.exact(one.totals.taxes_exclusive_total) for one in notes]
    net = money.minor(-sum(nets), 2)
    factor, divisor = (33, 133) if behavior == "inclusive" else (33, 100)
    assert len(notes) == 4  # one of the fee
    assert money.minor(-sum(taxes), 2) == money.rounded(net * factor, divisor)
    world.check()


def test_what_credits_paid_returns_to_them_first() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    grant = world.grant("5")
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    pay(world)
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    note = note_of(world)
    assert totals(note) == ("-5", "-14.35")
    assert [one.amount for one in credited_lines(note.content)] == [1935]
    assert {one.id: one.balance for one in world.grants()} == {
        grant: 500,
        (note.content.metadata or {})[GRANT]: 1435,
    }
    world.check()


def test_a_correction_waits_for_the_next_invoice_and_is_a_note_if_that_is_lower() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "5000")
    world.until(at("2026-02-02"))
    pay(world)
    world.use(at("2026-01-03"), "1000")
    world.until(at("2026-02-20"))
    assert all(one.content.type == "standard" for one in world.billed())
    world.until(at("2026-03-03"))
    assert lines_of(note_of(world)) == [("Tokens: correction", "2026-01-01", "-40")]
    (last,) = [one for one in world.billed()[-2:] if one.content.type == "standard"]
    assert totals(last) == ("20", "0")
    assert world.live() == 2000
    world.check()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("void", "invoice_action_not_available"), ("delete", "invoice_action_not_available"),
     ("update", "invoice_cannot_be_edited")],
)  # fmt: skip
def test_a_credit_note_cannot_be_changed(kind: str, reason: str) -> None:
    world, note = cancelled()
    assert world.refused(f"invoice.{kind}", {}, id=note.content.id) == reason


def test_a_credit_note_whose_reason_is_gone_is_billed_again() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    id = world.subscribe(timing="immediate")
    world.use(at("2026-01-01") + 60, "5000")
    world.until(at("2026-01-02"))
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    pay(world)
    world.use(at("2026-01-01") + 60, "100")
    world.until(at("2026-01-06"))
    assert lines_of(note_of(world))[0][2] == "-49"
    world.use(at("2026-01-01") + 60, "5000")
    world.until(at("2026-01-08"))
    assert totals(world.billed()[-1]) == ("49", "0")
    world.check()


def test_a_free_subscription_does_not_keep_a_correction_waiting() -> None:
    """No line follows that costs anything, so the correction becomes a credit note and does not wait for ever."""
    free = {**ONE_PHASE, "key": "free", "phases": [{**PHASE, "rateCards": [{**FEE, "price": None}]}]}
    definitions = Definitions(app=HOOKS)
    made = definitions.log.do("plan.create", free)
    definitions.log.do("plan.publish", {"id": made["id"]})
    definitions.read()
    world = CreditWorld(definitions)
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    world.do("subscription.change", {"plan": {"key": "free"}, "timing": "immediate"}, id=id)
    world.until(at("2026-01-04"))
    assert lines_of(note_of(world)) == [("Base fee: correction", "2026-01-02", "-19.35")]
    assert [one for one in world.invoices() if one.progress.state == "gathering"] == []
    world.check()


def test_a_number_that_is_refused_is_shown_and_asked_for_again() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    world.lasts |= dict.fromkeys(_series(world), 10**25)
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    note = note_of(world)
    assert note.progress.state == "issuing.failed"
    assert [one.code for one in note.content.validation_issues] == ["number_series_is_full"]
    assert stored_answer(note, world.now_s).status_details.available_actions.retry is not None
    world.lasts.clear()
    world.do("invoice.retry", id=note.content.id)
    world.answer_numbers()
    note = note_of(world)
    assert (note.progress.number, note.progress.state) == ("CN-CU0-1", "paid")
    assert note.content.validation_issues == ()
    assert world.refused("invoice.retry", {}, id=note.content.id) == "invoice_action_not_available"


def _series(world: CreditWorld) -> list[str]:
    """The series of the credit notes that the world will have."""
    profile = world.billed()[0].content.workflow.source_billing_profile_id
    return [series_of(NAMESPACE, "credit_note", Numbering(), world.customer, profile)]


def cut_and_cancelled(credits: str | None = None) -> CreditWorld:
    """Tokens of 50 are billed in mid-period, 30 of them are taken back in the next part, and nothing follows."""
    world = CreditWorld(Definitions(app=HOOKS))
    if credits is not None:
        world.grant(credits, filters={"features": ["tokens"]})
    id = world.subscribe(timing="immediate")
    world.use(at("2026-01-03"), "5000")
    world.until(at("2026-01-05"))
    world.do("invoice.now", {"customerId": world.customer})
    world.until(at("2026-01-06"))
    pay(world)
    world.use(at("2026-01-07"), "-3000")
    world.until(at("2026-01-08"))
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-10"))
    return world


def test_the_part_of_a_line_that_is_below_zero_is_a_credit_note_if_nothing_follows() -> None:
    world = cut_and_cancelled()
    notes = [one for one in world.billed() if one.content.type == "credit_note"]
    assert sorted(line for one in notes for line in lines_of(one)) == [
        ("Base fee: correction", "2026-01-08", "-15.48"),
        ("Tokens", "2026-01-05", "-30"),
    ]
    assert [one for one in world.invoices() if one.progress.state == "gathering"] == []
    assert world.live() == 4548
    world.check()
    world.use(at("2026-01-07"), "0")
    world.until(at("2026-01-12"))
    assert totals(world.billed()[-1]) == ("30", "0")
    assert world.live() == 1548
    world.check()


def test_the_part_of_a_line_that_is_below_zero_gives_back_the_credits_that_had_paid() -> None:
    world = cut_and_cancelled("40")
    assert {one.source: one.balance for one in world.grants()} == {"given": 3000, "credit_note": 1548}
    assert world.accounts()["wash"] == "-30"  # 20 and the rest of 50
    world.check()


def test_an_invoice_whose_number_is_refused_shows_why_and_may_ask_again() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    world.lasts["default/INV/namespace"] = 10**25
    world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    (made,) = world.billed()
    assert made.progress.state == "issuing.failed"
    assert [one.code for one in made.content.validation_issues] == ["number_series_is_full"]
    assert [one.code for one in open_issues(NAMESPACE, made)] == ["number_series_is_full"]
    world.lasts.clear()
    world.do("invoice.retry", id=made.content.id)
    world.answer_numbers()
    (made,) = world.billed()
    assert (made.progress.number, made.progress.state) == ("INV-CU0-1", "payment_processing.pending")
    assert made.content.validation_issues == ()
    world.check()
