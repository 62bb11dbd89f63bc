"""The proof by recount: a million events through the real pipeline, hurt on the way, equal window by window.

    python -m tests.flow.prove --events 1000000 --seed 7 --kills 12 --data /tmp/proof

Starts a stack in DIR (new or empty), applies the meters, sends the stream, kills and stops workers meanwhile,
waits until nothing is pending, and compares every window of every meter and every fate with the recount of
what arrived on `events`. Exit code 1 on any difference.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from pipeline.core.metering.reconcile import reconcile
from pipeline.stores.kafka.definitions import CountsView
from tests.fixtures.patience import PATIENCE_S
from tests.flow.arrived_records import arrived
from tests.flow.meters import METERS
from tests.flow.recount import WindowKey, WindowValue, compare, recount
from tests.flow.sender import send
from tests.flow.stack_process import COUNTING, STAGES, StackProcess
from tests.flow.stream import stream

SETTLE_S = 600.0
FREEZE_S = 14.0  # past the session timeout, so that a worker wakes up without its partitions
EXIT_UNAVAILABLE = 3
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to do. kills: kill -9. leaves: SIGTERM, then it comes back. freezes: SIGSTOP past the timeout."""

    events: int
    seed: int = 7
    kills: int = 0
    leaves: int = 0
    freezes: int = 0
    workers: int = 1


@dataclass
class Outcome:
    """differences: sentences; empty when all is equal."""

    differences: list[str] = field(default_factory=list)
    fates: dict[str, int] = field(default_factory=dict)
    windows: Counter[str] = field(default_factory=Counter)
    hurt: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def prove(plan: Plan, folder: Path, say: Say = lambda line: None) -> Outcome:
    """Runs the plan on a fresh stack in `folder`. Raises RuntimeError when the pipeline stands still."""
    outcome = Outcome()
    with StackProcess(folder, plan.workers, COUNTING) as stack:
        say(f"the stack is up in {folder}")
        apply_meters(stack)
        began_s = time.monotonic()
        _send_and_hurt(stack, plan, outcome, say)
        outcome.seconds = time.monotonic() - began_s
        say(f"all {plan.events} events have their fate after {outcome.seconds:.1f} s")
        outcome.fates = settle(stack, say)
        say("recounting")
        expected = recount(arrived(stack.settings.kafka), METERS)
        if outcome.fates != dict(expected.fates):
            outcome.differences.append(f"fates {outcome.fates}, expected {dict(expected.fates)}")
        for meter in METERS:
            outcome.differences += compare_meter(stack, meter, expected.windows, outcome.windows)
            say(f"{meter['slug']}: {outcome.windows[str(meter['slug'])]} windows compared")
    return outcome


def apply_meters(stack: StackProcess) -> None:
    """Applies the meters of the made stream to a running stack. Raises RuntimeError when they are refused."""
    path = stack.folder / "meters.json"
    path.write_text(json.dumps(METERS))
    deadline = time.monotonic() + PATIENCE_S
    while (done := stack.command("meters", "apply", str(path))).returncode == EXIT_UNAVAILABLE:
        if time.monotonic() > deadline:  # everything is only just starting
            break
    if done.returncode != 0:
        raise RuntimeError(f"the meters were not applied: {done.stderr}")


def _send_and_hurt(stack: StackProcess, plan: Plan, outcome: Outcome, say: Say) -> None:
    """Returns when every event has its fate."""
    settings = stack.settings
    failed: list[BaseException] = []

    def sending() -> None:
        try:
            send(settings.kafka, stream(plan.events, plan.seed, time.time_ns()))
            say("all sent")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=sending, name="sender", daemon=True)
    with CountsView(settings) as counts, _Hurter(stack, plan, outcome.hurt, say) as hurter:
        thread.start()
        last, moved_s = -1, time.monotonic()
        while last < plan.events:
            fated = decided(counts)
            if failed:
                raise RuntimeError("sending failed") from failed[0]
            if fated > last:
                last, moved_s = fated, time.monotonic()
            if time.monotonic() - moved_s > PATIENCE_S:
                raise RuntimeError(f"nothing moves: {fated} of {plan.events} events have a fate")
            hurter.at(fated / plan.events)
            time.sleep(0.05)
    thread.join()


def decided(counts: CountsView) -> int:
    """Events that have a fate."""
    records = list(counts.snapshot().values())
    return sum(report.read - report.pending for report in reconcile(records).namespaces)


