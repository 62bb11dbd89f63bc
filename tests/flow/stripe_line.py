"""Workers of stripe-sync on a real broker, a sandbox in the place of Stripe, and one clock for both.

Owns: starting, killing and freezing workers, moving the clock, publishing definitions and windows as control and
attribute would, reading `stripe-usage`. Does not own: what is expected (test_stripe, stripe_run).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.contracts import ROOT
from pipeline.core.metering.identity import customer_hash
from pipeline.engine.packing import arrays
from pipeline.local import process
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.faults import FaultRule, Faults
from pipeline.records import Command, CustomerWindow, Definition, StripeUsage, StripeWork
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from tests.local.stripe_sandbox.sandbox_server import ServedSandbox

READ = {"isolation.level": "read_committed", "enable.partition.eof": True}
WAIT_S = 180.0  # a worker that starts takes a minute on a machine that is busy
EVENTS_PATH = "/v1/billing/meter_events"
_encode = msgspec.json.Encoder().encode
_usage = msgspec.json.Decoder(list[StripeUsage]).decode

Window = tuple[str, str, tuple[tuple[str, str], ...], int]  # mapping, customer, dimensions, start


class StripeLine:
    """A context manager: workers and readers end with it."""

    def __init__(self, settings: Settings, folder: Path, sandbox: StripeSandbox, **variables: str) -> None:
        self.settings = settings
        self.sandbox = sandbox
        self.workers: list[process.Process] = []
        self.usage: dict[Window, StripeUsage] = {}
        self.records = 0
        self._cpu_s = 0.0
        self.faults: dict[str, int] = {}  # that were made by the rules before those in force
        self._served = ServedSandbox(sandbox, lost_s=3)
        self._folder = folder
        self._clock = folder / "clock"
        self._clock.write_text("0")
        self._ahead_s = 0
        self._variables = variables
        self._producer = Producer(cluster.producer_config(settings) | {"log_level": 0})
        self._consumer = Consumer({**cluster.client_config(settings), "group.id": "usage", **READ})
        self._consumer.assign(
            [TopicPartition("stripe-usage", number, 0) for number in range(settings.partitions)]
        )

    def __enter__(self) -> StripeLine:
        self._served.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()
        self._consumer.close()
        self._served.__exit__(None, None, None)

    # -- workers and time ---------------------------------------------------------------------------------------

    def start(self, **more: str) -> process.Process:
        """One more worker."""
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("TALLYMARK_")}
        variables = {
            "TALLYMARK_KAFKA": self.settings.kafka,
            "TALLYMARK_STATE_DIR": str(self._folder / "state"),
            "TALLYMARK_SESSION_TIMEOUT_S": "6",
            "TALLYMARK_STRIPE_ADDRESS": self._served.url,
            "TALLYMARK_STRIPE_TIMEOUT_S": "1",
            "TALLYMARK_STRIPE_GRACE_S": "60",
            "STRIPE_CLOCK": str(self._clock),
            "PYTHONPATH": str(ROOT),
            **self._variables,
            **more,
        }
        log = self._folder / f"worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "tests.flow.stripe_worker"]
        self.workers.append(process.spawn(command, log, foreign | variables))
        return self.workers[-1]

    def kill(self, worker: process.Process) -> None:
        """Kill a worker that is running."""
        self._cpu_s += _cpu_s(worker)
        worker.kill()
        worker.wait()

    def cpu_s(self) -> float:
        """CPU that all workers have used."""
        return self._cpu_s + sum(_cpu_s(worker) for worker in self.workers if worker.poll() is None)

    def now_s(self) -> int:
        """The time of the sandbox and of the workers."""
        return self.sandbox.clock.now_s()

    def advance(self, seconds: int) -> None:
        """Move the clock of the workers and of the sandbox."""
        self._ahead_s += seconds
        self.sandbox.clock.advance(seconds)
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(str(self._ahead_s * 1_000))
        fresh.replace(self._clock)

    def fail(self, rules: list[FaultRule], seed: int = 7) -> None:
        """Which calls fail from now on."""
        for kind, number in self.sandbox.faults.made.items():
            self.faults[kind] = self.faults.get(kind, 0) + number
        self.sandbox.faults = Faults(rules, seed)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("worker-*.log")))

    # -- records ------------------------------------------------------------------------------------------------

    def define(self, *definitions: Definition) -> None:
        """As control would."""
        for one in definitions:
            key = f"{one.namespace}/{one.kind}/{one.name}"
            self._producer.produce("control", _encode(one), key)
        self._producer.flush()

    def publish(self, windows: Iterable[CustomerWindow]) -> None:
        """As attribute would."""
        targets: defaultdict[int, list[bytes]] = defaultdict(list)
        for one in windows:
            target = customer_hash(one.window.namespace, one.customer) % self.settings.partitions
            targets[target].append(_encode(one))
        for target, parts in targets.items():
            for packed in arrays(parts):
                self._producer.produce("stripe-work", packed, partition=target)
        self._producer.flush()

    def work(self, one: StripeWork) -> None:
        """As the API would."""
        target = customer_hash(one.namespace, one.customer) % self.settings.partitions
        self._producer.produce("stripe-work", _encode(one), one.kind, target)
        self._producer.flush()

    def commands(self) -> list[Command]:
        """Every command that is there now."""
        consumer = Consumer({**cluster.client_config(self.settings), "group.id": "commands", **READ})
        consumer.assign([TopicPartition("commands", 0, 0)])
        found = []
        while (message := consumer.poll(10)) is not None and message.error() is None:
            found.append(msgspec.json.decode(message.value() or b"", type=Command))
        consumer.close()
        return found

    def read(self, timeout_s: float = 0.2) -> None:
        """Read what has come on `stripe-usage`."""
        while messages := self._consumer.consume(500, timeout_s):
            ended = 0
            for message in messages:
                if message.error() is not None:
                    ended += 1
                    continue
                self.records += 1
                for one in _usage(message.value() or b""):
                    place = (one.mapping, one.customer, tuple(one.dimensions.items()), one.start_s)
                    before = self.usage.get(place)
                    if before is None or before.revision <= one.revision:
                        self.usage[place] = one
            if ended:
                return

    @property
    def unsettled(self) -> int:
        """How many windows have units that Stripe does not have yet."""
        return sum(
            one.wanted != one.confirmed + one.unsendable or one.pending != 0 for one in self.usage.values()
        )

    def wait_settled(self, *wanted: int, timeout_s: float = WAIT_S) -> None:
        """Wait until these are the units of all windows, in any order, and Stripe has them.

        Usage that was published a moment ago is not known here yet, so that "everything is settled" alone would be true
        before it arrives.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            self.read()
            units = sorted(one.wanted for one in self.usage.values())
            if units == sorted(wanted) and not self.unsettled:
                return
            state = (units, self.unsettled, self.sandbox.requests, self.logs()[-3000:])
            assert time.monotonic() < deadline_s, state

    def sums(self) -> dict[tuple[str, str, int], int]:
        """What Stripe counted, by its customer, event name and time of the events."""
        found: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        for event in self.sandbox.events.counted(self.now_s()):
            found[event.customer, event.event_name, event.at_s] += event.units
        return dict(found)


def _cpu_s(worker: process.Process) -> float:
    fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
