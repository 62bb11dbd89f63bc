"""`tallymark topics raise --customer-partitions` as a process that is killed at each of its crash points.

Owns: running it until it succeeds. Does not own: stopping workers before, what is expected (test_raise_customers).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.agents.raise_customers import POINTS
from pipeline.contracts import ROOT
from pipeline.settings import Settings
from tests.fixtures.patience import PATIENCE_S, until


def raise_customers(
    settings: Settings, number: int, folder: Path, points: Sequence[str] = POINTS
) -> Settings:
    """Raise the number while the command is killed at each of these points. Returns the settings to use then."""
    crashes = folder / f"crash-raise-{number}"
    crashes.mkdir(parents=True)
    for point in points:
        (crashes / point).write_text("kill")
        code = until(lambda: run_command(settings, number, crashes))[0]
        assert code == -signal.SIGKILL, (point, code)
        assert not (crashes / point).exists()
    code, output = until(lambda: run_command(settings, number, crashes))
    assert code == 0, output
    events = settings.event_partitions or settings.partitions
    assert f"`partitions = {number}` and `event_partitions = {events}`" in output
    return settings.model_copy(update={"partitions": number, "event_partitions": events})


def run_command(settings: Settings, number: int, crashes: Path) -> tuple[int, str] | None:
    """Exit code and output; None while workers that were killed have not left their groups.

    crashes: the folder in which its crash points are armed.
    """
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("TALLYMARK_")}
    variables = {
        "TALLYMARK_KAFKA": settings.kafka,
        "TALLYMARK_PARTITIONS": str(settings.partitions),
        "TALLYMARK_EVENT_PARTITIONS": str(settings.event_partitions),
        "CRASH_DIR": str(crashes),
        "PYTHONPATH": str(ROOT),
    }
    words = ("topics", "raise", "--customer-partitions", str(number))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        env=foreign | variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return None if "workers run" in done.stderr else (done.returncode, done.stdout + done.stderr)
