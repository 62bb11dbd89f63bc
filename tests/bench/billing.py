"""What a bill costs: `python -m tests.bench.billing`.

    python -m tests.bench.billing year --customers 1000          # a year of monthly invoices, record by record
    python -m tests.bench.billing month --customers 1000 --lines 10   # one month end at once

The state of one partition in memory, without a broker: records of the clock, of usage, of the numbering. Printed are
CPU seconds, so that other work on the machine counts less; a line is one of an issued invoice. Bytes are those of the
keys and values of rows, not compressed, by kind of row.
"""

from __future__ import annotations

import argparse
import time
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from pipeline.core.bills.bill_table import BillTable
from pipeline.core.invoices.numbering import NumberRow
from pipeline.core.invoices.stored_invoice import StoredInvoice
from pipeline.records import BillDocument, BillingWork, Command, CustomerWindow, Window
from tests.core.bills.bill_world import NAMESPACE, ONE_PHASE, BillWorld, Definitions, Record, at
from tests.fixtures.catalog_bodies import FEE, METER, TOKENS, Body

CHUNK = 500
KINDS = {
    "p": "p  position",
    "h": "h  head of a customer",
    "s": "s  subscription",
    "i": "i  invoice that is not closed",
    "f": "f  closed invoice",
    "c": "c  credit grant",
    "a": "a  account of credits",
    "b": "b  what an invoice has booked",
    "e": "e  settings that closed invoices share",
    "g": "g  group of lines",
    "j": "j  item that lines share",
    "t": "t  terms that customers share",
    "l": "l  references of the lines of a subscription",
    "w": "w  metered groups",
    "d": "d  when the customer is due",
    "k": "k  command that was done",
    "x": "x  when that is removed",
    "o": "o  result of a record",
    "u": "u  usage by minute, hour and day",
}
R = TypeVar("R")
_stored = msgspec.json.Decoder(StoredInvoice).decode


def parts(everything: Sequence[R]) -> Iterator[Sequence[R]]:
    """A sequence in chunks."""
    for start in range(0, len(everything), CHUNK):
        yield everything[start : start + CHUNK]


