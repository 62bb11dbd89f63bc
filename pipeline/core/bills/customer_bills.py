"""The bills of one customer while one record is applied: read as needed, written together or not at all.

Owns: its subscriptions, writing its rows, which documents changed, when the customer is due next. Does not own: what a
record does to them, reading invoices (customer_invoices), groups (customer_groups) and the head (customer_record).

Nothing reaches the rows before `save`, so a command that is refused leaves nothing behind.
"""

from __future__ import annotations

import msgspec

from pipeline.core.bills.bill_index import NOT_DUE, BillDue, BillIndex, due_of
from pipeline.core.bills.bill_rows import (
    DUE,
    HEAD,
    INVOICE,
    METERED,
    REFERENCES,
    SUBSCRIPTION,
    DocumentRow,
    InvoiceRow,
    MeteredRow,
    ReferencesRow,
)
from pipeline.core.bills.customer_credits import CustomerCredits
from pipeline.core.bills.customer_invoices import CustomerInvoices
from pipeline.core.bills.group_rows import GROUP
from pipeline.core.bills.terms import NEVER_MS
from pipeline.core.invoices.state_table import FINAL
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.values.cached_rows import encode_json
from pipeline.errors import Broken
from pipeline.records import Command, StripeWork

_subscription = msgspec.json.Decoder(Subscription).decode


class CustomerBills(CustomerInvoices):
    """The bills of one customer within one record."""

    def _begin(self) -> None:
        super()._begin()
        self.credits = CustomerCredits(
            self._rows, self.head, self.key, self.moment.offset, self.moment.now_ms
        )
        self._subscriptions: dict[str, Subscription] = {}
        self._references: dict[str, dict[str, tuple[str, int]]] = {}
        self.changed_subscriptions: dict[str, None] = {}
        self.commands: list[Command] = []
        self.stripe: list[StripeWork] = []

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

    # -- writing ------------------------------------------------------------------------------------------------

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
