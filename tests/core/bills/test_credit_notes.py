"""Credit notes: when corrections become one, what it gives back, what it books."""

from __future__ import annotations

import pytest

from pipeline.core.invoices.credit_note import GRANT, credited_lines, original_id
from pipeline.core.invoices.printed_invoice import printed_invoice
from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.core.bills.bill_world import Definitions, at, lines_of
from tests.core.bills.test_customer_credits import HOOKS, TAXED, CreditWorld, totals

CANCEL = {"timing": "immediate"}


def cancelled(**definitions: object) -> tuple[CreditWorld, StoredInvoice]:
    """A fee of 20 is billed for January, and the subscription ends on the second: nothing follows."""
    world = CreditWorld(Definitions(app=HOOKS, **definitions))  # type: ignore[arg-type]
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    return world, note_of(world)


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


def test_a_credit_note_changes_no_tax() -> None:
    world, note = cancelled(profile=TAXED)
    assert note.content.totals.total == "-19.35"
    made = world.charge("25")
    assert totals(made) == ("19.35", "6.22")  # 10 % on 5.65
    world.check()
    assert world.accounts()["tax_payable"] == "2.57"  # 10 % on 0.65 and 25, which were used


def test_what_credits_paid_returns_to_them_first() -> None:
    world = CreditWorld(Definitions(app=HOOKS))
    grant = world.grant("5")
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
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
    world.use(at("2026-01-01") + 60, "100")
    world.until(at("2026-01-06"))
    assert lines_of(note_of(world))[0][2] == "-49"
    world.use(at("2026-01-01") + 60, "5000")
    world.until(at("2026-01-08"))
    assert totals(world.billed()[-1]) == ("49", "0")
    world.check()
