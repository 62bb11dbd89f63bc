"""The JSON of a credit note, and what its invoice says of it."""

from __future__ import annotations

import msgspec

from pipeline.api.credits.credit_note_answers import CreditNoteAnswer
from pipeline.api.credits.credit_note_json import credit_note_json
from tests.core.bills.bill_world import Definitions, at
from tests.core.bills.test_credit_notes import CANCEL, cancelled, note_of, pay
from tests.core.bills.test_customer_credits import HOOKS, TAXED, CreditWorld
from tests.core.bills.test_lowered_invoice import lowered


def test_amounts_are_those_that_come_back() -> None:
    world, note = cancelled()
    found = credit_note_json(note)
    msgspec.convert(found, CreditNoteAnswer)
    assert (found["number"], found["status"], found["total"]) == ("CN-CU0-1", "issued", "19.35")
    assert found["credit"] == {"grant_id": world.grants()[0].id, "amount": "19.35"}
    assert found["returned_to_credits"] == "0"
    (line,) = found["lines"]
    assert (line["name"], line["amount"]) == ("Base fee: correction", "19.35")
    assert line["corrects"]["invoice_id"] == found["invoice"]["id"] == world.billed()[0].content.id


def test_a_note_has_taxes_and_what_it_took_off_an_unpaid_invoice() -> None:
    _, note = cancelled(profile=TAXED)
    found = credit_note_json(note)
    assert (found["total"], found["tax"], found["credit"]["amount"]) == ("21.29", "1.94", "21.29")
    world, _ = lowered(**TAXED)
    found = credit_note_json(note_of(world))
    msgspec.convert(found, CreditNoteAnswer)
    assert (found["total"], found["taken_off_due"], found.get("credit")) == ("21.29", "21.29", None)


def test_credits_that_had_paid_are_apart() -> None:
    world = CreditWorld(Definitions(app=HOOKS, profile=TAXED))
    world.grant("5")
    id = world.subscribe(timing="immediate")
    world.until(at("2026-01-02"))
    pay(world)
    world.do("subscription.cancel", CANCEL, id=id)
    world.until(at("2026-01-04"))
    found = credit_note_json(note_of(world))
    assert (found["total"], found["tax"], found["returned_to_credits"]) == ("20.79", "1.44", "5")
    assert found["credit"]["amount"] == "15.79"


def test_without_a_number_it_is_not_issued() -> None:
    _, note = cancelled()
    progress = msgspec.structs.replace(note.progress, number=None)
    found = credit_note_json(msgspec.structs.replace(note, progress=progress))
    msgspec.convert(found, CreditNoteAnswer)
    assert found["status"] == "issuing" and "number" not in found
