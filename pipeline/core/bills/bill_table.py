"""The bills of one partition: what each record of `billing-work` does.

Owns: the order of records, time, commands and their replies, publishing again what a record that is read again did.
Does not own: what is due of a customer (customer_step), commands (invoice_commands, subscriptions.decide), usage.

Everything follows from the records and the definitions: `now` is the highest time that the records have brought. Usage
only marks what is late; documents change by commands, numbers, settled usage and the clock. So the cut of records into
chunks changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from pipeline.core.bills import problems
from pipeline.core.bills.applied_command import applied_note
from pipeline.core.bills.bill_alerts import alerts_of
from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.bill_moment import BillMoment
from pipeline.core.bills.bill_rows import (
    CREDIT,
    HEAD,
    INVOICE,
    METERED,
    POSITION,
    SUBSCRIPTION,
    BillOutput,
    BillPosition,
    BillRows,
    CustomerHead,
    DocumentRow,
    InvoiceRow,
    ResultRow,
    document_of,
    done_end_key,
    done_key,
    result_key,
)
from pipeline.core.bills.bill_sweep import sweep_rows
from pipeline.core.bills.collected_again import collect_again
from pipeline.core.bills.credit_commands import decide_credit
from pipeline.core.bills.customer_bills import CustomerBills
from pipeline.core.bills.customer_step import step
from pipeline.core.bills.definitions import BillingDefinitions
from pipeline.core.bills.flow import Flow
from pipeline.core.bills.invoice_commands import InvoiceCommand, decide_invoice
from pipeline.core.bills.stripe_facts import take_fact
from pipeline.core.bills.terms import NEVER_MS, BillTerms
from pipeline.core.bills.usage import BilledUsage, UsageTouched
from pipeline.core.bills.usage_rows import customer_key
from pipeline.core.definitions.idempotency import KEPT_MS, DoneCommand, holds, repeated
from pipeline.core.subscriptions.decide import decide_subscription
from pipeline.core.subscriptions.entitlements import entitlement_commands
from pipeline.core.values import timestamp
from pipeline.core.values.cached_rows import CachedRows
from pipeline.core.values.calendar import NEVER_S
from pipeline.core.values.table import ScannedBytes
from pipeline.errors import Broken, Rejected
from pipeline.records import (
    Alert,
    BillDocument,
    BillingWork,
    Command,
    CustomerWindow,
    LedgerTransaction,
    NumberWork,
    Reply,
    StripeWork,
)

Place = tuple[str, str, str]  # namespace, customer, id
AnyDocuments = CachedRows[DocumentRow] | CachedRows[InvoiceRow]


class BillTable:
    """The state of a partition within a chunk. Call `take` and `apply` for its records in order, then `flush`."""

    def __init__(
        self, table: ScannedBytes, index: BillIndex, definitions: BillingDefinitions, terms: BillTerms
    ) -> None:
        self._rows = BillRows(table)
        self._usage = BilledUsage(table, terms.kept_s, self._needed_since_s, terms.partitions)
        self._index, self._definitions, self._terms = index, definitions, terms
        self._position = self._rows.positions.get(POSITION) or BillPosition()
        index.settled_ms = max(index.settled_ms, self._position.settled_ms)
        self._subscriptions: dict[Place, None] = {}
        self._invoices: dict[Place, None] = {}
        self._credits: dict[Place, None] = {}
        self._ledger: list[LedgerTransaction] = []
        self._numbers: dict[str, NumberWork] = {}
        self._replies: list[Reply] = []
        self._commands: list[Command] = []
        self._alerts: list[Alert] = []
        self._noted: dict[tuple[str, str], int] = {}
        self._stripe: list[StripeWork] = []
        self._first_offset = self._position.applied + 1

    @property
    def now_ms(self) -> int:
        """The time that the records have reached."""
        return self._position.now_ms

    # -- records ------------------------------------------------------------------------------------------------

    def take(self, windows: Sequence[CustomerWindow], offset: int, at_ms: int) -> None:
        """Apply a record of windows. offset, at_ms: of the record."""
        if not self._begin(offset, at_ms):
            return
        heads: dict[tuple[str, str], CustomerHead] = {}
        for touched in self._usage.take(windows, self.now_ms // 1000):
            owner = (touched.namespace, touched.customer)
            head = heads.get(owner) or self._rows.heads.get(HEAD + customer_key(*owner))
            if head is not None:
                heads[owner] = self._touched(head, touched)
        for (namespace, customer), head in heads.items():
            bills = self._open(namespace, customer)
            bills.change(stale_meters=head.stale_meters, running_ms=head.running_ms, rated=head.rated)
            bills.save(self._index)
        for touched in self._usage.beyond:
            if self._rows.heads.get(HEAD + customer_key(touched.namespace, touched.customer)) is not None:
                bills = self._open(touched.namespace, touched.customer)
                if problems.note_if_unbilled(bills, touched, self._terms.running_ms):
                    bills.save(self._index)
                    self._note(bills.namespace, problems.LATE_UNBILLED)

    def _touched(self, head: CustomerHead, touched: UsageTouched) -> CustomerHead:
        """The head of a customer after its usage changed."""
        running_ms, stale = head.running_ms, head.stale_meters
        if head.gathering and running_ms == NEVER_MS:
            # With many customers it takes longer, so that no more than a part of the time is spent on it.
            running_ms = self.now_ms + max(
                self._terms.running_ms, len(self._index) * self._terms.running_each_ms
            )
        if touched.minute_s < head.rated_until_s:
            first_s = stale.get(touched.meter_id, touched.minute_s)
            stale = stale | {touched.meter_id: min(first_s, touched.minute_s)}
        rated = {id: end_s for id, end_s in head.rated.items() if end_s <= touched.minute_s}
        return msgspec.structs.replace(head, stale_meters=stale, running_ms=running_ms, rated=rated)

    def apply(self, work: BillingWork, offset: int, at_ms: int) -> None:
        """Apply another record. offset, at_ms: of the record."""
        if not self._begin(offset, max(at_ms, work.at_ms)):
            self._publish_again(offset)
            return
        match work.kind:
            case "command":
                if work.command is not None:
                    self._command(work.command, work.customer)
            case "number":
                self._of_invoice(work, Flow.numbered)
            case "stripe":
                self._of_invoice(work, take_fact)
            case "clock":
                self._touch(work.items)
                self._tick()
            case "settled":
                settled_ms = max(self._position.settled_ms, work.settled_ms)
                self._position = msgspec.structs.replace(self._position, settled_ms=settled_ms)
                self._tick()

    def noted(self) -> dict[tuple[str, str], int]:
        """How often the record that was applied last met a problem, by namespace and kind. A second call has none."""
        noted, self._noted = self._noted, {}
        return noted

    def _note(self, namespace: str, kind: str) -> None:
        self._noted[namespace, kind] = self._noted.get((namespace, kind), 0) + 1

    def flush(self) -> BillOutput:
        """Write the changed rows to the table, and return what the chunk publishes."""
        self._rows.positions.put(POSITION, self._position)
        sweep_rows(self._rows, self.now_ms, self._terms.replayed_ms, self._first_offset)
        now_s = self.now_ms // 1000
        self._index.usage_sweep.advance(0, self.now_ms, lambda start: self._usage.sweep(start, now_s))
        self._usage.flush()
        self._rows.flush()
        return BillOutput(
            self._documents(self._subscriptions, self._rows.subscriptions, SUBSCRIPTION),
            self._documents(self._invoices, self._rows.invoices, INVOICE),
            list(self._numbers.values()),
            self._replies,
            self._commands,
            self._alerts,
            self._documents(self._credits, self._rows.credits, CREDIT),
            self._ledger,
            self._stripe,
        )

    def _needed_since_s(self, customer: bytes) -> int:
        """Since when lines of a customer need its usage. customer: `customer_key`."""
        row = self._rows.metered.get(METERED + customer)
        lines = () if row is None else row.lines
        return min((line.start_s for line in lines if line.keeps), default=NEVER_S)

    # -- what each kind does ------------------------------------------------------------------------------------

    def _begin(self, offset: int, at_ms: int) -> bool:
        """Take over a record's time. Returns whether it is new."""
        position = self._position
        self._first_offset = min(self._first_offset, offset)
        if offset <= position.applied:
            return False
        self._position = msgspec.structs.replace(position, applied=offset, now_ms=max(position.now_ms, at_ms))
        return True

    def _moment(self) -> BillMoment:
        position = self._position
        return BillMoment(
            position.applied,
            position.now_ms,
            position.settled_ms,
            self._first_offset,
            position.now_ms + self._terms.replayed_ms + 1,
            timestamp.text_of(position.now_ms),
        )

    def _open(self, namespace: str, customer: str, moment: BillMoment | None = None) -> CustomerBills:
        moment = self._moment() if moment is None else moment
        return CustomerBills(self._rows, self._usage, self._definitions, namespace, customer, moment)

    def _command(self, command: Command, customer: str) -> None:
        moment = self._moment()
        key = done_key(command.namespace, command.id)
        done = self._rows.done.get(key) if command.request else None
        bills = self._open(command.namespace, customer)
        changed: list[CustomerBills] = []
        try:
            if command.error:
                raise Rejected(command.error, command.detail)
            if done is not None and holds(done, moment.offset, moment.now_ms):
                reply = repeated(done, command)
            else:
                body = self._decide(bills, command)
                reply = Reply(command.id, moment.offset, body=body, attempt=command.attempt)
                changed = [bills]
                bills.commands.append(applied_note(command, customer, moment, body))
        except Rejected as refusal:
            reply = Reply(
                command.id, moment.offset, refusal.reason, refusal.detail, refusal.facts, command.attempt
            )
        if command.request and not reply.error and not reply.repeated:
            self._rows.done.put(key, DoneCommand(moment.now_ms, moment.offset, command.request, reply))
            self._rows.table.put(done_end_key(moment.now_ms + KEPT_MS, key), b"1")
        self._keep(changed, (reply,))

    def _decide(self, bills: CustomerBills, command: Command) -> dict[str, object]:
        """Do a command. Returns the body of its reply. Raises Rejected."""
        customer = self._definitions.customer(bills.namespace, bills.customer)
        if customer is None:
            raise Rejected("not-found", f"There is no customer with the id {bills.customer[:64]}.")
        problems.forget_refused(bills)
        flow = Flow(bills, self._terms)
        if command.kind.startswith("subscription."):
            catalog = self._definitions.catalog(bills.namespace, self.now_ms)
            before = bills.subscriptions()
            customer = self._definitions.in_zone(bills.namespace, customer)
            decision = decide_subscription(command, customer, before, catalog, self.now_ms)
            changing = {one.id for one in decision.changed}
            earlier = [one for one in before if one.id in changing]
            bills.commands += entitlement_commands(earlier, decision.changed, bills.namespace, self.now_ms)
            for subscription in decision.changed:
                bills.put_subscription(subscription)
            body = decision.body
        elif command.kind.startswith("credit."):
            body = decide_credit(bills, command)
        else:
            body = decide_invoice(InvoiceCommand(bills, flow, command, customer))
        step(bills, flow, self._terms, collects=False)
        changed = {
            "subscriptions": list(bills.changed_subscriptions),
            "invoices": list(bills.changed_invoices),
            "credits": list(bills.credits.changed),
        }
        if booked := [one.id for one in bills.credits.ledger]:
            changed["ledger"] = booked
        return {"customer": bills.customer, **changed, **body}

    def _of_invoice(self, work: BillingWork, take: Callable[[Flow, BillingWork], None]) -> None:
        self._keep([self._stepped(partial(self._taken, work, take), collects=False)])

    def _taken(self, work: BillingWork, take: Callable[[Flow, BillingWork], None]) -> Flow:
        """The bills of a customer with a record about an invoice; one that is refused is an issue of the invoice."""
        flow = self._flow(work.namespace, work.customer, self._moment())
        for _ in ("as it is", "without a payment that was held"):
            try:
                take(flow, work)
                break
            except Rejected as refusal:
                self._note(work.namespace, problems.REFUSED)
                flow = self._flow(work.namespace, work.customer, self._moment())
                problems.show_refused_fact(flow.bills, work.invoice, refusal)
        return flow

    def _touch(self, items: Sequence[Sequence[str]]) -> None:
        """Definitions have changed: their customers are due."""
        for item in items:
            match item:
                case ["seeded", namespace, meter_id, revision] if (
                    meter_id.isdecimal() and revision.isdecimal()
                ):
                    self._usage.note_loaded(namespace, int(meter_id), int(revision))
                case _:
                    collect_again(self._rows, self._index, self._definitions, item, self.now_ms)

    def _tick(self) -> None:
        """Move the customers that are due; the rest of many is due at the next record of the clock."""
        moment = self._moment()
        changed: list[CustomerBills] = []
        for key in self._index.take(moment.now_ms, moment.settled_ms, self._terms.most_due):
            head = self._rows.heads.get(HEAD + key)
            if head is None:
                continue
            opened = partial(self._flow, head.namespace, head.customer, moment)
            changed.append(self._stepped(opened, collects=True))
        self._keep(changed)

    def _flow(self, namespace: str, customer: str, moment: BillMoment) -> Flow:
        return Flow(self._open(namespace, customer, moment), self._terms)

    def _stepped(self, opened: Callable[[], Flow], collects: bool) -> CustomerBills:
        """The bills of a customer after a step that no client waits for: of one that is refused, only that is kept."""
        flow = opened()
        try:
            step(flow.bills, flow, self._terms, collects=collects)
        except Rejected as refusal:
            flow = opened()
            problems.note_refused(flow.bills, refusal)
            self._note(flow.bills.namespace, problems.REFUSED)
        return flow.bills

    # -- what is published --------------------------------------------------------------------------------------

    def _keep(self, changed: Sequence[CustomerBills], replies: tuple[Reply, ...] = ()) -> None:
        """Write what a record changed, and remember it for the case that the record is read again."""
        rows = [ResultRow(self.now_ms, replies=replies)] if replies else []
        for bills in changed:
            bills.save(self._index)
            self._numbers |= {one.invoice: one for one in bills.numbers}
            rows.append(self._result_of(bills))
        place = 0
        for row in rows:
            if row != ResultRow(row.at_ms):
                self._rows.results.put(result_key(self._position.applied, place), row)
                self._publish(row)
                place += 1

    def _result_of(self, bills: CustomerBills) -> ResultRow:
        namespace, customer = bills.namespace, bills.customer
        return ResultRow(
            self.now_ms,
            subscriptions=tuple((namespace, customer, id) for id in bills.changed_subscriptions),
            invoices=tuple((namespace, customer, id) for id in bills.changed_invoices),
            commands=tuple(bills.commands),
            alerts=tuple(alerts_of(bills)),
            credits=tuple((namespace, customer, id) for id in bills.credits.changed),
            ledger=tuple(bills.credits.ledger),
            stripe=tuple(bills.stripe),
        )

    def _publish(self, row: ResultRow) -> None:
        self._subscriptions |= dict.fromkeys(row.subscriptions)
        self._invoices |= dict.fromkeys(row.invoices)
        self._replies += row.replies
        self._commands += row.commands
        self._alerts += row.alerts
        self._credits |= dict.fromkeys(row.credits)
        self._ledger += row.ledger
        self._stripe += row.stripe

    def _publish_again(self, offset: int) -> None:
        """Publish what a record did that was applied before; a number that is not known is asked for again."""
        place = 0
        while (row := self._rows.results.get(result_key(offset, place))) is not None:
            self._publish(row)
            self._ask_again(row)
            place += 1

    def _ask_again(self, row: ResultRow) -> None:
        """A number that is not known is asked for again."""
        for namespace, customer, id in row.invoices:
            bills = self._open(namespace, customer)
            stored = bills.find_invoice(id)
            if stored is not None and bills.is_closed(id):
                raise Broken(f"The invoice {id} is to be published again, but it is closed.")
            request = None if stored is None else bills.number_of(id)
            if stored is not None and request is not None and stored.progress.number is None:
                self._numbers[id] = request

    @staticmethod
    def _documents(places: Iterable[Place], rows: AnyDocuments, prefix: bytes) -> list[BillDocument]:
        found = []
        for namespace, customer, id in sorted(places):
            row = rows.get(prefix + customer_key(namespace, customer) + id.encode())
            if row is None:
                raise Broken(f"The document {id} of the customer {customer} has no row.")
            found.append(document_of(namespace, customer, id, row))
        return found
