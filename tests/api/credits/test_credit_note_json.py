"""The JSON of a credit note, and what its invoice says of it."""

from __future__ import annotations

import msgspec

from pipeline.api.credits.credit_note_answers import CreditNoteAnswer
from pipeline.api.credits.credit_note_json import credit_note_json
from tests.core.bills.test_credit_notes import cancelled


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


def test_without_a_number_it_is_not_issued() -> None:
    _, note = cancelled()
    progress = msgspec.structs.replace(note.progress, number=None)
    found = credit_note_json(msgspec.structs.replace(note, progress=progress))
    msgspec.convert(found, CreditNoteAnswer)
    assert found["status"] == "issuing" and "number" not in found
