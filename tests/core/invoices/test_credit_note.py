"""What is read of a credit note, and its number."""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.credit_note import (
    LOWERED,
    credited,
    credited_lines,
    credited_total,
    granted_amount,
    numbered,
    original_id,
)
from pipeline.core.invoices.invoice import answer_of
from tests.fixtures.invoices_to_print import EARLIER, INVOICES, NOW_S, small


def test_a_number_ends_a_credit_note_once() -> None:
    made = INVOICES["credit-note"]()
    progress = msgspec.structs.replace(
        made.progress, state="issuing.syncing", waiting=("request_number",), number=None
    )
    waiting = msgspec.structs.replace(made, progress=progress)
    found = numbered(waiting, "CN-ACME-7", NOW_S + 9)
    assert (found.progress.number, found.progress.state, found.progress.waiting) == ("CN-ACME-7", "paid", ())
    assert found.progress.sequence == progress.sequence + 1
    assert numbered(found, "CN-ACME-8", NOW_S + 10) == found


def test_its_lines_give_back_what_they_take_off() -> None:
    note = INVOICES["credit-note"]()
    assert [one.amount for one in credited_lines(note.content)] == [6000]
    assert credited_total(note.content) == "71.4"
    assert credited(note.content) == (7140, 1140, 0, 0, 7140)
    assert granted_amount(note.content) == 7140
    lowered = msgspec.structs.replace(note.content, metadata={LOWERED: "50.4"})
    assert credited(lowered) == (7140, 1140, 0, 5040, 2100)
    assert original_id(note.content) == EARLIER
    assert original_id(small().content) == ""


def test_nothing_can_be_done_with_it() -> None:
    note = INVOICES["credit-note"]()
    progress = msgspec.structs.replace(note.progress, state="issuing.syncing", waiting=("request_number",))
    actions = answer_of(note.content, progress, NOW_S).status_details.available_actions
    assert msgspec.to_builtins(actions) == {}
