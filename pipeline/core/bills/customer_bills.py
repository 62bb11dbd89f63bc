"""The bills of one customer while one record is applied: read as needed, written together or not at all.

Owns: reading and writing its rows, which documents changed, when the customer is due next. Does not own: what a record
does to them.

Nothing reaches the rows before `save`, so a command that is refused leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pipeline.core.bills.bill_index import NOT_DUE, BillDue, BillIndex, due_of
from pipeline.core.bills.bill_moment import BillMoment
from pipeline.core.bills.bill_rows import (
    DUE,
    HEAD,
    INVOICE,
    METERED,
    REFERENCES,
    SUBSCRIPTION,
    BillRows,
    CustomerHead,
    DocumentRow,
    InvoiceDue,
    InvoiceRow,
    MeteredLine,
    MeteredRow,
    ReferencesRow,
)
from pipeline.core.bills.customer_credits import CustomerCredits
from pipeline.core.bills.definitions import BillingDefinitions
from pipeline.core.bills.group_rows import GROUP
from pipeline.core.bills.line_group import GroupPart, LineGroup, QuantityOf
from pipeline.core.bills.problem_notes import NO_PROBLEMS, CustomerProblems
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.bills.usage import BilledFeature, BilledUsage
from pipeline.core.bills.usage_rows import customer_key
from pipeline.core.invoices.invoice import InvoiceContent
from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.invoices.line_usage import SeenPositions
from pipeline.core.invoices.state_table import FINAL
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.values import timestamp
from pipeline.core.values.cached_rows import encode_json
from pipeline.errors import Broken, Rejected
from pipeline.records import Command, NumberWork, StripeWork

_subscription = msgspec.json.Decoder(Subscription).decode
_invoice = msgspec.json.Decoder(StoredInvoice).decode


class OpenedInvoice(NamedTuple):
    """An invoice with its row."""

    stored: StoredInvoice
    row: InvoiceRow


class CustomerBills:
    """The bills of one customer within one record."""

    def __init__(
        self,
        rows: BillRows,
        usage: BilledUsage,
        definitions: BillingDefinitions,
        namespace: str,
        customer: str,
        moment: BillMoment,
    ) -> None:
        self.namespace, self.customer, self.moment = namespace, customer, moment
        self.key = customer_key(namespace, customer)
        self.definitions = definitions
        self._rows, self._usage = rows, usage
        self.head = rows.heads.get(HEAD + self.key) or CustomerHead(namespace, customer)
        self.credits = CustomerCredits(rows, self.head, self.key, moment.offset, moment.now_ms)
        self.had_problems = self.head.problems is not None  # before the record
        self._subscriptions: dict[str, Subscription] = {}
        self._invoices: dict[str, OpenedInvoice] = {}
        self._groups: dict[str, LineGroup] = {}
        self._references: dict[str, dict[str, tuple[str, int]]] = {}
        self._metered: list[MeteredLine] | None = None
        self._removed: list[str] = []
        self._closed: dict[str, StoredInvoice] = {}
        self._closing: list[str] = []
        self.changed_subscriptions: dict[str, None] = {}
        self.changed_invoices: dict[str, None] = {}
        self.numbers: list[NumberWork] = []
        self.commands: list[Command] = []
        self.stripe: list[StripeWork] = []
        self._before: dict[str, StoredInvoice | None] = {}
        self._rated_lines: dict[str, tuple[InvoiceLine, ...]] = {}
        self._since_s: int | None = None  # nothing changes it before `save`

    # -- the head -----------------------------------------------------------------------------------------------

    def change(self, **values: object) -> None:
        """Change members of the head."""
        self.head = msgspec.structs.replace(self.head, **values)

    @property
    def has_stale(self) -> bool:
        """Whether bookings of lines have to be compared again."""
        return bool(self.head.stale_groups or self.head.stale_meters)

    @property
    def problems(self) -> CustomerProblems:
        """What could not be done for the customer."""
        return self.head.problems or NO_PROBLEMS

    # -- usage --------------------------------------------------------------------------------------------------

    @property
    def quantity_of(self) -> QuantityOf:
        """The usage of the customer."""
        since_s = self._counts_since_s()

        def quantity(feature: BilledFeature, from_s: int, to_s: int) -> int:
            if from_s < since_s:
                at = timestamp.text_of(since_s * 1000)
                sentence = f"Usage before {at} is not kept, so it cannot be billed."
                raise Rejected("invoice_usage_not_kept", sentence)
            return self._usage.quantity(self.namespace, self.customer, feature, from_s, to_s)

        return quantity

    def seen(self, feature: BilledFeature, from_s: int, to_s: int) -> SeenPositions:
        """Up to which positions `quantity_of` counts events."""
        return self._usage.seen(self.namespace, self.customer, feature, from_s, to_s)

    def _counts_since_s(self) -> int:
        if self._since_s is None:
            self._since_s = self._usage.counts_since_s(self.namespace, self.customer, self.moment.now_s)
        return self._since_s

    # -- subscriptions ------------------------------------------------------------------------------------------

    def subscription(self, id: str) -> Subscription:
        """A subscription of the customer, whose id the head has."""
        if id not in self._subscriptions:
            row = self._rows.subscriptions.get(SUBSCRIPTION + self.key + id.encode())
            if row is None:
                raise Broken(f"The subscription {id} of the customer {self.customer} has no row.")
            self._subscriptions[id] = _subscription(row.body)
        return self._subscriptions[id]

    def subscriptions(self) -> list[Subscription]:
        """All subscriptions of the customer, deleted and past ones too, in the order in which they were made."""
        return [self.subscription(id) for id in self.head.subscriptions]

    def put_subscription(self, subscription: Subscription) -> None:
        """A subscription is new or has changed."""
        id = subscription.id
        self._subscriptions[id] = subscription
        self.changed_subscriptions[id] = None
        if id not in self.head.subscriptions:
            self.change(subscriptions=(*self.head.subscriptions, id))

    def references_of(self, subscription: str) -> dict[str, tuple[str, int]]:
        """The groups of the lines of a subscription by `reference`, and the end (s) of each."""
        if subscription not in self._references:
            row = self._rows.references.get(REFERENCES + self.key + subscription.encode())
            self._references[subscription] = {} if row is None else row.by_reference
        return self._references[subscription]

    def put_references(self, subscription: str, groups: dict[str, tuple[str, int]]) -> None:
        """A subscription has other lines."""
        self._references[subscription] = groups

    # -- invoices -----------------------------------------------------------------------------------------------

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

    def _forget_rated(self, *ids: str) -> None:
        if self.head.rated:
            self.change(rated={id: end_s for id, end_s in self.head.rated.items() if ids and id not in ids})

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

    def _opened(self, id: str) -> OpenedInvoice:
        opened = self._invoices.get(id)
        if opened is None:
            raise Broken(f"The invoice {id} is closed and cannot change.")
        return opened

    def is_gathering(self, id: str) -> bool:
        """Whether an invoice is a gathering one."""
        return id in self.head.gathering.values()

    # -- groups of lines ----------------------------------------------------------------------------------------

    def find_group(self, id: str) -> LineGroup | None:
        """A group of lines of the customer; None: there is none, or it was removed because it is too old."""
        if id not in self._groups:
            row = self._rows.groups.get(GROUP + self.key + id.encode())
            if row is None:
                return None
            self._groups[id] = row
        return self._groups[id]

    def group(self, id: str) -> LineGroup:
        """A group of lines that exists."""
        found = self.find_group(id)
        if found is None:
            raise Broken(f"The lines {id} of the customer {self.customer} have no row.")
        return found

    def put_group(self, group: LineGroup) -> None:
        """A group is new or has changed."""
        if group.feature is not None and self.find_group(group.id) is None:
            meter_id, start_s, end_s = group.feature.meter_id, group.parts[0].start_s, group.parts[-1].end_s
            line = MeteredLine(group.id, meter_id, start_s, end_s, start_s >= self._counts_since_s())
            self.metered_lines().append(line)
        self._groups[group.id] = group
        self._forget_rated()

    def put_part(self, group_id: str, place: int, part: GroupPart) -> None:
        """A part of a group has changed."""
        self.put_group(self.group(group_id).with_part(place, part))

    def metered_lines(self) -> list[MeteredLine]:
        """The metered groups of the customer."""
        if self._metered is None:
            row = self._rows.metered.get(METERED + self.key)
            self._metered = [] if row is None else list(row.lines)
        return self._metered

    def change_metered(self, group: str, end_s: int) -> None:
        """A metered group ends at another instant."""
        self._metered = [
            msgspec.structs.replace(line, end_s=end_s) if line.group == group else line
            for line in self.metered_lines()
        ]

    def keep_metered(self, is_kept: Callable[[MeteredLine], bool]) -> None:
        """Remove the groups that are too old to change."""
        for line in [line for line in self.metered_lines() if not is_kept(line)]:
            self.forget_group(line.group)

    def forget_group(self, id: str) -> bool:
        """A group is too old to change. Returns whether it is removed: not while a line of it can still change."""
        group = self.find_group(id)
        if group is not None and any(part.open is not None for part in group.parts):
            return False
        self._removed.append(id)
        self._groups.pop(id, None)
        self._forget_rated()
        self._metered = [line for line in self.metered_lines() if line.group != id]
        return True

    # -- writing ------------------------------------------------------------------------------------------------

    def set_due(self, id: str, due: InvoiceDue) -> None:
        """When an invoice moves next by itself. A final one does not."""
        if self.invoice(id).progress.state not in FINAL and self.head.open.get(id) != due:
            self.change(open=self.head.open | {id: due})

    def save(self, index: BillIndex) -> None:
        """Write all changes to the rows, and when the customer is due next."""
        offset, now_ms = self.moment.offset, self.moment.now_ms
        if self.credits.is_touched:
            self.change(credits_ms=self.credits.save())
        for id in self.changed_subscriptions:
            body = msgspec.Raw(encode_json(self._subscriptions[id]))
            key = SUBSCRIPTION + self.key + id.encode()
            self._rows.subscriptions.put(key, DocumentRow(offset, now_ms, body))
        for id in self.changed_invoices:
            stored, row = self._invoices[id]
            written = InvoiceRow(offset, now_ms, msgspec.Raw(encode_json(stored)), row.groups, row.number)
            self._rows.invoices.put(INVOICE + self.key + id.encode(), written)
            if stored.progress.state in FINAL:
                close_ms = NEVER_MS if stored.awaits_void else self.moment.close_ms
                still_open = {one: due for one, due in self.head.open.items() if one != id}
                self.change(open=still_open, ended=self.head.ended | {id: close_ms})
                self._forget_rated(id)
        for id in self._closing:
            self._rows.closed.put(self.key, self._closed[id])
            self._rows.invoices.put(INVOICE + self.key + id.encode(), None)
        for id, group in self._groups.items():
            key = GROUP + self.key + id.encode()
            if self._rows.groups.get(key) != group:
                self._rows.groups.put(key, group)
        for id, references in self._references.items():
            key, lines = REFERENCES + self.key + id.encode(), ReferencesRow.of(references)
            if (self._rows.references.get(key) or ReferencesRow()) != lines:
                self._rows.references.put(key, lines)
        for id in self._removed:
            self._rows.groups.put(GROUP + self.key + id.encode(), None)
        if self._metered is not None:
            metered = MeteredRow(tuple(self._metered))
            if (self._rows.metered.get(METERED + self.key) or MeteredRow()) != metered:
                self._rows.metered.put(METERED + self.key, metered)
        if self._rows.heads.get(HEAD + self.key) != self.head:
            self._rows.heads.put(HEAD + self.key, self.head)
        self._set_due(index)

    def _set_due(self, index: BillIndex) -> None:
        due = due_of(self.head, self.moment.now_ms)
        if self.problems.refused is not None:
            due = BillDue(self.problems.again_ms)
        if due == NOT_DUE:
            self._rows.table.delete(DUE + self.key)
        elif index.of(self.key) != due:
            self._rows.table.put(DUE + self.key, due.packed())
        index.set(self.key, due)
