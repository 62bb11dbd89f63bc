"""python -m tests.flow.stripe_run --events 300000 --customers 500 --kills 20 --data /tmp/stripe

Stripe-sync under faults: usage of some days on a clock that is moved, calls that fail in every way, an outage of 25
hours, workers that are killed, one that is frozen past its session. In the end Stripe's total equals ours for every
customer, meter and window, no identifier has carried two bodies, and no call was above Stripe's limits. Exit code 1
otherwise. The broker runs under DIR; workers, sandbox and events are those of this program. With --whole the events
pass through ingest, dedupe, aggregate and attribute, and the sums in ClickHouse are compared too.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.values.timestamp import text_of
from pipeline.core.values.token_bucket import BucketPolicy
from pipeline.local.stripe_sandbox.call import StripeSandbox
from pipeline.local.stripe_sandbox.clock import SandboxClock
from pipeline.local.stripe_sandbox.faults import FaultKind, FaultRule
from pipeline.local.stripe_sandbox.limits import SandboxLimits
from pipeline.records import CustomerWindow
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from tests.core.billing.stripe_world import HOUR_S, app, customer_app, mapping, meter, usage_window
from tests.flow.own_broker import own_broker
from tests.flow.stripe_front import DrawnEvent, StripeFront, attributions
from tests.flow.stripe_line import EVENTS_PATH, StripeLine
from tests.local.stripe_sandbox.sandbox_server import account

Say = Callable[[str], None]
EVERY_FAULT: list[FaultKind] = [
    "rate-limited", "rate-limited-retry", "error-stored", "error-not-stored", "timeout-before", "timeout-after",
    "reset-before", "reset-after", "unavailable",
]  # fmt: skip
ONE_BY_ONE, IN_ALL = "01ONE", "01ALL"
PER_UNIT = 1_000  # usage for one unit of the mapping whose sum is compared


@dataclass(frozen=True)
class Scale:
    """limit_s: meter events a second that the sandbox takes, and that the workers know of.

    window: of the mapping whose windows are compared one by one.
    """

    events: int
    customers: int
    hours: int
    faults_permille: int
    kills: int
    outage_h: int
    limit_s: int
    window: str = "HOUR"
    freeze: bool = True
    seed: int = 7


@dataclass
class Events:
    """Events of the customers, their sums, and windows as attribute would publish them."""

    scale: Scale
    start_s: int
    values: dict[tuple[int, int], int] = field(default_factory=dict)  # by customer and minute
    revision: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.scale.seed)

    def of_hour(self, hour: int) -> list[DrawnEvent]:
        """The events of an hour; some of them are late, some take usage back."""
        drawn, found = self._random, []
        for _ in range(self.scale.events // self.scale.hours):
            late = drawn.randrange(20) == 0 and hour > 0
            minute = (drawn.randrange(hour) if late else hour) * 60 + drawn.randrange(60)
            customer, value = drawn.randrange(self.scale.customers), drawn.randrange(-5 if late else 1, 100)
            self.values[customer, minute] = self.values.get((customer, minute), 0) + value
            found.append(DrawnEvent(f"c{customer}", self.start_s + 60 * minute, value))
        return found

    def windows(self, events: Iterable[DrawnEvent]) -> list[CustomerWindow]:
        """The windows that events change: absolute, with a revision that grows."""
        self.revision += 1
        return [
            usage_window(
                customer,
                at_s,
                str(self.values[int(customer[1:]), (at_s - self.start_s) // 60]),
                self.revision,
            )
            for customer, at_s in sorted({(one.customer, one.at_s) for one in events})
        ]

    @property
    def window_s(self) -> int:
        """The seconds of a window."""
        return HOUR_S if self.scale.window == "HOUR" else 24 * HOUR_S

    def by_window(self) -> dict[tuple[int, int], int]:
        """Usage by customer and start of the window."""
        found: defaultdict[tuple[int, int], int] = defaultdict(int)
        minutes = self.window_s // 60
        for (customer, minute), value in self.values.items():
            found[customer, self.start_s + minute // minutes * minutes * 60] += value
        return {place: value for place, value in found.items() if value}


class StripeRun:
    """One run. `wrong` names every difference."""

    def __init__(
        self, line: StripeLine, front: StripeFront | None, armed: Path, scale: Scale, say: Say
    ) -> None:
        self._line = line
        self._front = front
        self._scale = scale
        self._say = say
        self._random = random.Random(scale.seed)
        self._ids: list[str] = []
        self._armed = armed
        self._killed = self._at_start = self._published = 0
        start_s = (line.now_s() // (24 * HOUR_S) + 1) * 24 * HOUR_S
        self.events = Events(scale, start_s)
        self.wrong: list[str] = []

    def carry_out(self) -> None:
        """Everything, up to the comparison."""
        self._connect()
        line, scale = self._line, self._scale
        self._start()
        faults = [FaultRule(EVERY_FAULT, EVENTS_PATH, share_permille=scale.faults_permille)]
        line.fail(faults, scale.seed)
        line.advance(self.events.start_s - line.now_s())
        kills = set(self._random.sample(range(1, scale.hours), min(scale.kills, scale.hours - 1)))
        for hour in range(scale.hours):
            began_s = time.monotonic()
            if hour == scale.hours // 2 and scale.outage_h:
                until_s = line.now_s() + scale.outage_h * HOUR_S
                line.fail([FaultRule(["unavailable", "timeout-before"], to_s=until_s), *faults], scale.seed)
            self._publish(hour)
            line.advance(HOUR_S)
            if hour in kills:
                self._kill()
            line.read()
            time.sleep(max(0.0, 0.3 - (time.monotonic() - began_s)))
            if hour % 6 == 0:
                self._say(
                    f"hour {hour}: {line.sandbox.requests} requests, {line.unsettled} windows unsettled"
                )
        if scale.freeze:
            self._freeze()
        self._settle()
        self._compare()

    def _publish(self, hour: int) -> None:
        events = self.events.of_hour(hour)
        windows = self.events.windows(events)
        self._published += len(windows)
        if self._front is None:
            self._line.publish(windows)
        else:
            self._front.publish(events)
            self._front.wait_counted()

    def _connect(self) -> None:
        line, sandbox = self._line, self._line.sandbox.account
        now_s, from_at = line.now_s(), text_of(self.events.start_s * 1_000)
        self._ids = [sandbox.create_customer({}, now_s).id for _ in range(self._scale.customers)]
        defined = [meter(), app()]
        for place, (id, window, multiplier) in enumerate(
            [(ONE_BY_ONE, self._scale.window, "1"), (IN_ALL, "DAY", f"{1 / PER_UNIT:f}")]
        ):
            form = {
                "display_name": id,
                "event_name": f"tokens-{id}",
                "default_aggregation": {"formula": "sum"},
            }
            made = sandbox.create_meter(form, now_s)  # type: ignore[arg-type]
            more: dict[str, object] = {"fromAt": from_at, "stripeMeterId": made.id}
            defined.append(mapping(3 + place, id, multiplier.rstrip("0"), window, **more))
        named = [customer_app(10 + place, f"c{place}", id) for place, id in enumerate(self._ids)]
        if self._front is not None:
            defined += attributions(f"c{place}" for place in range(self._scale.customers))
        line.define(*defined, *named)

    def _kill(self) -> None:
        """Kill a worker once it has made some calls since its start."""
        line, wanted = self._line, self._random.randrange(1, max(2, self._scale.customers // 3))
        deadline_s = time.monotonic() + 20
        while line.sandbox.requests < self._at_start + wanted and time.monotonic() < deadline_s:
            line.advance(10)
            line.read(0.1)
        self._at_start = line.sandbox.requests
        line.kill(line.workers[-1])
        self._killed += 1
        self._start()

    def _freeze(self) -> None:
        """A worker sleeps within a call while another one has its partitions for 26 hours, and then wakes up."""
        line, hits = self._line, self._armed / "hits"
        (self._armed / "stripe.sending").write_text("stop")
        deadline_s = time.monotonic() + 120
        while not hits.exists() and time.monotonic() < deadline_s:
            line.advance(60)
            line.read(0.2)
        if not hits.exists():
            self.wrong.append("no worker was frozen: none made a call")
            return
        frozen = line.workers[-1]
        self._start()
        before = line.sandbox.requests
        while line.sandbox.requests < before + 20 and time.monotonic() < deadline_s:
            line.advance(600)
            line.read(0.5)
        self._say(f"frozen: another worker made {line.sandbox.requests - before} requests")
        line.advance(26 * HOUR_S)
        line.read(2)
        frozen.send_signal(signal.SIGCONT)

    def _start(self) -> None:
        self._line.start(CRASH_DIR=str(self._armed))

    def _settle(self, timeout_s: float = 1_200) -> None:
        line, deadline_s = self._line, time.monotonic() + timeout_s
        day_s = 24 * HOUR_S
        end_s = self.events.start_s - (-self._scale.hours * HOUR_S // day_s) * day_s
        line.advance(max(0, end_s + HOUR_S - line.now_s()))
        last, idle, shown_s = -1, 0, time.monotonic()
        while time.monotonic() < deadline_s:
            line.read(0.5)
            if time.monotonic() - shown_s > 20:
                shown_s = time.monotonic()
                self._say(f"{line.sandbox.requests} requests, {line.unsettled} windows unsettled")
            if not line.unsettled and self._is_known():
                return
            if line.workers[-1].poll() is not None:
                self._say(f"the worker ended with {line.workers[-1].returncode}")
                self._start()
            idle = idle + 1 if line.sandbox.requests == last else 0
            last = line.sandbox.requests
            if idle > 6:  # what waits, waits for time to pass
                line.advance(300)
                idle = 0
        self._say(f"not settled: {line.unsettled} windows")

    def _is_known(self) -> bool:
        """Whether the workers have read all usage: what they knew earlier may be settled before the rest arrives."""
        whole: defaultdict[str, int] = defaultdict(int)
        single: dict[tuple[str, int], int] = {}
        for (mapping_id, customer, _, start_s), one in self._line.usage.items():
            if mapping_id == IN_ALL:
                whole[customer] += one.wanted
            elif one.wanted:
                single[customer, start_s] = one.wanted
        expected = {
            (f"c{number}", start_s): value for (number, start_s), value in self.events.by_window().items()
        }
        return single == expected and all(
            whole[f"c{number}"] == usage // PER_UNIT for number, usage in self._by_customer().items()
        )

    def _by_customer(self) -> dict[int, int]:
        found = dict.fromkeys(range(len(self._ids)), 0)
        for (customer, _), value in self.events.values.items():
            found[customer] += value
        return found

    def _compare(self) -> None:
        self._line.fail([])
        line, sums = self._line, self._line.sums()
        expected = {
            (self._ids[customer], f"tokens-{ONE_BY_ONE}", start_s): value
            for (customer, start_s), value in self.events.by_window().items()
        }
        found = {
            place: units for place, units in sums.items() if place[1] == f"tokens-{ONE_BY_ONE}" and units
        }
        for place in expected.keys() | found.keys():
            if expected.get(place) != found.get(place):
                self.wrong.append(f"{place}: ours {expected.get(place)}, Stripe's {found.get(place)}")
        for number, usage in self._by_customer().items():
            id = self._ids[number]
            units = sum(value for place, value in sums.items() if place[:2] == (id, f"tokens-{IN_ALL}"))
            if usage // PER_UNIT != units:
                self.wrong.append(f"{id} in all: ours {usage // PER_UNIT}, Stripe's {units}")
        if self._front is not None:
            stored = self._front.sums(self.events.window_s)
            ours = {
                (f"c{customer}", start_s): value
                for (customer, start_s), value in self.events.by_window().items()
            }
            places = [
                place
                for place in ours.keys() | stored.keys()
                if int(stored.get(place, 0)) != ours.get(place, 0)
            ]
            self.wrong += [f"{place}: sent {ours.get(place)}, stored {stored.get(place)}" for place in places]
            self._say(f"{len(stored)} windows of ClickHouse compared, {len(places)} differ")
        doubled = [id for id, bodies in line.sandbox.bodies.items() if len(bodies) > 1]
        self.wrong += [f"identifier {id} has two bodies" for id in doubled]
        self.wrong += [f"not settled: {one}" for one in line.usage.values() if one.pending or one.cause]
        over = line.sandbox.limits.refused
        if over:
            self.wrong.append(f"{over} requests were above the limits")
        cpu_s, windows, calls = line.cpu_s(), max(1, self._published), max(1, line.sandbox.requests)
        self._say(
            f"{windows} windows published; CPU of the workers {cpu_s:.1f} s: {cpu_s / windows * 1e6:.0f} us a window, "
            f"{cpu_s / calls * 1e6:.0f} us a call, start of {len(line.workers)} processes included"
        )
        self._say(
            f"{len(self.events.values)} minutes with usage, {len(expected)} windows at Stripe, "
            f"{line.sandbox.requests} requests, {len(line.sandbox.bodies)} identifiers, {self._killed} kills, "
            f"faults {line.faults}, {over} above the limits, {len(self.wrong)} differences"
        )


def run(settings: Settings, folder: Path, scale: Scale, say: Say, whole: bool = False) -> list[str]:
    """Carry out a run on a broker with empty topics. whole: as events through all stages. Returns the differences."""
    limits = SandboxLimits(meter_events=BucketPolicy(scale.limit_s, scale.limit_s))
    sandbox = StripeSandbox(account(), SandboxClock(), limits)
    variables = {"TALLYMARK_STRIPE_TEST_EVENTS_S": str(scale.limit_s)}
    with ExitStack() as opened:
        front = opened.enter_context(StripeFront(settings, folder / "front")) if whole else None
        more = {} if front is None else front.variables
        line = opened.enter_context(StripeLine(settings, folder, sandbox, **variables, **more))
        (armed := folder / "armed").mkdir()
        made = StripeRun(line, front, armed, scale, say)
        made.carry_out()
        return made.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--hours", type=int, default=72)
    parser.add_argument("--faults", type=int, default=200, help="of 1,000 calls so many fail")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--outage", type=int, default=25, help="hours")
    parser.add_argument("--limit", type=int, default=1_000, help="meter events a second")
    parser.add_argument("--window", choices=["HOUR", "DAY"], default="HOUR")
    parser.add_argument(
        "--whole", action="store_true", help="events pass through all stages, not stripe-sync alone"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--data", type=Path, help="new or empty folder; default: a temporary one")
    given = parser.parse_args()
    folder = given.data or Path(tempfile.mkdtemp(prefix="stripe-"))
    folder.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began_s:7.1f} s  {line}", flush=True)

    scale = Scale(
        given.events, given.customers, given.hours, given.faults, given.kills, given.outage, given.limit,
        window=given.window, seed=given.seed,
    )  # fmt: skip
    with own_broker(folder / "broker") as broker:
        settings = Settings.model_construct(kafka=broker.address, state_dir=folder / "state")
        topics.apply(settings)
        wrong = run(settings, folder, scale, say, given.whole)
    print("\n".join(wrong[:20]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