class _Hurter:
    """Kills, stops and freezes workers at even steps of the progress, stage after stage in a seeded order."""

    def __init__(self, stack: StackProcess, plan: Plan, hurt: Counter[str], say: Say) -> None:
        self._stack, self._hurt, self._say = stack, hurt, say
        rng = Random(plan.seed)
        wanted = {"kill": plan.kills, "leave": plan.leaves, "freeze": plan.freezes}
        steps = [
            (how, STAGES[number % len(STAGES)]) for how, many in wanted.items() for number in range(many)
        ]
        rng.shuffle(steps)
        self._steps = [((place + 0.5) / len(steps), *step) for place, step in enumerate(steps)]
        self._places = rng
        self._frozen: list[tuple[float, int]] = []

    def __enter__(self) -> _Hurter:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays frozen."""
        self._thaw(float("inf"))

    def at(self, fraction: float) -> None:
        """Does what is due at this fraction of the events; waits for a stage that has no worker just now."""
        self._thaw(time.monotonic())
        while self._steps and fraction >= self._steps[0][0]:
            _, how, stage = self._steps[0]
            number = {"kill": signal.SIGKILL, "leave": signal.SIGTERM, "freeze": signal.SIGSTOP}[how]
            pid = self._stack.signal(stage, number, self._places.randrange(8))
            if pid is None:
                return
            if how == "freeze":
                self._frozen.append((time.monotonic() + FREEZE_S, pid))
            self._say(f"{how} {stage} ({pid}) at {fraction:.0%}")
            self._hurt[f"{how} {stage}"] += 1
            self._steps.pop(0)

    def _thaw(self, now_s: float) -> None:
        for due in [due for due in self._frozen if due[0] <= now_s]:
            self._frozen.remove(due)
            try:
                os.kill(due[1], signal.SIGCONT)
            except ProcessLookupError:
                self._say(f"{due[1]} died frozen")


def settle(stack: StackProcess, say: Say = lambda line: None, within_s: float = SETTLE_S) -> dict[str, int]:
    """The fates by `tallymark reconcile`, once nothing is pending and all adds up, else RuntimeError."""
    began_s = time.monotonic()
    while True:
        done = stack.command("reconcile", "--format", "json")
        answer = json.loads(done.stdout) if done.returncode in (0, 1) and done.stdout else None
        if done.returncode == 0 and answer and answer["settled"]:
            assert all(found["pending"] == 0 for found in answer["namespaces"])
            say(f"reconcile adds up {time.monotonic() - began_s:.1f} s later")
            return {fate: count for fate, count in answer["namespaces"][0]["fates"].items() if count}
        is_over = time.monotonic() - began_s > within_s
        if is_over or (answer is None and done.returncode != EXIT_UNAVAILABLE):
            raise RuntimeError(f"reconcile does not add up: {done.stdout}{done.stderr}")
        time.sleep(0.5)


def compare_meter(
    stack: StackProcess,
    meter: dict[str, object],
    windows: dict[WindowKey, WindowValue],
    compared: Counter[str],
) -> list[str]:
    """How one meter's usage differs from the recount; adds to `compared` how many windows it should have."""
    slug, dimensions = str(meter["slug"]), meter.get("groupBy", {})
    assert isinstance(dimensions, dict)
    names = ",".join(["subject", *sorted(dimensions)])
    rows = stack.lines("usage", slug, "--window", "MINUTE", "--group-by", names, "--format", "jsonl")
    expected = {key: value for key, value in windows.items() if key.meter == slug}
    compared[slug] = len(expected)
    return compare(expected, map(json.loads, rows))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.flow.prove", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kills", type=int, default=0, help="kill -9 of a worker")
    parser.add_argument("--leaves", type=int, default=0, help="SIGTERM to a worker, which then comes back")
    parser.add_argument("--freezes", type=int, default=0, help=f"SIGSTOP of a worker for {FREEZE_S:.0f} s")
    parser.add_argument("--workers", type=int, default=1, help="of each stage")
    parser.add_argument("--data", type=Path, required=True, help="new or empty folder")
    arguments = parser.parse_args()
    if arguments.data.exists() and any(arguments.data.iterdir()):
        parser.error(f"{arguments.data} is not empty")
    began_s = time.monotonic()
    plan = Plan(
        arguments.events,
        arguments.seed,
        arguments.kills,
        arguments.leaves,
        arguments.freezes,
        arguments.workers,
    )
    outcome = prove(
        plan, arguments.data, lambda line: print(f"{time.monotonic() - began_s:7.1f} s  {line}", flush=True)
    )
    print(f"fates      {outcome.fates}")
    print(f"hurt       {dict(outcome.hurt)}")
    print(f"windows    {sum(outcome.windows.values())} compared, {len(outcome.differences)} differences")
    print(f"rate       {plan.events / outcome.seconds:,.0f} events/s from the first sent to the last fate")
    print(f"memory     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB of this program")
    for sentence in outcome.differences[:20]:
        print(sentence)
    sys.exit(1 if outcome.differences else 0)


if __name__ == "__main__":
    main()
