"""An invoice as it is kept is read back as it was."""

from __future__ import annotations

import msgspec

from pipeline.core.invoices.invoice import with_lines
from pipeline.core.invoices.stored_invoice import StoredInvoice
from tests.core.invoices.invoices import content, flat, line
from tests.core.invoices.states import in_state


def test_a_stored_invoice_is_read_as_it_was() -> None:
    for state in ("gathering", "draft.waiting_auto_approval", "paid"):
        stored = StoredInvoice(
            content=with_lines(content(), (line(), flat())),
            progress=in_state(state),
            dunning_made=2,
            is_billable=state == "gathering",
        )
        assert msgspec.json.decode(msgspec.json.encode(stored), type=StoredInvoice) == stored
