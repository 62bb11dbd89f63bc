"""A customer whose events are counted by aggregate, billed by billing, and kept as ClickHouse keeps them.

Owns: this small pipeline: partitions of `events-unique`, windows, stored events, explanations of lines. Does not own:
any test.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from pipeline.core.bills.terms import BillTerms
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.explain.line_basis import LineBasis, basis_of, find_line
from pipeline.core.explain.line_recount import EventChange, LineRecount, UsageOwner
from pipeline.core.explain.line_tally import LineQuantities
from pipeline.core.explain.recount import EventMeasure, MeasuredEvent, RecordedEvent
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.core.metering.aggregate import aggregate
from pipeline.core.metering.extract import MeterIndex
from pipeline.core.metering.identity import subject_hash
from pipeline.core.metering.meter import Meter
from pipeline.core.metering.partition_splits import EventPartitions
from pipeline.records import CustomerWindow, Event, Settled, Window
from tests.core.bills.bill_world import NAMESPACE, BillWorld, Definitions
from tests.fixtures.catalog_bodies import METER
from tests.fixtures.fake_transaction import DictTable

PARTITIONS = 2  # unless a test needs others
SUBJECTS = ("ann", "bob", "eve", "joe")
NS = 1_000_000_000
DIMENSIONS = {"groupBy": {"model": "$.model"}}


class Explained:
    """An explained line: its events by id, with what each is."""

    def __init__(self, basis: LineBasis, events: dict[str, EventChange], found: LineQuantities) -> None:
        self.basis, self.events, self.found = basis, events, found


class ExplainWorld:
    """`bills`: the billing stage. `stored`: the events that the meter counted."""

    def __init__(
        self,
        aggregation: str = "SUM",
        partitions: int = PARTITIONS,
        stage: type[BillWorld] = BillWorld,
        **named: Any,
    ) -> None:
        meter = {
            name: value for name, value in METER.items() if (aggregation, name) != ("COUNT", "valueProperty")
        }
        definitions = Definitions(aggregation=aggregation, meter={**meter, **DIMENSIONS}, **named)
        made = definitions.log.do(
            "customer.create",
            {"name": "Acme", "key": "acme", "usageAttribution": {"subjectKeys": list(SUBJECTS)}},
        )
        definitions.customers = [str(made["id"])]
        definitions.read()
        self.bills = stage(definitions, BillTerms(partitions=EventPartitions(partitions)))
        body = definitions.log.body("meter", "tokens")
        self.meter = msgspec.convert({**body, "namespace": NAMESPACE}, Meter)
        self.holders = Holders()
        self.holders.update(Changes(dict(definitions.log.state)))
        self._index = MeterIndex([self.meter])
        self._tables = [DictTable() for _ in range(partitions)]
        self._offsets, self.partitions = [0] * partitions, EventPartitions(partitions)
        self._sent = 0
        self.stored: list[RecordedEvent] = []
        self.settled: list[Settled] = []
        self.windows: dict[tuple[str, int, str], Window] = {}  # in their newest state

    @property
    def owner(self) -> UsageOwner:
        return UsageOwner(NAMESPACE, self.bills.customer, self.holders, self.partitions)

    def raise_partitions(self, number: int) -> None:
        """Each new partition begins with the state and the offset of the one that it continues."""
        before, splits = self.partitions.number, list(self.partitions.splits)
        for partition in range(before, number):
            parent = partition % before
            splits.append((partition, parent, self._offsets[parent]))
            self._tables.append(copy.deepcopy(self._tables[parent]))
            self._offsets.append(self._offsets[parent])
        self.partitions = EventPartitions(number, tuple(splits))
        self.bills.terms = msgspec.structs.replace(self.bills.terms, partitions=self.partitions)

    def send(self, time_s: int, tokens: object, subject: str = "ann", model: str = "small") -> str:
        """An event, through aggregate and billing. Returns its id."""
        self._sent += 1
        id = f"e{self._sent}"
        partition = subject_hash(NAMESPACE, subject) % self.partitions.number
        data = json.dumps({"tokens": tokens, "model": model}).encode()
        event = Event(
            NAMESPACE, "src", id, "prompt", subject, time_s * NS + self._sent, self.bills.now_s * 1000, "events", 0,
            self._sent, Raw(data),
        )  # fmt: skip
        offset = self._offsets[partition]
        self._offsets[partition] += 1
        counted = aggregate([event], offset, self._index, self._tables[partition], 0, 10**6)
        self.settled += counted.settled
        self.stored += [_recorded(one) for one in counted.settled if one.fate == "counted"]
        for window in counted.windows:
            key = (window.subject, window.start_s, window.dimensions["model"])
            before = self.windows.get(key)
            members = sorted({*window.members, *(() if before is None else before.members)})
            self.windows[key] = msgspec.structs.replace(window, members=members)
        self.bills.record([CustomerWindow(self.bills.customer, window) for window in counted.windows])
        return id

    def explained(self, line_id: str, stored: Iterable[RecordedEvent] | None = None) -> Explained:
        """A line, explained by stored events. Raises as `LineRecount.check`."""
        recount, events = self.counted(line_id, stored)
        return Explained(recount[0], events, recount[1].check())

    def counted(
        self, line_id: str, stored: Iterable[RecordedEvent] | None = None
    ) -> tuple[tuple[LineBasis, LineRecount], dict[str, EventChange]]:
        """A line with its events, counted and not yet compared."""
        invoices = self.bills.invoices()
        basis = basis_of(invoices, *find_line(invoices, line_id))
        recount = LineRecount(basis, self.owner)
        from_s, to_s = recount.span
        events: dict[str, EventChange] = {}
        for one in self.measured(stored):
            if from_s <= one.event.time_ns // NS < to_s and (change := recount.take(one)) is not None:
                events[one.event.id] = change
        return (basis, recount), events

    def measured(self, stored: Iterable[RecordedEvent] | None = None) -> list[MeasuredEvent]:
        """What the meter read from stored events."""
        measure = EventMeasure(self.meter)
        return [measure.read(one) for one in (self.stored if stored is None else stored)]

    def line_ids(self) -> list[str]:
        """Every line by usage, and every correction, of invoices that are made."""
        return [
            line.id
            for invoice in self.bills.billed()
            for line in invoice.content.lines
            if line.deleted_at is None and line.rate_card.feature_key == "tokens"
        ]

    def made(self) -> list[StoredInvoice]:
        return self.bills.billed()


def _recorded(settled: Settled) -> RecordedEvent:
    event = settled.event
    assert isinstance(event, Event)
    return RecordedEvent(
        event.id,
        event.source,
        event.subject,
        event.time_ns,
        event.received_at_ms,
        bytes(event.data).decode(),
        event.input_topic,
        event.partition,
        event.offset,
        settled.revision,
        settled.rules,
        False,
        settled.position,
    )
