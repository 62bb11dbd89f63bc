"""python -m tests.flow.stripe_bills_run --invoices 600 --customers 150 --kills 10 --outage 25 --data /tmp/bills

Invoices on their way to Stripe under faults: calls that fail in every way, an outage, workers that are killed. In the
end each order has one answer, Stripe has each invoice and each customer once, with our total and our number, no
idempotency key has carried two bodies, and no call was above the limits. Then differences are planted by hand at
Stripe, and drift names each with its cause. Exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, TopicPartition

from pipeline.core.billing.stripe_found import owner_of
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.faults import FaultRule
from pipeline.records import BillingWork, StripeInvoiceFact, StripeItem, StripeOrder, StripeWork
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topics
from tests.core.billing.stripe_world import APP, HOUR_S, NAMESPACE, app, meter
from tests.flow.own_broker import own_broker
from tests.flow.stripe_line import READ, StripeLine
from tests.flow.stripe_planted import PLANTED, stored_of, unnamed
from tests.flow.stripe_run import EVERY_FAULT
from tests.local.stripe_sandbox.sandbox_server import account

Say = Callable[[str], None]
POINTS = ("stripe.called", "stripe.sending")
STEP_S = 700  # what is asked again waits for ten minutes


@dataclass(frozen=True)
class Scale:
    """faults_permille: of 1,000 calls so many fail. outage_h: begins when half of the invoices are ordered."""

    invoices: int
    customers: int
    faults_permille: int
    kills: int
    outage_h: int
    seed: int = 7


class BillsRun:
    """One run. `wrong` names every difference."""

    def __init__(self, line: StripeLine, folder: Path, scale: Scale, say: Say) -> None:
        self._line, self._scale, self._say = line, scale, say
        self._random = random.Random(scale.seed)
        self._armed = folder / "armed"
        self._armed.mkdir()
        self._killed = 0
        self.orders: dict[str, tuple[str, StripeOrder]] = {}  # customer and order by invoice
        self.answers: dict[str, list[StripeInvoiceFact]] = {}
        self.wrong: list[str] = []
        self._consumer = Consumer({**cluster.client_config(line.settings), "group.id": "answers", **READ})
        self._consumer.assign(
            [TopicPartition("billing-work", number, 0) for number in range(line.settings.partitions)]
        )

    def carry_out(self) -> None:
        """Everything, up to the comparison."""
        line, scale = self._line, self._scale
        line.define(meter(), app())
        self._say("start")
        line.start(CRASH_DIR=str(self._armed))
        faults = [FaultRule(EVERY_FAULT, share_permille=scale.faults_permille)]
        line.fail(faults, scale.seed)
        self._order(scale.invoices // 2)
        self._wait(lambda: len(self.answers) >= scale.invoices // 4, scale.kills // 2)
        if scale.outage_h:
            until_s = line.now_s() + scale.outage_h * HOUR_S
            line.fail([FaultRule(["unavailable", "timeout-before"], to_s=until_s), *faults], scale.seed)
        self._say(f"the outage begins: {len(self.answers)} answers, {line.sandbox.requests} requests")
        self._order(scale.invoices)
        before = line.sandbox.requests
        self._wait(lambda: line.sandbox.requests > before + 3, 0)
        self._say(f"the outage ends: {len(self.answers)} answers, {line.sandbox.requests} requests")
        line.advance(scale.outage_h * HOUR_S)
        self._wait(lambda: len(self.answers) >= scale.invoices, scale.kills - self._killed)
        self._compare()
        self._consumer.close()

    def _order(self, until: int) -> None:
        for place in range(len(self.orders), until):
            amounts = [self._random.randrange(-500, 5_000) for _ in range(self._random.randrange(1, 8))]
            total = max(0, sum(amounts))
            amounts[-1] += total - sum(amounts)
            items = [
                StripeItem("line", f"L{n}", amount, "usage", 0, HOUR_S) for n, amount in enumerate(amounts)
            ]
            currency = self._random.choice(["USD", "JPY"])
            made = StripeOrder(
                "issue", APP, 9, number=f"INV-{place}", currency=currency, total=total, name="A", items=items
            )
            customer, invoice = f"c{self._random.randrange(self._scale.customers)}", f"01INVOICE{place:08}"
            self.orders[invoice] = customer, made
            self._line.work(
                StripeWork(
                    "order", namespace=NAMESPACE, customer=customer, mapping=APP, invoice=invoice, order=made
                )
            )

    def _wait(self, is_over: Callable[[], bool], kills: int, timeout_s: float = 900) -> None:
        """Read answers until something is so; workers are killed, and time passes when nothing happens."""
        deadline_s, last, idle_s = time.monotonic() + timeout_s, -1, time.monotonic()
        line = self._line
        while not is_over():
            self._read()
            is_armed = any((self._armed / point).exists() for point in POINTS)
            if kills and self._random.randrange(3) == 0 and not is_armed:
                (self._armed / self._random.choice(POINTS)).write_text("kill")
                kills -= 1
            if line.workers[-1].poll() is not None:
                assert line.workers[-1].returncode == -signal.SIGKILL, line.logs()[-3000:]
                self._killed += 1
                self._say(f"a worker was killed: {len(self.answers)} answers")
                line.start(CRASH_DIR=str(self._armed))
            if line.sandbox.requests != last:
                last, idle_s = line.sandbox.requests, time.monotonic()
            elif time.monotonic() - idle_s > 0.6:
                line.advance(STEP_S)
                idle_s = time.monotonic()
            state = (len(self.answers), line.sandbox.requests, line.logs()[-3000:])
            assert time.monotonic() < deadline_s, state

    def _read(self) -> None:
        for message in self._consumer.consume(500, 0.2):
            if message.error() is not None:
                continue
            work = msgspec.json.decode(message.value() or b"", type=BillingWork)
            if work.stripe is not None:
                self.answers.setdefault(work.invoice, []).append(work.stripe)

    def _compare(self) -> None:
        sandbox, line = self._line.sandbox, self._line
        there = [(owner_of(one.json()).invoice, one) for one in sandbox.invoices.invoices.values()]
        times = Counter(ours for ours, _ in there)
        self.wrong += [f"{ours} is at Stripe {times[ours]} times" for ours in self.orders if times[ours] != 1]
        self.wrong += [f"{one.id} is of no order" for ours, one in there if ours not in self.orders]
        for ours, one in there:
            order = self.orders[ours][1]
            status = "open" if order.total else "paid"
            found = (one.total, one.number, one.currency, one.status, len(one.lines))
            if found != (order.total, order.number, order.currency.lower(), status, len(order.items)):
                self.wrong.append(f"{ours}: {found} is not as it was ordered")
        ours_of = {one.id: owner_of(one.json()).customer for one in sandbox.account.customers.values()}
        wanted = {customer for customer, _ in self.orders.values()}
        if sorted(ours_of.values()) != sorted(wanted):
            self.wrong.append(f"{len(ours_of)} customers at Stripe, and {len(wanted)} here")
        failed = [fact for facts in self.answers.values() for fact in facts if fact.outcome != "done"]
        self.wrong += [f"failed: {fact.message}" for fact in failed]
        self.wrong += [
            f"{id} has {len(facts)} answers" for id, facts in self.answers.items() if len(facts) > 1
        ]
        self.wrong += [f"key {key} has two bodies" for key, one in sandbox.bodies.items() if len(one) > 1]
        if sandbox.limits.refused:
            self.wrong.append(f"{sandbox.limits.refused} requests were above the limits")
        if not self.wrong and self._scale.invoices > 2 * len(PLANTED):
            self.wrong += unnamed(APP, stored_of(self.orders, self.answers), sandbox.invoices)
            self._say(f"planted at Stripe, and named by drift: {', '.join(PLANTED)}")
        line.fail([])
        self._say(
            f"{len(there)} invoices at Stripe, {len(ours_of)} customers, {sandbox.requests} requests, "
            f"{len(sandbox.bodies)} keys, {self._killed} kills, faults {line.faults}, {len(self.wrong)} differences, "
            f"CPU of the workers {line.cpu_s():.1f} s"
        )


def run(settings: Settings, folder: Path, scale: Scale, say: Say) -> list[str]:
    """Carry out a run on a broker with empty topics. Returns the differences."""
    sandbox = StripeSandbox(account(), SandboxClock())
    with StripeLine(settings, folder, sandbox) as line:
        made = BillsRun(line, folder, scale, say)
        made.carry_out()
        return made.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--invoices", type=int, default=600)
    parser.add_argument("--customers", type=int, default=150)
    parser.add_argument("--faults", type=int, default=200, help="of 1,000 calls so many fail")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--outage", type=int, default=25, help="hours")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--data", type=Path, help="new or empty folder; default: a temporary one")
    given = parser.parse_args()
    folder = given.data or Path(tempfile.mkdtemp(prefix="bills-"))
    folder.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began_s:7.1f} s  {line}", flush=True)

    scale = Scale(given.invoices, given.customers, given.faults, given.kills, given.outage, given.seed)
    with own_broker(folder / "broker") as broker:
        settings = Settings.model_construct(kafka=broker.address, state_dir=folder / "state")
        topics.apply(settings)
        wrong = run(settings, folder, scale, say)
    print("\n".join(wrong[:20]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
