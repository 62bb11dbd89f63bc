"""One partition of the billing stage without a broker: definitions, a log of records, a numbering, settled usage.

Owns: records as the stages make them, the documents as a reader of the compacted topics sees them, what is owed by a
second way of counting. Does not own: any test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline.core.billing.apps_now import sandbox_of
from pipeline.core.bills.bill_index import BillIndex
from pipeline.core.bills.bill_rows import BillOutput
from pipeline.core.bills.bill_table import BillTable
from pipeline.core.bills.definitions import BillingDefinitions
from pipeline.core.bills.group_rows import GROUP, GroupRows
from pipeline.core.bills.terms import BillTerms
from pipeline.core.catalog.price import Price
from pipeline.core.definitions.changes import Changes
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.numbering import NumberRequest, NumberRow, give
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.values import timestamp
from pipeline.errors import Rejected
from pipeline.records import (
    Alert,
    BillDocument,
    BillingWork,
    Command,
    CustomerWindow,
    LedgerTransaction,
    NumberWork,
    Reply,
    Window,
)
from tests.fixtures.billing_bodies import PLAIN, of_app
from tests.fixtures.catalog_bodies import FEE, METER, PLAN, TOKENS, Body
from tests.fixtures.control_log import Log
from tests.fixtures.fake_transaction import DictTable

NAMESPACE = "default"
DAY_S, HOUR_S = 86_400, 3_600
Record = BillingWork | list[CustomerWindow]

_invoice = msgspec.json.Decoder(StoredInvoice).decode
_subscription = msgspec.json.Decoder(Subscription).decode
encode = msgspec.json.Encoder(order="deterministic").encode

ONE_PHASE: Body = {
    **PLAN, "key": "simple", "name": "Simple",
    "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": [FEE, TOKENS]}],
}  # fmt: skip


def at(text: str) -> int:
    """Seconds since 1970 of a day or an instant in UTC."""
    return timestamp.ms_of(text if "T" in text else f"{text}T00:00:00Z") // 1000


@dataclass(frozen=True)
class Logged:
    """A record of `billing-work`."""

    offset: int
    at_ms: int
    record: Record


@dataclass
class Published:
    """What readers of the topics have: the newest documents, and everything else in its order."""

    subscriptions: dict[str, BillDocument] = field(default_factory=dict)
    invoices: dict[str, BillDocument] = field(default_factory=dict)
    numbers: dict[str, NumberWork] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    credits: dict[str, BillDocument] = field(default_factory=dict)
    ledger: dict[str, LedgerTransaction] = field(default_factory=dict)

    def read(self, output: BillOutput) -> None:
        self.subscriptions |= {one.id: one for one in output.subscriptions}
        self.invoices |= {one.id: one for one in output.invoices}
        self.numbers |= {one.invoice: one for one in output.numbers}
        self.replies |= {one.attempt or one.id: one for one in output.replies}
        self.commands |= {one.id: one for one in output.commands}
        self.alerts |= {one.id: one for one in output.alerts}
        self.credits |= {one.id: one for one in output.credits}
        for one in output.ledger:
            assert self.ledger.setdefault(one.id, one) == one  # a cause books once, and never something else

    def bytes(self) -> bytes:
        return encode(
            [
                self.subscriptions,
                self.invoices,
                self.replies,
                self.commands,
                self.alerts,
                self.credits,
                self.ledger,
            ]
        )


class Definitions:
    """The definitions of the tests: a log of control, read by billing."""

    def __init__(
        self,
        customers: int = 1,
        app: Body | None = None,
        profile: Body | None = None,
        plan: Body = ONE_PHASE,
        aggregation: str = "SUM",
        meter: Body = METER,
    ) -> None:
        """app: hooks of a custom invoicing app; None: the sandbox. profile: members of the default profile."""
        self.aggregation = aggregation
        self.log = Log()
        self.log.do("meter.apply", {**meter, "aggregation": aggregation})
        self.log.do("feature.create", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
        self.log.do("feature.create", {"key": "sso", "name": "Single sign-on"})
        if app is not None or profile:
            made = sandbox_of(NAMESPACE).id if app is None else self._app(app)
            self.log.do(
                "billing-profile.create", {**PLAIN, "default": True, "apps": of_app(made), **(profile or {})}
            )
        made = self.log.do("plan.create", plan)
        self.log.do("plan.publish", {"id": made["id"]})
        self.customers = [
            self.log.do("customer.create", {"name": f"Customer {place}", "key": f"c{place}"})["id"]
            for place in range(customers)
        ]
        self.meter_id = self.log.body("meter", "tokens")["meterId"]
        self.billing = BillingDefinitions()
        self.read()

    def _app(self, hooks: Body) -> str:
        """A custom invoicing app."""
        sent = {"type": "custom_invoicing", "createBillingProfile": False}
        id = str(self.log.do("app.add", sent)["app"]["id"])
        self.log.do("app.update", {"id": id, "type": "custom_invoicing", "name": "Ours", **hooks})
        return id

    def read(self) -> list[list[str]]:
        return self.billing.update(Changes(dict(self.log.state)))


class BillWorld:
    """A partition: what is logged is applied at once, each record in a chunk of its own."""

    def __init__(self, definitions: Definitions | None = None, terms: BillTerms | None = None) -> None:
        self.definitions = definitions or Definitions()
        self.terms = terms or BillTerms()
        self.table, self.index = DictTable(), BillIndex()
        self.log: list[Logged] = []
        self.published = Published()
        self.now_s = at("2026-01-01")
        self.lasts: dict[str, int] = {}
        self.rows: dict[str, NumberRow] = {}
        self.noted: Counter[tuple[str, str]] = Counter()
        self._revision = 0

    @property
    def customer(self) -> str:
        return str(self.definitions.customers[0])

    # -- records ------------------------------------------------------------------------------------------------

    def record(self, record: Record) -> BillOutput:
        logged = Logged(len(self.log), self.now_s * 1000, record)
        self.log.append(logged)
        return self.play([logged])

    def play(self, chunk: list[Logged]) -> BillOutput:
        table = BillTable(self.table, self.index, self.definitions.billing, self.terms)
        for one in chunk:
            if isinstance(one.record, list):
                table.take(one.record, one.offset, one.at_ms)
            else:
                table.apply(one.record, one.offset, one.at_ms)
            self.noted.update(table.noted())
        output = table.flush()
        self.table.commit()
        self.published.read(output)
        return output

    def send(
        self, kind: str, sent: object = None, customer: str | None = None, request: str = "", **named: Any
    ) -> Reply:
        id = named.pop("command", f"command-{len(self.log)}")
        body = {"customer": customer or self.customer, "sent": sent, **named}
        command = Command(
            id, kind, NAMESPACE, "ann", 1, body, attempt=f"attempt-{len(self.log)}", request=request
        )
        work = BillingWork("command", customer=customer or self.customer, command=command)
        return self.record(work).replies[0]

    def do(self, kind: str, sent: object = None, customer: str | None = None, **named: Any) -> Body:
        reply = self.send(kind, sent, customer, **named)
        assert (reply.error, reply.detail) == ("", "")
        assert reply.body is not None
        return reply.body

    def refused(self, kind: str, sent: object = None, **named: Any) -> str:
        before = dict(self.table.rows)
        reply = self.send(kind, sent, **named)
        assert reply.error
        after = dict(self.table.rows)
        for prefix in (b"p", b"o"):  # how far the partition is, and the reply
            before = {key: value for key, value in before.items() if not key.startswith(prefix)}
            after = {key: value for key, value in after.items() if not key.startswith(prefix)}
        assert before == after
        return reply.error

    def use(
        self,
        minute_s: int,
        value: str,
        customer: str | None = None,
        subject: str = "s",
        members: Sequence[str] = (),
    ) -> None:
        """The window of a minute has a value from now on. members: of UNIQUE_COUNT; each arrives once."""
        self._revision += 1
        order = f"{minute_s:020}{self._revision:020}"
        window = Window(
            NAMESPACE, "tokens", self.definitions.meter_id, subject, {}, minute_s // 60 * 60, value, 1, value, order,
            list(members), self._revision, 0,
        )  # fmt: skip
        self.record([CustomerWindow(customer or self.customer, window)])

    def answer_numbers(self) -> None:
        """The numbering answers every request that has no answer."""
        for id, request in list(self.published.numbers.items()):
            if id in self.rows:
                continue
            asked = NumberRequest(
                series=request.series, invoice_id=id, stem=request.stem, start=request.start
            )
            answer = BillingWork("number", customer=request.customer, namespace=request.namespace, invoice=id)
            try:
                answer.number = give(self.lasts, self.rows, asked).number
            except Rejected as refusal:
                answer.error, answer.detail = refusal.reason, refusal.detail
                del self.published.numbers[id]  # until it is asked for again
            self.record(answer)

    def settle(self) -> None:
        """The usage of every event so far is there."""
        self.record(BillingWork("settled", settled_ms=self.now_s * 1000))
        self.answer_numbers()

    def tick(self) -> None:
        self.record(BillingWork("clock"))
        self.answer_numbers()

    def until(self, at_s: int, settles: bool = True) -> None:
        """Time passes, and the clock ticks whenever something is due."""
        while (due_ms := self.index.next_ms()) <= at_s * 1000:
            self.now_s = max(self.now_s, -(-due_ms // 1000))
            self.tick()
            if settles and self.index.waits_ms() <= self.now_s * 1000:
                self.settle()
            wanted = self.index.waits_ms()
            if settles and self.now_s * 1000 < wanted <= min(at_s * 1000, self.index.next_ms()):
                self.now_s = wanted // 1000
                self.settle()
        self.now_s = max(self.now_s, at_s)
        self.tick()

    def reprice(self, price: Price, of: Callable[[InvoiceLine], bool]) -> None:
        """The stored groups of some lines get another price, which the catalog may refuse."""
        rows = GroupRows(self.table)
        for key in [key for key in self.table.rows if key.startswith(GROUP)]:
            group = rows.get(key)
            if group is not None and of(group.line):
                card = msgspec.structs.replace(group.line.rate_card, price=price)
                line = msgspec.structs.replace(group.line, rate_card=card)
                rows.put(key, msgspec.structs.replace(group, line=line))
        rows.flush()

    # -- documents ----------------------------------------------------------------------------------------------

    def invoices(self, customer: str | None = None) -> list[StoredInvoice]:
        """All invoices of a customer, in the order in which they were made."""
        found = [
            one for one in self.published.invoices.values() if one.customer == (customer or self.customer)
        ]
        return [_invoice(one.body) for one in sorted(found, key=lambda one: one.id)]

    def invoice(self, id: str) -> StoredInvoice:
        return _invoice(self.published.invoices[id].body)

    def subscription(self, id: str) -> Subscription:
        return _subscription(self.published.subscriptions[id].body)

    def gathering(self, customer: str | None = None) -> StoredInvoice:
        found = [one for one in self.invoices(customer) if one.progress.state == "gathering"]
        assert len(found) == 1
        return found[0]

    def billed(self, customer: str | None = None) -> list[StoredInvoice]:
        """Invoices that are not gathering, in order."""
        return [one for one in self.invoices(customer) if one.content.number[:6] != "GATHER"]

    def subscribe(self, customer: str | None = None, **sent: Any) -> str:
        body = {"customerId": customer or self.customer, "plan": {"key": "simple"}, **sent}
        return str(self.do("subscription.create", body, customer)["subscription"])


def lines_of(stored: StoredInvoice) -> list[tuple[str, str, str]]:
    """Name, day on which the period begins, and total of the live lines."""
    live = [one for one in stored.content.lines if one.deleted_at is None]
    return [(one.name, one.period.start[:10], one.totals.total) for one in live]


def live(stored: StoredInvoice) -> list[InvoiceLine]:
    return [one for one in stored.content.lines if one.deleted_at is None]
