"""python -m tests.core.bills.month_orders --orders 50

One month of customers with credits and a change of plan, its events in random orders: each arrives at its time, later
in the month, or after the invoice was issued. What each line is in the end, with its parts and corrections, is the same
to the cent in every order. The ledger sums to 0 and no balance is below 0 after every event. Exit code 1 otherwise.

Owns: the month, its orders, the comparison. Does not own: the stages (explain_world), the small form
(test_month_orders). Events pass through the aggregate and the billing of the pipeline.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from pipeline.core.invoices.line import InvoiceLine, live_lines
from pipeline.core.values import number
from pipeline.core.values.calendar import DAY_S, HOUR_S
from tests.core.bills.bill_world import at
from tests.core.bills.test_bill_laws import PRICES, plan
from tests.core.bills.test_customer_credits import CreditWorld
from tests.core.explain.explain_world import SUBJECTS, ExplainWorld

BEGIN, CHANGE, END, LAST = at("2026-01-10"), at("2026-01-25"), at("2026-02-10"), at("2026-04-09")
GRANTS = (
    {"amount": "25"},
    {"amount": "7.77", "filters": {"features": ["tokens"]}, "priority": 2, "expires_after": "P20D"},
)
RULE = {"currency": "EUR", "threshold": "5", "amount": "6", "target": "12", "funding_method": "none"}
CORRECTION = ": correction"
AGGREGATIONS = ("SUM", "COUNT", "UNIQUE_COUNT", "LATEST")
Owed = dict[tuple[str, str], int]  # by the name of a line and the begin of its period, in atto


@dataclass(frozen=True)
class MonthEvent:
    """time_s: of which no two events have the same."""

    time_s: int
    tokens: int | str
    subject: str


@dataclass(frozen=True)
class CustomerMonth:
    """What a customer has and does. place: of its first price; it changes to the next one."""

    aggregation: str
    place: int
    events: int

    def made(self) -> list[MonthEvent]:
        """Its events, the same for every order."""
        random = Random(f"{self.aggregation}/{self.place}")
        return [
            MonthEvent(time_s, self._value(random), random.choice(SUBJECTS))
            for time_s in sorted(random.sample(range(BEGIN + 60, END), self.events))
        ]

    def _value(self, random: Random) -> int | str:
        value = random.randrange(1, 20)
        return f"m{value}" if self.aggregation == "UNIQUE_COUNT" else value


def arrivals(events: list[MonthEvent], order: Random | None) -> list[tuple[int, MonthEvent]]:
    """When each event arrives, in order; None: each at its time. A third arrives after the month was invoiced."""
    if order is None:
        return [(one.time_s, one) for one in events]
    found = []
    for one in events:
        waits = order.choice([(one.time_s, one.time_s + HOUR_S), (one.time_s, END), (END + 2 * HOUR_S, LAST)])
        found.append((order.randrange(*waits), one))
    order.shuffle(found)
    return sorted(found, key=lambda arrival: arrival[0])


class MonthWorld:
    """A customer whose month passes in one order. late: events that arrive once their invoice is issued."""

    def __init__(self, month: CustomerMonth) -> None:
        self._month = month
        self._events = ExplainWorld(month.aggregation, stage=CreditWorld)
        self.late = 0

    @property
    def bills(self) -> CreditWorld:
        bills = self._events.bills
        assert isinstance(bills, CreditWorld)
        return bills

    def live(self, order: Random | None) -> Owed:
        """Let everything happen. Returns what is owed in the end."""
        place, bills = self._month.place, self.bills
        bills.now_s = BEGIN
        first, second = (
            plan(PRICES[(place + step) % len(PRICES)], fee) for step, fee in ((0, "20"), (1, "60"))
        )
        bills.do("subscription.create", {"customerId": bills.customer, "customPlan": first})
        for sent in GRANTS:
            bills.grant(**sent)  # type: ignore[arg-type]
        bills.do("credit.rule", RULE)
        waiting = arrivals(self._month.made(), order)
        self._arrive(waiting, CHANGE)
        (subscription,) = bills.published.subscriptions
        changed = {"timing": "immediate", "customPlan": second}
        bills.do("subscription.change", changed, id=subscription)
        self._arrive(waiting, LAST)
        for id in list(bills.published.subscriptions):
            if bills.subscription(id).active_to_s is None:
                bills.do("subscription.cancel", {"timing": "immediate"}, id=id)
        bills.until(LAST + 40 * DAY_S)
        bills.check()
        return self.owed()

    def _arrive(self, waiting: list[tuple[int, MonthEvent]], until_s: int) -> None:
        """Events arrive until an instant; after each the ledger and the balances are checked."""
        while waiting and waiting[0][0] < until_s:
            at_s, one = waiting.pop(0)
            self.bills.until(at_s)
            self._events.send(one.time_s, one.tokens, one.subject)
            self.bills.check()
            self.late += at_s >= (CHANGE if one.time_s < CHANGE else END) + HOUR_S
        self.bills.until(until_s)

    def owed(self) -> Owed:
        """What all lines, with their parts and corrections, are before credits. A correction below 0 may wait."""
        found = Counter[tuple[str, str]]()
        for line in self._lines():
            found[_part(line)] += number.parse(line.totals.total) + number.parse(line.totals.credits_total)
        return dict(found)

    def _lines(self) -> Iterator[InvoiceLine]:
        for invoice in self.bills.invoices():
            lines = live_lines(invoice.content.lines)
            waits = sum(number.parse(one.totals.total) for one in lines)
            assert invoice.progress.state != "gathering" or waits <= 0, "what is owed waits to be invoiced"
            is_note = invoice.content.type == "credit_note"
            assert invoice.progress.state == "gathering" or (waits < 0) == is_note, "an invoice is below 0"
            yield from lines


def _part(line: InvoiceLine) -> tuple[str, str]:
    period = line.period if line.split is None else line.split.period
    return line.name.removesuffix(CORRECTION), period.start


@dataclass
class OrdersFound:
    """late: events that arrived once their invoice was issued. wrong: a sentence for each difference."""

    customers: int = 0
    lines: int = 0
    late: int = 0
    total: int = 0
    wrong: list[str] = field(default_factory=list)


def compare(orders: int, months: list[CustomerMonth]) -> OrdersFound:
    """Let the month of each customer pass in random orders, and compare it with that of its events in order."""
    found = OrdersFound(len(months))
    for month in months:
        expected = MonthWorld(month).live(None)
        found.lines += len(expected)
        found.total += sum(expected.values())
        for place in range(orders):
            world = MonthWorld(month)
            owed = world.live(Random(f"{place}/{month}"))
            found.late += world.late
            found.wrong += [f"order {place} of {month}: {one}" for one in _differences(expected, owed)]
    return found


def _differences(expected: Owed, owed: Owed) -> Iterator[str]:
    for part in sorted(expected.keys() | owed.keys()):
        was, now = (number.text(one.get(part, 0)) for one in (expected, owed))
        if was != now:
            yield f"{part[0]} from {part[1]} is {was} in order, but {now}"


def all_months(events: int) -> list[CustomerMonth]:
    """A customer of each aggregation and price; the first twelve have each price twice."""
    places = range(len(AGGREGATIONS) * len(PRICES))
    return [CustomerMonth(AGGREGATIONS[one % 4], (one + one // 12) % len(PRICES), events) for one in places]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--orders", type=int, default=50)
    parser.add_argument(
        "--customers", type=int, default=24, help="at most 24: each has another meter or price"
    )
    parser.add_argument("--events", type=int, default=40, help="of each customer")
    asked = parser.parse_args()
    began_s = time.process_time()
    found = compare(asked.orders, all_months(asked.events)[: asked.customers])
    for sentence in found.wrong:
        print(f"WRONG: {sentence}")
    print(
        f"{found.customers} customers, {found.lines} parts of lines, {number.text(found.total)} EUR in {asked.orders} "
        f"orders; {found.late} events once their invoice was issued: {len(found.wrong)} differences, "
        f"{time.process_time() - began_s:.0f} s of CPU"
    )
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
