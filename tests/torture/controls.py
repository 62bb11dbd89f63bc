"""python -m tests.torture.controls --seed 7 --data /tmp/controls [--only NAME,...]

Runs with a part of the safety taken out: those that take away what nothing else covers have to fail, those that
leave one of the two locks in place have to pass. Exit code 1 when one of them ends otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.torture.run import Outcome, run
from tests.torture.schedule import TEARING, TRANSACTIONAL, Schedule, Step, make

KILLS_ONLY = ("kill", "crash")


@dataclass(frozen=True)
class Control:
    """unsafe: stage -> switches (unsafe.py). passes: what the run has to do. why: one sentence."""

    name: str
    unsafe: Mapping[str, str]
    passes: bool
    why: str
    tearing: tuple[str, ...] = ()  # stages that are stopped at every tearing point, over and over
    alerts: bool = False  # with entitlements and rules


CONTROLS = (
    Control("dedupe-off", {"dedupe": "dedupe"}, False, "Repeats are counted again."),
    Control("floats", {"aggregate": "decimals"}, False, "A float cannot hold 18 decimals."),
    Control(
        "offset-lock-off",
        dict.fromkeys(("dedupe", "aggregate", "ingest"), "offset-lock"),
        True,
        "The transaction alone is enough while Kafka keeps its word.",
        TRANSACTIONAL,
    ),
    Control(
        "transaction-off",
        {"aggregate": "transaction"},
        True,
        "A stage that is stopped anywhere repeats its records, and each state value knows which it has taken.",
        ("aggregate",),
    ),
    Control(
        "both-off",
        {"aggregate": "transaction,offset-lock"},
        False,
        "A repeated record is counted again.",
        ("aggregate",),
    ),
    Control(
        "transaction-off-in-dedupe",
        {"dedupe": "transaction"},
        False,
        "The lock covers a stage's own state: what dedupe sends again is new to aggregate.",
        ("dedupe",),
    ),
    Control(
        "transaction-off-in-alert",
        {"alert": "transaction"},
        False,
        "A record that is read again says its alerts again: each stands twice on the topic.",
        ("alert",),
        alerts=True,
    ),
    Control(
        "marks-off-in-alert",
        {"alert": "marks"},
        False,
        "A threshold fires with every record.",
        alerts=True,
    ),
)


def schedule_of(control: Control, seed: int) -> Schedule:
    """A small run with kills and crash points only; a zombie is the transaction's business alone."""
    if control.alerts:
        return _with_alerts(control, seed)
    base = make(seed, "ci")
    steps = [step for step in base.steps if step.fault in KILLS_ONLY and not control.tearing][:6]
    for stage in control.tearing:
        for point in TEARING * (3 if len(control.tearing) == 1 else 1):
            how: dict[str, Any] = {"stage": stage, "point": point}
            if point.startswith("table.") and stage == "ingest":
                continue  # it has no table
            steps.append(Step("crash", how, 1_000, 0.1))
    return replace(base, profile=control.name, lines=40_000, steps=steps, every_point=False)


def _with_alerts(control: Control, seed: int) -> Schedule:
    base = make(seed, "alerts")
    steps = [step for step in base.steps if step.fault == "bring"]
    for stage in control.tearing:
        for point in TEARING * 3:
            steps.append(Step("crash", {"stage": stage, "point": point}, 500, 0.1))
    return replace(base, profile=control.name, lines=40_000, steps=steps)


def programs_of(control: Control) -> dict[str, list[str]]:
    """What the stages are run by."""
    return {stage: ["tests.torture.unsafe", switches] for stage, switches in control.unsafe.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.controls", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--data", type=Path, required=True, help="new or empty folder")
    parser.add_argument("--only", help="names, separated by commas")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else [control.name for control in CONTROLS]
    wrong = []
    for control in (control for control in CONTROLS if control.name in wanted):
        began_s = time.monotonic()
        outcome = _run(control, arguments.seed, arguments.data / control.name)
        ended = "passed" if outcome.ok else f"failed ({len(outcome.differences)} differences)"
        expected = "pass" if control.passes else "fail"
        print(
            f"{control.name}: has to {expected}, {ended}, {time.monotonic() - began_s:.0f} s. {control.why}"
        )
        for line in [*outcome.differences[:6], *outcome.failures[:6]]:
            print(f"    {line}", flush=True)
        if outcome.ok != control.passes or outcome.failures:
            wrong.append(control.name)
    print(f"not as they have to be: {', '.join(wrong) or 'none'}")
    sys.exit(1 if wrong else 0)


def _run(control: Control, seed: int, folder: Path) -> Outcome:
    began_s = time.monotonic()
    return run(
        schedule_of(control, seed),
        folder,
        lambda line: print(f"{time.monotonic() - began_s:7.1f} s  {control.name}: {line}", flush=True),
        programs_of(control),
    )


if __name__ == "__main__":
    main()
