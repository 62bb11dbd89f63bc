"""One torture run: start, send and hurt, settle, compare.

Owns: the order of a run and its outcome. Does not own: faults (hurting), views (views), the recount (flow).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.metering.reconcile import reconcile
from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.kafka.consumer_groups import lag
from pipeline.stores.kafka.definitions import CountsView
from tests.fixtures.patience import PATIENCE_S, slowed
from tests.flow import prove
from tests.flow.arrived_records import arrived
from tests.flow.meters import METERS
from tests.flow.recount import Arrived, Recount, recount
from tests.torture import alerts, views
from tests.torture.plan import plan
from tests.torture.proxy import Proxy
from tests.torture.quotas import Quotas
from tests.torture.rig import Rig
from tests.torture.schedule import POINTS, Schedule
from tests.torture.step_runner import NotDoneError, StepRunner
from tests.torture.storm import Storm, storm
from tests.torture.watch import Watch

LAG_S = 60.0
MOST_MIB = 600.0
Say = Callable[[str], None]


@dataclass
class Outcome:
    """differences: numbers that are wrong. failures: what else must not be. Both empty: the run has passed."""

    differences: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    fates: dict[str, int] = field(default_factory=dict)
    compared: Counter[str] = field(default_factory=Counter)
    figures: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.differences and not self.failures

    def lines(self) -> list[str]:
        """The report, for people."""
        return [
            f"fates       {self.fates}",
            f"faults      {dict(self.faults)}",
            f"crash points {dict(self.points)}",
            f"compared    {dict(self.compared)}",
            *self.figures,
            f"differences {len(self.differences)}",
            *self.differences[:40],
            f"failures    {len(self.failures)}",
            *self.failures[:40],
        ]


def run(
    schedule: Schedule,
    folder: Path,
    say: Say,
    programs: Mapping[str, list[str]] | None = None,
) -> Outcome:
    """Runs the schedule on a fresh stack in `folder`. programs: see Rig. Raises where nothing can be compared."""
    outcome = Outcome()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schedule.json").write_text(schedule.text())
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy())
        proxy.target = (
            process.free_port()
        )  # known before the stack: the sink is ready when ClickHouse answers
        ports = (proxy.port, proxy.target)
        rig = stack.enter_context(Rig(folder, schedule.workers, ports, programs or {}))
        assert proxy.target == _port(rig.settings.clickhouse)
        say(f"the stack is up in {folder}")
        prove.apply_meters(rig)
        records = storm(2 * schedule.lines, schedule.seed, time.time_ns())
        sender = Storm(rig.settings.kafka, records, schedule.seed)
        entitled = _entitle(rig, schedule, sender, stack, say)
        with sender, Watch(rig) as watch:
            began_s = time.monotonic()
            hurting = StepRunner(rig, sender, proxy, schedule, say, entitled)
            try:
                hurting.run()
                if entitled is not None:
                    entitled.use_period()
            except (NotDoneError, TimeoutError) as error:
                outcome.failures.append(str(error))
            total = sender.finish(schedule.lines)
            say(f"all faults done, all {total} lines sent")
            _decided(rig, total, outcome, say)
            _lag(rig, schedule, hurting.last_fault_s, outcome)
            seconds = time.monotonic() - began_s
            _settle(rig, outcome, say)
        say("recounting")
        lines = arrived(rig.settings.kafka)
        expected = recount(lines, METERS)
        _compare(rig, expected, outcome, watch)
        outcome.differences += views.acknowledged_arrived(sender.acknowledged, lines)
        if entitled is not None:
            _alerts(rig, schedule, entitled, expected, lines, outcome, say)
        _four_views(rig, schedule, expected, lines, outcome, hurting.spoilt, say)
        _account(rig, schedule, hurting, watch, outcome)
        rate = f"{total / seconds:,.0f} lines/s through all of it"
        outcome.figures.insert(
            0, f"{total} lines, {sum(hurting.done.values())} faults in {seconds:.0f} s, {rate}"
        )
    return outcome


def _entitle(rig: Rig, schedule: Schedule, sender: Storm, stack: ExitStack, say: Say) -> Quotas | None:
    """Entitlements, rules and a receiver, in a run with alerts."""
    if not schedule.alerts:
        return None
    made_up = plan(schedule.seed, schedule.lines, int(time.time()))
    made = stack.enter_context(Quotas(rig.settings, made_up, lambda: sender))
    made.define()
    say(
        f"{len(made_up.entitled) + len(made_up.periods)} entitlements and {len(made_up.rules)} rules are defined"
    )
    return made


def _alerts(
    rig: Rig,
    schedule: Schedule,
    entitled: Quotas,
    expected: Recount,
    lines: list[Arrived],
    outcome: Outcome,
    say: Say,
) -> None:
    """Balances, alerts and webhooks against their recount, once everything has come to rest."""
    began_s = time.monotonic()
    wanted = alerts.expected(entitled.plan, expected.windows)
    while True:
        found = alerts.read(rig.settings)
        differences = alerts.balances_differ(wanted, found)
        differences += alerts.firings_differ(wanted, found, entitled.plan)
        differences += alerts.webhooks_differ(found, entitled)
        if not differences or time.monotonic() - began_s > PATIENCE_S:
            break
        time.sleep(1)
    say(f"balances and alerts compared, {time.monotonic() - began_s:.1f} s after the rest")
    differences += alerts.named_events_differ(found, entitled.plan, (line.value for line in lines))
    outcome.differences += differences
    outcome.compared["balances"] = len(wanted.balances)
    outcome.compared["crossings and resets"] = len(wanted.facts)
    outcome.compared["alerts"] = len(found.fired)
    outcome.compared["webhooks received"] = len(entitled.receiver.got)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def _decided(rig: Rig, total: int, outcome: Outcome, say: Say) -> None:
    """Waits until every line has its fate. Records a failure when nothing moves any more."""
    with CountsView(rig.settings) as counts:
        counts.wait_loaded()
        last, moved_s = -1, time.monotonic()
        while True:
            reports = reconcile(list(counts.snapshot().values())).namespaces
            decided = sum(report.read - report.pending for report in reports)
            if decided >= total:
                return
            if decided != last:
                last, moved_s = decided, time.monotonic()
            if time.monotonic() - moved_s > PATIENCE_S:
                outcome.failures.append(f"nothing moves: {decided} of {total} lines have a fate")
                return
            time.sleep(0.1)


def _lag(rig: Rig, schedule: Schedule, last_fault_s: float, outcome: Outcome) -> None:
    """Lag 0 of every stage within LAG_S of the last fault."""
    deadline = last_fault_s + LAG_S + PATIENCE_S
    found: Mapping[str, int | None] = {}
    while time.monotonic() < deadline:
        try:
            found = lag(rig.settings, schedule.stages)
        except Unavailable:
            continue
        if all(number == 0 for number in found.values()):
            took_s = time.monotonic() - last_fault_s
            outcome.figures.append(f"lag 0 of all stages {took_s:.1f} s after the last fault")
            if took_s > slowed(LAG_S):
                outcome.failures.append(f"lag 0 only {took_s:.0f} s after the last fault, not {LAG_S:.0f} s")
            return
        time.sleep(0.2)
    outcome.failures.append(f"lag is never 0: {dict(found)}")


def _settle(rig: Rig, outcome: Outcome, say: Say) -> None:
    done = rig.command("reconcile", "--wait", "120", "--format", "json")
    answer = json.loads(done.stdout) if done.stdout else {}
    if done.returncode != 0 or not answer.get("settled"):
        outcome.differences += [f"reconcile: {text}" for text in answer.get("differences", [done.stderr])]
    for found in answer.get("namespaces", []):
        outcome.fates = {fate: count for fate, count in found["fates"].items() if count}
    say(f"reconcile: exit code {done.returncode}")


def _compare(rig: Rig, expected: Recount, outcome: Outcome, watch: Watch) -> None:
    if outcome.fates != dict(expected.fates):
        outcome.differences.append(f"fates {outcome.fates}, expected {dict(expected.fates)}")
    compared: Counter[str] = Counter()
    for meter in METERS:
        outcome.differences += prove.compare_meter(rig, meter, expected.windows, compared)
    outcome.compared["windows by commands"] = sum(compared.values())
    outcome.differences += watch.falls
    count = sum(value.events for key, value in expected.windows.items() if key.meter == "api_requests")
    if watch.newest > count:
        outcome.differences.append(f"a count of {watch.newest} was seen, and it is {count}")
    outcome.figures.append(
        f"a count asked for {watch.answers + watch.refusals} times, {watch.refusals} without answer, "
        f"{len(watch.falls)} falls"
    )


def _four_views(
    rig: Rig,
    schedule: Schedule,
    expected: Recount,
    lines: list[Arrived],
    outcome: Outcome,
    spoilt: set[Path],
    say: Say,
) -> None:
    """RocksDB = changelog = ClickHouse, with the stages stopped."""
    rig.order("stop_stages")
    say("stages stopped; comparing RocksDB, changelogs and ClickHouse")
    store = connect(rig.settings.clickhouse)
    try:
        changelogs = views.WITH_ALERTS if schedule.alerts else views.BASE
        found, compared, state = views.tables_equal_changelogs(
            rig.settings, rig.folder / "state", spoilt, changelogs
        )
        outcome.differences += found
        outcome.compared["keys in RocksDB and changelog"] = compared
        found, compared = views.windows_equal(state, store)
        outcome.differences += found
        outcome.compared["windows in changelog and ClickHouse"] = compared
        found, compared = views.fates_equal(expected, lines, store)
        outcome.differences += found
        outcome.compared["fates by line"] = compared
    finally:
        store.close()


def _account(rig: Rig, schedule: Schedule, hurting: StepRunner, watch: Watch, outcome: Outcome) -> None:
    """Every fault of the schedule happened, every crash point was hit; the figures."""
    outcome.faults = hurting.done
    outcome.failures += hurting.missing()
    for _, point, how, _ in rig.hits():
        outcome.points[point if how == "kill" else f"{point} ({how})"] += 1
    if schedule.every_point:
        missed = [point for point in POINTS if not outcome.points[point]]
        outcome.failures += [f"the crash point {point} was never hit" for point in missed]
    kills = hurting.done["kill"] + hurting.done["crash"] + hurting.done["lose"] + hurting.done["spoil"]
    outcome.figures.append(f"{kills} workers killed, {hurting.fenced} zombies fenced")
    outcome.figures += [f"memory of {line}" for line in watch.memory_lines()]
    most = max((one.most for one in watch.memory.values()), default=0.0)
    if most > MOST_MIB:
        outcome.failures.append(f"a worker had {most:.0f} MiB, more than {MOST_MIB:.0f}")
    longest = max(_restores(rig.logs), default=0.0)
    outcome.figures.append(f"longest take-over of partitions {longest:.2f} s")
    for stage, ends in _ends(rig.logs).items():
        outcome.figures.append(f"{stage} ended by itself: {ends}")


def _restores(logs: Path) -> list[float]:
    """Seconds of each `owns ... (N records restored in S s)`."""
    found = []
    for path in logs.glob("*.log*"):
        for line in path.read_text("utf-8", "replace").splitlines():
            if "records restored in" in line:
                found.append(float(line.rpartition("restored in")[2].split()[0]))
    return found


def _ends(logs: Path) -> dict[str, dict[str, int]]:
    """Stage -> why its workers ended by their own decision, shortened, and how often."""
    found: dict[str, Counter[str]] = {}
    for path in sorted(logs.glob("*.log*")):
        for line in path.read_text("utf-8", "replace").splitlines():
            if " stops" in line and ("ERROR" in line or "CRITICAL" in line):
                why = line.partition("stops")[2].strip(" ,:")[:110]
                worker = path.name.partition(".")[0]
                found.setdefault(worker.rpartition("-")[0] or worker, Counter())[why] += 1
    return {stage: dict(ends) for stage, ends in found.items()}
