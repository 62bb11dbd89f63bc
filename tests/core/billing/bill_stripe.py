"""A partition with orders for Stripe, and a Stripe for invoices that loses calls.

Owns: records as the stage makes them, what Stripe has, the answers that billing would read. Does not own: any test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import msgspec

from pipeline.core.billing.stripe_bills import BillFlight, bills_in_progress
from pipeline.core.billing.stripe_index import StripeIndex
from pipeline.core.billing.stripe_invoice import must_ask
from pipeline.core.billing.stripe_mappings import StripeDefinitions
from pipeline.core.billing.stripe_outcome import Outcome
from pipeline.core.billing.stripe_request import params_of
from pipeline.core.billing.stripe_state import StripeTerms
from pipeline.core.billing.stripe_sweep import StripeSweeps
from pipeline.core.billing.stripe_table import StripeTable
from pipeline.core.definitions.changes import Changes
from pipeline.records import (
    BillingWork,
    Command,
    Definition,
    StripeFound,
    StripeItem,
    StripeOrder,
    StripeWork,
)
from tests.core.billing.stripe_world import APP, FROM_MS, HOUR_MS, NAMESPACE, app
from tests.fixtures.fake_transaction import DictTable

DAY_MS = 24 * HOUR_MS
FAULTS = ("ok", "ok", "429", "500", "lost", "stored-lost", "stored-500", "died", "stored-died")


def order(total: int = 500, sequence: int = 9, **changed: object) -> StripeOrder:
    items = [StripeItem("line", "01LINE", total, "Tokens", 0, 60)] if total else []
    made = StripeOrder(
        "issue", APP, sequence, number="INV-1", currency="USD", total=total, name="Acme", items=items
    )
    return msgspec.structs.replace(made, **changed)


@dataclass
class LosingInvoices:
    """Customers and invoices by id; the first result of a key is kept for 24 hours, a 500 too."""

    customers: dict[str, str] = field(default_factory=dict)  # our id of each
    invoices: dict[str, tuple[str, StripeFound]] = field(default_factory=dict)  # our id, what Stripe shows
    bodies: dict[str, set[bytes]] = field(default_factory=dict)
    calls: int = 0
    _kept: dict[str, tuple[int, StripeFound | None]] = field(default_factory=dict)  # None: a 500

    def call(
        self, flight: BillFlight, now_ms: int, fault: str
    ) -> tuple[Outcome, StripeFound | None, bool] | None:
        """The outcome, what it shows, whether it is kept; None: the worker died before it could be recorded."""
        self.calls += 1
        call, target = flight.call, flight.target
        body = msgspec.json.encode(
            (call.name, target.stripe_invoice, params_of(call.name, target, flight.order))
        )
        self.bodies.setdefault(call.key, set()).add(body)
        if fault == "429":
            return "later", None, False
        if fault in ("500", "lost", "died"):
            return None if fault == "died" else ("unknown", None, False)
        kept_ms, kept = self._kept.get(call.key, (-DAY_MS, None))
        if now_ms - kept_ms < DAY_MS:
            result: StripeFound | None = kept
        else:
            result = self._execute(flight)
            self._kept[call.key] = (now_ms, None if fault == "stored-500" else result)
        if fault == "stored-died":
            return None
        if fault == "stored-lost":
            return "unknown", None, False
        if self._kept[call.key][1] is None:
            return "unknown", None, True
        return "done", result, False

    def has(self, flight: BillFlight) -> StripeFound:
        """What Stripe shows of the customer or the invoice."""
        target, call = flight.target, flight.call
        if call.name == "customer":
            return StripeFound(
                id=next((id for id, one in self.customers.items() if one == target.customer), "")
            )
        if call.name == "create" and not call.resumes:
            found = [shown for ours, shown in self.invoices.values() if ours == target.invoice]
            return next((one for one in found if one.status != "deleted"), StripeFound())
        return self.invoices.get(target.stripe_invoice, ("", StripeFound()))[1]

    def _execute(self, flight: BillFlight) -> StripeFound:
        target, name = flight.target, flight.call.name
        if name == "customer":
            id = f"cus_{len(self.customers)}"
            self.customers[id] = target.customer
            return StripeFound(id=id)
        if name == "create":
            id = f"in_{len(self.invoices)}"
            return self._keep(id, target.invoice, StripeFound(id=id, status="draft"))
        ours, shown = self.invoices[target.stripe_invoice]
        changed: dict[str, object] = {
            "lines": {
                "items": shown.items + len(flight.order.items),
                "total": shown.total + sum(one.amount for one in flight.order.items),
            },
            "finalize": {"status": "open" if shown.total else "paid"},
            "pay": {"status": "paid"},
            "void": {"status": "void"},
            "delete": {"status": "deleted"},
        }[name]  # type: ignore[assignment]
        return self._keep(shown.id, ours, msgspec.structs.replace(shown, **changed))

    def _keep(self, id: str, ours: str, shown: StripeFound) -> StripeFound:
        self.invoices[id] = (ours, shown)
        return shown


class BillStripe:
    """Records are applied one chunk each. `crash` forgets what is in memory and reads a suffix of the log again."""

    def __init__(self, *definitions: Definition) -> None:
        self.table, self.stripe = DictTable(), LosingInvoices()
        self.definitions = StripeDefinitions()
        self.now_ms = FROM_MS
        self.answers: dict[tuple[str, int], BillingWork] = {}  # by invoice and sequence
        self.commands: dict[str, Command] = {}
        self._index, self._sweeps = StripeIndex(), StripeSweeps()
        self._log: list[tuple[int, StripeWork]] = []
        self.define(app(), *definitions)

    def define(self, *definitions: Definition) -> None:
        records = {f"{one.namespace}/{one.kind}/{one.name}": one for one in definitions}
        self.definitions.update(Changes(records))

    def record(self, work: StripeWork) -> None:
        self._log.append((self.now_ms, work))
        self._apply(len(self._log) - 1)

    def order(self, made: StripeOrder, invoice: str = "01INVOICE", customer: str = "01CUSTOMER") -> None:
        self.record(
            StripeWork(
                "order", namespace=NAMESPACE, customer=customer, mapping=made.app, invoice=invoice, order=made
            )
        )

    def crash(self, again: int) -> None:
        """Another owner starts, and reads the last records again."""
        self._index = StripeIndex()
        self._index.load(self.table)
        rows = dict(self.table.rows)
        self._apply(max(0, len(self._log) - again))
        assert self.table.rows == rows, "a record that was applied changed something again"

    def _apply(self, start: int) -> None:
        table = StripeTable(self.table, self._index, self.definitions, StripeTerms())
        for offset in range(start, len(self._log)):
            at_ms, work = self._log[offset]
            table.apply(work, offset, at_ms)
        table.sweep(0, self._sweeps)
        table.flush()
        self.table.commit()
        for one in table.answers():
            assert one.stripe is not None
            known = self.answers.setdefault((one.invoice, one.stripe.sequence), one)
            assert known == one, "an order has two answers"
        self.commands |= {one.id: one for one in table.commands()}
        assert {one.lane for one in self.flights()} == self._index.bills

    def flights(self) -> list[BillFlight]:
        return list(bills_in_progress(self.table))

    def call(self, fault: str = "ok") -> int:
        """Make every call that is due, and record what resulted. Returns how many were made."""
        made = 0
        for flight in self.flights():
            call, target = flight.call, flight.target
            if call.next_at_ms > self.now_ms:
                continue
            made += 1
            work = StripeWork(
                "found", namespace=NAMESPACE, customer=target.customer, mapping=target.app, invoice=target.invoice,
                identifier=call.key,
            )  # fmt: skip
            if must_ask(call, self.now_ms):
                work.found = self.stripe.has(flight)
            else:
                result = self.stripe.call(flight, self.now_ms, fault)
                if result is None:
                    continue
                work.kind = "called"
                work.outcome, work.found, work.stored = result
            self.record(work)
        return made

    def settle(self) -> None:
        """Let time pass without faults until no call is in progress."""
        for _ in range(400):
            self.now_ms += HOUR_MS // 6
            while self.call():
                pass
            if not self.flights():
                return
        raise AssertionError(self.flights())

    def shake(self, random: Random) -> None:
        """Something happens: a call that may be lost, time, a crash."""
        self.call(random.choice(FAULTS))
        self.now_ms += random.choice([1_000, 60_000, HOUR_MS, 25 * HOUR_MS])
        if random.randrange(4) == 0:
            self.crash(random.randrange(4))
