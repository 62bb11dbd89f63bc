"""python -m tests.torture --seed 7 --profile quick --data /tmp/torture

Starts a stack in DIR (new or empty), sends a seeded stream, hurts the pipeline by a seeded schedule and compares
every number with an exact recount. Exit code 1 on any difference, or when a fault of the schedule did not happen.
The schedule is written to DIR/schedule.json before it is carried out; `--replay FILE` carries one out again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.torture.run import run
from tests.torture.schedule import PROFILES, Schedule, make


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    parser.add_argument(
        "--alerts",
        action="store_true",
        help="with entitlements, rules and webhooks, whose stages are hurt too",
    )
    parser.add_argument("--data", type=Path, help="new or empty folder; default: a temporary one")
    parser.add_argument("--replay", type=Path, help="a schedule.json to carry out in place of a new one")
    parser.add_argument("--only", help="carry out these faults of the schedule only, separated by commas")
    parser.add_argument("--print", action="store_true", help="print the schedule and do nothing")
    arguments = parser.parse_args()
    schedule = (
        Schedule.read(arguments.replay)
        if arguments.replay
        else make(arguments.seed, arguments.profile, arguments.alerts)
    )
    if arguments.only:
        kept = [step for step in schedule.steps if step.fault in arguments.only.split(",")]
        schedule = replace(schedule, steps=kept, every_point=False)
    print(schedule.text(), end="", flush=True)
    if arguments.print:
        return
    folder = arguments.data or Path(tempfile.mkdtemp(prefix="torture-"))
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    began_s = time.monotonic()
    outcome = run(
        schedule, folder, lambda line: print(f"{time.monotonic() - began_s:7.1f} s  {line}", flush=True)
    )
    print("\n".join(outcome.lines()))
    if not outcome.ok:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        ).stdout
        print(f"FAILED: seed {schedule.seed}, commit {commit.strip()}, schedule and data in {folder}")
        sys.exit(1)
    print("passed")


if __name__ == "__main__":
    main()
