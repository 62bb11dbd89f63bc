"""The invoices of one customer while one record is applied.

Owns: reading them, which changed, their numbers, drafts that are rated, closing those that ended. Does not own: the
states (flow), bytes of closed ones (closed_invoices), writing (customer_bills).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pipeline.core.bills.bill_rows import INVOICE, InvoiceDue, InvoiceRow
from pipeline.core.bills.customer_groups import CustomerGroups
from pipeline.core.invoices.invoice import InvoiceContent
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.state_table import FINAL
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.errors import Broken, Rejected
from pipeline.records import NumberWork

_invoice = msgspec.json.Decoder(StoredInvoice).decode


class OpenedInvoice(NamedTuple):
    """An invoice with its row."""

    stored: StoredInvoice
    row: InvoiceRow


class CustomerInvoices(CustomerGroups):
    """The invoices of one customer within one record."""

    def _begin(self) -> None:
        super()._begin()
        self._invoices: dict[str, OpenedInvoice] = {}
        self._closed: dict[str, StoredInvoice] = {}
        self._closing: list[str] = []
        self._before: dict[str, StoredInvoice | None] = {}
        self._rated_lines: dict[str, tuple[InvoiceLine, ...]] = {}
        self.changed_invoices: dict[str, None] = {}
        self.numbers: list[NumberWork] = []

    def find_invoice(self, id: str) -> StoredInvoice | None:
        """An invoice of the customer."""
        if id not in self._invoices:
            row = self._rows.invoices.get(INVOICE + self.key + id.encode())
            if row is None:
                return self._find_closed(id)
            self._invoices[id] = OpenedInvoice(_invoice(row.body), row)
            self._before[id] = self._invoices[id].stored
        return self._invoices[id].stored

    def _find_closed(self, id: str) -> StoredInvoice | None:
        closed = self._closed.get(id) or self._rows.closed.get(self.key, id)
        if closed is not None:
            self._closed[id] = closed
        return closed

    def invoice(self, id: str) -> StoredInvoice:
        """An invoice of the customer. Raises Rejected `not-found`."""
        found = self.find_invoice(id)
        if found is None:
            raise Rejected("not-found", f"There is no invoice with the id {id[:64]}.")
        return found

    def put_invoice(self, stored: StoredInvoice) -> None:
        """An invoice is new or has changed."""
        id = stored.content.id
        known = self._invoices.get(id)
        if stored in (self._closed.get(id), None if known is None else known.stored):
            return
        if id in self._closed:
            raise Broken(f"The invoice {id} is closed and cannot change.")
        lines = self._rated_lines.get(id, () if known is None else known.stored.content.lines)
        if id in self.head.rated and stored.content.lines != lines:
            self._forget_rated(id)
        self._before.setdefault(id, None)
        row = InvoiceRow(0, 0, msgspec.Raw()) if known is None else known.row
        self._invoices[id] = OpenedInvoice(stored, row)
        self.changed_invoices[id] = None

    def note_rated(self, content: InvoiceContent) -> None:
        """A draft is rated: as long as nothing changes what it bills, it does not have to be rated again."""
        ends = [line.period.end_s for line in live_lines(content.lines) if line.is_metered]
        self._rated_lines[content.id] = content.lines
        self.change(rated=self.head.rated | {content.id: max(ends, default=0)})

    def is_rated(self, content: InvoiceContent) -> bool:
        """Whether a rating would leave a draft as it is. The time of a correction is that of its last rating."""
        return content.id in self.head.rated and all(line.corrects is None for line in content.lines)

    def is_closed(self, id: str) -> bool:
        """Whether only the state of an invoice is kept."""
        self.invoice(id)
        return id in self._closed

    def close_ended(self) -> None:
        """Keep only the state of invoices that ended in earlier chunks, once their results are not published again.

        Their documents stay as they were published; nothing can change them any more.
        """
        for id, close_ms in list(self.head.ended.items()):
            row = self._rows.invoices.get(INVOICE + self.key + id.encode())
            is_waiting = close_ms > self.moment.now_ms or id in self.changed_invoices
            if is_waiting or (row is not None and row.revision >= self.moment.first_offset):
                continue
            self.change(ended={one: ms for one, ms in self.head.ended.items() if one != id})
            if row is not None:
                self._closed[id] = _invoice(row.body)
                self._closing.append(id)

    def before(self, id: str) -> StoredInvoice | None:
        """An invoice as it was before the record; None: it is new."""
        return self._before.get(id)

    def groups_of(self, id: str) -> dict[str, str]:
        """The group of each line of an invoice, by the line's id."""
        return {} if self.is_closed(id) else self._invoices[id].row.groups

    def put_groups_of(self, id: str, groups: dict[str, str]) -> None:
        """An invoice has other lines."""
        opened = self._opened(id)
        self._invoices[id] = opened._replace(row=msgspec.structs.replace(opened.row, groups=groups))
        self.changed_invoices[id] = None

    def number_of(self, id: str) -> NumberWork | None:
        """The request for the number of an invoice; None: it was not made."""
        return None if self.is_closed(id) else self._invoices[id].row.number

    def ask_number(self, id: str, request: NumberWork) -> None:
        """An invoice asks for its number."""
        opened = self._opened(id)
        self._invoices[id] = opened._replace(row=msgspec.structs.replace(opened.row, number=request))
        self.changed_invoices[id] = None
        self.numbers.append(request)

    def forget_number(self, id: str) -> None:
        """The request for the number of an invoice was refused: another one may be in another series."""
        opened = self._opened(id)
        self._invoices[id] = opened._replace(row=msgspec.structs.replace(opened.row, number=None))
        self.changed_invoices[id] = None

    def _opened(self, id: str) -> OpenedInvoice:
        opened = self._invoices.get(id)
        if opened is None:
            raise Broken(f"The invoice {id} is closed and cannot change.")
        return opened

    def is_gathering(self, id: str) -> bool:
        """Whether an invoice is a gathering one."""
        return id in self.head.gathering.values()

    def set_due(self, id: str, due: InvoiceDue) -> None:
        """When an invoice moves next by itself. A final one does not."""
        if self.invoice(id).progress.state not in FINAL and self.head.open.get(id) != due:
            self.change(open=self.head.open | {id: due})
