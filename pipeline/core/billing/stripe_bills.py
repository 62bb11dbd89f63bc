"""The invoices of one partition on their way to Stripe: what orders and outcomes of calls change.

Owns: the rows of invoices and of the customers that have them, one call at a time for a customer and app, the answers
to billing. Does not own: the calls of one invoice (stripe_invoice), usage (stripe_table).

    b<lane>            BillLane: a customer and an app
    n<lane><invoice>   StripeInvoice

The customer at Stripe is the one that the definitions name; where they name none, the first order has it created, and
the definition follows by a command. One that the definitions named and do not name any more is not used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pipeline.core.billing.stripe_index import lanes_of
from pipeline.core.billing.stripe_invoice import (
    StripeCall,
    StripeInvoice,
    ask,
    end_unfinished,
    proceed,
    settle,
    take_order,
    target_of,
)
from pipeline.core.billing.stripe_request import StripeTarget
from pipeline.core.billing.stripe_rows import BILLING, lane_of
from pipeline.core.billing.stripe_state import StripeState
from pipeline.core.values.cached_rows import CachedRows, msgpack_rows
from pipeline.core.values.sweep import SweepProgress, Swept, sweep
from pipeline.core.values.table import ScannedBytes
from pipeline.records import BillingWork, Command, StripeFound, StripeInvoiceFact, StripeOrder, StripeWork

LANE, INVOICE = b"b", b"n"
ACTOR = "stripe-sync"
KEPT_MS = 30 * 86_400_000  # an invoice that was done
SWEPT_AT_ONCE = 200
NOT_INSTALLED = "The app is not installed."

_invoice = msgspec.msgpack.Decoder(StripeInvoice).decode


class BillLane(msgspec.Struct, array_like=True):
    """A customer in an app.

    Attributes:
        stripe_customer: that was created here; empty: none was.
        waiting: ids of invoices with an order, in the order of their arrival; the first one may have a call.
        creations: how many keys were made to create the customer.
        is_named: the definitions have had `stripe_customer`: where they have none any more, it was taken away.
    """

    namespace: str
    customer: str
    app: str
    stripe_customer: str = ""
    waiting: list[str] = []
    creations: int = 0
    is_named: bool = False


class BillFlight(NamedTuple):
    """The call that a lane has in progress, for the dispatcher. Ids in `target` include those of Stripe."""

    lane: bytes
    namespace: str
    target: StripeTarget
    order: StripeOrder
    call: StripeCall

    @property
    def app(self) -> tuple[str, str]:
        """Its namespace and id."""
        return self.namespace, self.target.app

    @property
    def key(self) -> str:
        """What makes a repeat of the call safe."""
        return self.call.key

    @property
    def next_at_ms(self) -> int:
        return self.call.next_at_ms

    @property
    def attempts(self) -> int:
        return self.call.attempts


class StripeBills:
    """The invoices of a partition within a chunk. Call `apply` for its records in order, then `flush`."""

    def __init__(self, state: StripeState) -> None:
        self._state = state
        self._lanes = msgpack_rows(state.rows.table, BillLane)
        self._invoices = msgpack_rows(state.rows.table, StripeInvoice)
        self.changed: dict[bytes, None] = {}
        self.answers: list[BillingWork] = []
        self.commands: list[Command] = []

    def apply(self, work: StripeWork) -> None:
        """Apply a record of the kinds order, called and found."""
        if work.kind == "order" and work.order is not None:
            lane = lane_of(work.namespace, work.customer, work.order.app)
            row = self._lane(lane) or BillLane(work.namespace, work.customer, work.order.app)
            known = self._invoices.get(_key(lane, work.invoice))
            invoice = take_order(known, work.order)
            if invoice.outcome:
                self._answer(row, work.invoice, invoice)
                return
            if work.invoice not in row.waiting:
                row.waiting = [*row.waiting, work.invoice]
            self._put(lane, row, work.invoice, invoice)
            self._advance(lane, row)
            return
        found = self._of_call(work)
        if found is not None:
            self._settle(*found, work)

    def show_again(self, work: StripeWork) -> None:
        """Answer again what a record that was applied before may have ended."""
        app = work.mapping if work.order is None else work.order.app
        lane = lane_of(work.namespace, work.customer, app)
        row, invoice = self._lane(lane), self._invoices.get(_key(lane, work.invoice))
        if row is not None and invoice is not None and invoice.outcome:
            self._answer(row, work.invoice, invoice)

    def resume(self, namespace: str, app: str) -> None:
        """A call that waits because the app's key was refused is made at once after the app has changed."""
        self.end_uninstalled()
        for lane in sorted(self._state.index.bills):
            row = self._lane(lane)
            if row is None or (row.namespace, row.app) != (namespace, app) or not row.waiting:
                continue
            invoice = self._invoices.get(_key(lane, row.waiting[0]))
            if invoice is not None and invoice.call is not None and not invoice.call.missed_at_ms:
                invoice.call.next_at_ms = min(invoice.call.next_at_ms, self._state.now_ms)
                self._put(lane, row, row.waiting[0], invoice)

    def end_uninstalled(self) -> None:
        """The orders of apps that were uninstalled fail: no worker makes their calls any more."""
        for lane in sorted(self._state.index.bills):
            row = self._lane(lane)
            if row is None or not self._is_uninstalled(row):
                continue
            for id in row.waiting:
                invoice = self._invoices.get(_key(lane, id))
                if invoice is not None:
                    end_unfinished(invoice, NOT_INSTALLED, self._state.now_ms)
            self._advance(lane, row)

    def show_uninstalled(self) -> None:
        """Answer again what `end_uninstalled` may have ended."""
        table = self._state.rows.table
        for lane in lanes_of(table, LANE):
            row, start = self._lane(lane), _key(lane, "")
            if row is None or not self._is_uninstalled(row):
                continue
            prefix = start
            while found := [one for one, _ in table.scan(start, SWEPT_AT_ONCE) if one.startswith(prefix)]:
                for key in found:
                    invoice = self._invoices.get(key)
                    if invoice is not None and invoice.outcome == "failed":
                        self._answer(row, key[len(prefix) :].decode(), invoice)
                start = found[-1] + b"\x00"

    def _is_uninstalled(self, row: BillLane) -> bool:
        app = self._state.definitions.app(row.namespace, row.app)
        return app is not None and app.is_deleted

    def flights(self) -> list[tuple[bytes, BillFlight | None]]:
        """The changed lanes with their call in progress; None: it has none."""
        return [(lane, _flight(self._lanes, self._invoices, lane)) for lane in self.changed]

    def sweep(self, partition: int, progress: SweepProgress) -> None:
        """Remove some old rows. progress: of all partitions."""
        now_ms, table = self._state.now_ms, self._state.rows.table

        def is_expired(_: bytes, value: bytes) -> bool:
            row = _invoice(value)
            return row.outcome == "done" and now_ms - row.at_ms > KEPT_MS

        def swept(start: bytes) -> Swept:
            return sweep(table, SWEPT_AT_ONCE, is_expired, prefix=INVOICE, start=start)

        progress.advance(partition, now_ms, swept)

    def flush(self) -> None:
        """Write the changed rows to the table."""
        self._lanes.flush()
        self._invoices.flush()

    # -- one lane -----------------------------------------------------------------------------------------------

    def _lane(self, lane: bytes) -> BillLane | None:
        return self._lanes.get(LANE + lane)

    def _of_call(self, work: StripeWork) -> tuple[bytes, BillLane, StripeInvoice] | None:
        """The lane and invoice whose call a record is about; `mapping` of the record is the app."""
        lane = lane_of(work.namespace, work.customer, work.mapping)
        row, invoice = self._lane(lane), self._invoices.get(_key(lane, work.invoice))
        is_current = invoice is not None and invoice.call is not None and invoice.call.key == work.identifier
        if row is None or invoice is None or not is_current or row.waiting[:1] != [work.invoice]:
            return None
        return lane, row, invoice

    def _settle(self, lane: bytes, row: BillLane, invoice: StripeInvoice, work: StripeWork) -> None:
        now_ms, found, before = self._state.now_ms, work.found, invoice.stripe_customer
        if work.kind == "found":
            ask(invoice, work.identifier, found or StripeFound(), now_ms)
        elif work.outcome:
            settle(invoice, work.identifier, work.outcome, now_ms, found, work.message, work.stored)
            if invoice.call is not None and work.retry_after_ms:
                invoice.call.next_at_ms = max(invoice.call.next_at_ms, now_ms + work.retry_after_ms)
        if invoice.stripe_customer and not before:
            self._customer_made(row, invoice.stripe_customer)
        self._put(lane, row, work.invoice, invoice)
        self._advance(lane, row)

    def _advance(self, lane: bytes, row: BillLane) -> None:
        """Make the next call of the first invoice; those that have ended leave the line."""
        while row.waiting:
            id = row.waiting[0]
            invoice = self._invoices.get(_key(lane, id))
            if invoice is None:
                row.waiting = row.waiting[1:]
                continue
            self._proceed(row, id, invoice)
            if not invoice.outcome:
                self._put(lane, row, id, invoice)
                break
            row.waiting = row.waiting[1:]
            self._put(lane, row, id, invoice)
            self._answer(row, id, invoice)
        if row.waiting:
            self._state.index.bills.add(lane)
            self._state.rows.table.put(BILLING + lane, b"1")
        elif lane in self._state.index.bills:
            self._state.index.bills.discard(lane)
            self._state.rows.table.delete(BILLING + lane)

    def _proceed(self, row: BillLane, id: str, invoice: StripeInvoice) -> None:
        if invoice.call is not None or invoice.outcome:
            return
        app = self._state.definitions.app(row.namespace, row.app)
        if app is None or app.is_deleted:
            invoice.outcome, invoice.message, invoice.at_ms = "failed", NOT_INSTALLED, self._state.now_ms
            return
        known = self._state.definitions.customer(row.namespace, row.customer, row.app)
        if known is not None:
            row.is_named = row.is_named or known.id == row.stripe_customer
        elif row.is_named:
            row.stripe_customer, row.is_named = "", False
        invoice.stripe_customer = row.stripe_customer if known is None else known.id
        invoice.made = invoice.made | {"customer": row.creations}
        proceed(invoice, StripeTarget(row.app, row.customer, id), self._state.now_ms)
        row.creations = invoice.made["customer"]

    def _put(self, lane: bytes, row: BillLane, id: str, invoice: StripeInvoice) -> None:
        self._lanes.put(LANE + lane, row)
        self._invoices.put(_key(lane, id), invoice)
        self.changed[lane] = None

    # -- what follows -------------------------------------------------------------------------------------------

    def _answer(self, row: BillLane, id: str, invoice: StripeInvoice) -> None:
        order = invoice.order
        fact = StripeInvoiceFact(
            row.app,
            invoice.at_ms // 1000,
            order.sequence,
            order.action,
            invoice.outcome,
            message=invoice.message,
            found=invoice.found,
        )
        self.answers.append(
            BillingWork("stripe", customer=row.customer, namespace=row.namespace, invoice=id, stripe=fact)
        )

    def _customer_made(self, row: BillLane, stripe_id: str) -> None:
        row.stripe_customer = stripe_id
        if self._state.definitions.customer(row.namespace, row.customer, row.app) is None:
            body: dict[str, object] = {
                "customerId": row.customer,
                "data": [{"appId": row.app, "stripeCustomerId": stripe_id}],
            }
            id = f"stripe-customer-{row.app}-{row.customer}-{stripe_id}"
            self.commands.append(
                Command(id, "customer-app.upsert", row.namespace, ACTOR, self._state.now_ms, body)
            )


def bills_in_progress(table: ScannedBytes) -> Iterator[BillFlight]:
    """The calls in progress of a partition, as they are in the committed rows."""
    lanes, invoices = msgpack_rows(table, BillLane), msgpack_rows(table, StripeInvoice)
    for lane in lanes_of(table, BILLING):
        flight = _flight(lanes, invoices, lane)
        if flight is not None:
            yield flight


def _flight(
    lanes: CachedRows[BillLane], invoices: CachedRows[StripeInvoice], lane: bytes
) -> BillFlight | None:
    row = lanes.get(LANE + lane)
    id = row.waiting[0] if row is not None and row.waiting else ""
    invoice = invoices.get(_key(lane, id)) if id else None
    if row is None or invoice is None or invoice.call is None:
        return None
    target = target_of(invoice, StripeTarget(row.app, row.customer, id))
    return BillFlight(lane, row.namespace, target, invoice.order, invoice.call)


def _key(lane: bytes, id: str) -> bytes:
    return INVOICE + lane + id.encode()
