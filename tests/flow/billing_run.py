"""python -m tests.flow.billing_run --invoices 10000 --customers 1000 --kills 40 --data /tmp/billing

Customers with a monthly fee on eight partitions, while workers of billing and numbering are killed: in the end the
numbers of all invoices are 1..n, each invoice has had one number, and each customer one invoice a month with the fee.
Exit code 1 otherwise. The broker runs under DIR.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipeline.local.kafka import Kafka
from pipeline.settings import Settings
from tests.fixtures.broker import reset_topics
from tests.flow.billing_line import BillingLine
from tests.flow.billing_story import BillingStory
from tests.flow.own_broker import own_broker

Say = Callable[[str], None]
PARTITIONS = 8
POINTS = ("produce.before", "produce.after", "commit.before", "commit.after", "table.before", "table.after")


@dataclass(frozen=True)
class Scale:
    """invoices: at least so many, a whole number of months for all customers. kills: of workers."""

    invoices: int
    customers: int
    kills: int
    seed: int = 7

    @property
    def months(self) -> int:
        return -(-self.invoices // self.customers)


class BillingRun:
    """One run. `wrong` names every difference."""

    def __init__(self, line: BillingLine, scale: Scale, say: Say) -> None:
        self._line = line
        self._scale = scale
        self._say = say
        self._random = random.Random(scale.seed)
        self._steps = 2 * (scale.months - 1)
        self._killed = 0
        self.story = BillingStory(line, scale.customers, self._disturb)
        self.wrong: list[str] = []

    def carry_out(self) -> None:
        """Everything, up to the comparison."""
        began_s = time.monotonic()
        self._line.start()
        self.story.define()
        self.story.subscribe("fee")
        for month in range(1, self._scale.months):
            self.story.end_month(f"{2040 + month // 12}-{month % 12 + 1:02}-01T00:00:00Z")
            self._say(f"month {month}: {self._line.counted()}, {time.monotonic() - began_s:.0f} s")
        self._compare()
        took_s = time.monotonic() - began_s
        self._say(
            f"{len(self.story.numbers())} invoices of {self._scale.customers} customers on {PARTITIONS} partitions in "
            f"{took_s:.0f} s; {self._line.started} workers started, {len(self._line.asked)} requests for numbers"
        )

    def _disturb(self, step: str) -> None:
        """Kill as many workers in each step as are left to be killed, evenly."""
        if not step.startswith("clock"):
            return
        self._steps -= 1
        many = -(-(self._scale.kills - self._killed) // max(1, self._steps))
        for _ in range(many):
            self._killed += 1
            stage = self._random.choice(("billing", "numbering"))
            if self._random.randrange(3):
                self._line.arm(stage, self._random.choice(POINTS))
            else:
                self._line.restart(stage)

    def _compare(self) -> None:
        self.wrong += self.story.wrong_numbers()
        given: dict[str, set[str]] = {}
        for topic, document in self._line.records:
            if topic == "invoices":
                number = msgspec.json.decode(document.body)["progress"].get("number")
                if number:
                    given.setdefault(document.id, set()).add(str(number))
        if several := [id for id, found in given.items() if len(found) > 1]:
            self.wrong.append(f"{len(several)} invoices have had more than one number, such as {several[0]}")
        of_customer = Counter(
            body["content"]["customer"]["id"]
            for body in self._line.bodies("invoices").values()
            if body["progress"].get("number")
        )
        wanted = {self._scale.months}
        if set(of_customer.values()) != wanted or len(of_customer) != self._scale.customers:
            found = sorted(Counter(of_customer.values()).items())
            self.wrong.append(f"a customer has {wanted} invoices, but (invoices, customers) are {found}")


def run(kafka: Kafka, folder: Path, scale: Scale, say: Say) -> list[str]:
    """Carry a run out on a broker. Returns every difference."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings.model_construct(kafka=kafka.address, partitions=PARTITIONS)
    reset_topics(settings)
    with BillingLine(settings, folder) as line:
        made = BillingRun(line, scale, say)
        made.carry_out()
    return made.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--invoices", type=int, default=10_000)
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--data", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="billing-run-") as made:
        folder = asked.data or Path(made)
        scale = Scale(asked.invoices, asked.customers, asked.kills, asked.seed)
        with own_broker(folder / "kafka") as broker:
            wrong = run(broker, folder / "run", scale, print)
    for difference in wrong:
        print(f"WRONG: {difference}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