class SortedTable:
    """Rows in memory whose keys are sorted by their first byte, so that a scan does not sort all of them."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self._keys: defaultdict[bytes, list[bytes]] = defaultdict(list)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.rows.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        if key not in self.rows:
            insort(self._keys[key[:1]], key)
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        if self.rows.pop(key, None) is not None:
            keys = self._keys[key[:1]]
            del keys[bisect_left(keys, key)]

    def scan(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        keys = self._keys[start[:1]]
        first = bisect_left(keys, start)
        return [(key, self.rows[key]) for key in keys[first : first + limit]]

    def sizes(self) -> tuple[Counter[str], Counter[str]]:
        """By the letter of a kind: its rows, and the bytes of their keys and values."""
        rows, sizes = Counter[str](), Counter[str]()
        for key, value in self.rows.items():
            rows[chr(key[0])] += 1
            sizes[chr(key[0])] += len(key) + len(value)
        return rows, sizes


class BenchWorld(BillWorld):
    """Records in chunks, as a stage reads them. Documents are not kept but for the newest of each invoice."""

    def __init__(self, definitions: Definitions) -> None:
        super().__init__(definitions)
        self.sorted = SortedTable()
        self.plan = "simple"
        self.offset = 0

    def many(self, records: Sequence[Record]) -> None:
        """Apply records at the time that it is."""
        for part in parts(records):
            table = BillTable(self.sorted, self.index, self.definitions.billing, self.terms)
            for record in part:
                self.offset += 1
                if isinstance(record, list):
                    table.take(record, self.offset, self.now_s * 1000)
                else:
                    table.apply(record, self.offset, self.now_s * 1000)
            output = table.flush()
            self.published.invoices |= {one.id: one for one in output.invoices}
            self.published.numbers |= {one.invoice: one for one in output.numbers}

    def settle_all(self) -> None:
        """Move everybody who is due now, and answer all numbers."""
        while self.index.next_ms() <= self.now_s * 1000:
            self.many([BillingWork("clock")])
        self.many([BillingWork("settled", settled_ms=self.now_s * 1000)])
        while self.index.next_ms() <= self.now_s * 1000:
            self.many([BillingWork("clock")])
        asked = [one for id, one in self.published.numbers.items() if id not in self.rows]
        answers = []
        for request in asked:
            place = self.lasts[request.series] = self.lasts.get(request.series, 0) + 1
            number = f"{request.stem}-{place}"
            self.rows[request.invoice] = NumberRow(request.series, place, number)
            answers.append(
                BillingWork(
                    "number",
                    customer=request.customer,
                    namespace=request.namespace,
                    invoice=request.invoice,
                    number=number,
                )
            )
        self.many(answers)

    def subscribe_all(self) -> None:
        for customer in self.definitions.customers:
            sent = {"customerId": customer, "plan": {"key": self.plan}}
            body = {"customer": customer, "sent": sent}
            command = Command(f"c{customer}", "subscription.create", NAMESPACE, "ann", 1, body)
            self.many([BillingWork("command", customer=str(customer), command=command)])

    def use_all(self, models: Sequence[str]) -> list[Record]:
        """A record of windows for each customer: one of each model, in this minute."""
        self._revision += 1
        minute_s = self.now_s // 60 * 60
        windows = [
            CustomerWindow(
                str(customer),
                Window(
                    NAMESPACE, "tokens", self.definitions.meter_id, "s", {"model": model} if model else {}, minute_s,
                    str(100 + place), 1, "1", "", [], self._revision, 0,
                ),
            )
            for customer in self.definitions.customers
            for place, model in enumerate(models)
        ]  # fmt: skip
        return [list(part) for part in parts(windows)]

    def report(self, title: str, cpu_s: float) -> None:
        paid = [
            one for one in map(_decoded, self.published.invoices.values()) if one.progress.state == "paid"
        ]
        lines = sum(len(one.content.lines) for one in paid)
        print(f"{title}: {cpu_s:.1f} s of CPU, {len(paid)} paid invoices, {lines} lines")
        print(f"  {cpu_s / max(lines, 1) * 1e6:.0f} us a line, {lines / cpu_s:.0f} lines/s on one core")
        self.report_rows()

    def report_rows(self) -> None:
        """The state by kind of row, once what ended is closed."""
        customers = len(self.definitions.customers)
        self.show_size("at the end")
        self.now_s += self.terms.replayed_ms // 1_000 + 60
        self.settle_all()
        rows, sizes = self.sorted.sizes()
        self.show_size("an hour later")
        for name, size in sizes.most_common():
            kind = KINDS.get(name, name)
            each, count = size / rows[name], rows[name] / customers
            print(f"    {kind:46} {size / customers:9.0f} bytes a customer, {count:8.2f} rows of {each:6.0f}")

    def show_size(self, when: str) -> None:
        _, sizes = self.sorted.sizes()
        print(f"  {sum(sizes.values()) // len(self.definitions.customers)} bytes a customer {when}")


def _decoded(document: BillDocument) -> StoredInvoice:
    return _stored(document.body)


def year(customers: int, lines: int | None) -> None:
    """A year of monthly invoices with usage in each month: one metered line, or `lines` of them."""
    models = [""] if lines is None else [f"m{place}" for place in range(lines)]
    world = BenchWorld(Definitions(customers)) if lines is None else world_of(customers, models)
    world.now_s = at("2026-01-10")
    world.subscribe_all()
    start_s = time.process_time()
    world.settle_all()
    for month in range(2, 14):
        first = f"{2026 + (month - 1) // 12}-{(month - 1) % 12 + 1:02}"
        for instant in (f"{first}-09", f"{first}-10", f"{first}-10T01:00:00Z", f"{first}-11"):
            world.now_s = at(instant)
            if instant.endswith("-09"):
                world.many(world.use_all(models))
            world.settle_all()
    world.report(f"a year of {customers} customers", time.process_time() - start_s)


def world_of(customers: int, models: Sequence[str]) -> BenchWorld:
    """Customers of a plan with a fee and a metered price for each model."""
    made = Definitions(customers, plan=ONE_PHASE, meter={**METER, "groupBy": {"model": "$.model"}})
    for model in models:
        filters = {
            "key": model,
            "name": model,
            "meterSlug": "tokens",
            "meterGroupByFilters": {"model": model},
        }
        made.log.do("feature.create", filters)
    cards: list[Body] = [{**TOKENS, "key": model, "name": model, "featureKey": model} for model in models]
    phase = {"key": "main", "name": "Main", "duration": None, "rateCards": [FEE, *cards]}
    plan = made.log.do("plan.create", {**ONE_PHASE, "key": "many", "phases": [phase]})
    made.log.do("plan.publish", {"id": plan["id"]})
    made.read()
    world = BenchWorld(made)
    world.plan = "many"
    return world


def month(customers: int, lines: int) -> None:
    """Everybody's month ends at the same instant, with so many metered lines each."""
    models = [f"m{place}" for place in range(lines)]
    world = world_of(customers, models)
    world.now_s = at("2026-01-10")
    world.subscribe_all()
    world.settle_all()
    for day in range(11, 31, 4):
        world.now_s = at(f"2026-01-{day:02}")
        world.many(world.use_all(models))
        world.settle_all()
    world.published.invoices.clear()
    start_s = time.process_time()
    for instant in ("2026-02-10", "2026-02-10T01:00:00Z", "2026-02-10T01:00:10Z"):
        world.now_s = at(instant)
        world.settle_all()
    end_s = time.process_time()
    world.report(f"the month end of {customers} customers with {lines} metered lines", end_s - start_s)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("year", "month"))
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument(
        "--lines", type=int, help="metered lines of each customer: 10 at a month end, 1 in a year"
    )
    asked = parser.parse_args()
    if asked.what == "year":
        year(asked.customers, asked.lines)
    else:
        month(asked.customers, asked.lines or 10)


if __name__ == "__main__":
    main()
