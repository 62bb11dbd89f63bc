"""The metrics file of `tallymark reconcile`: numbers of differences, of events and of money, zero too."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from pipeline.cli.reconcile_metrics import write_reconcile_metrics

GOOD: dict[str, Any] = {"differences": [], "settled": True}


def written(path: Path, events: dict[str, Any], money: dict[str, Any]) -> dict[str, float]:
    write_reconcile_metrics(events, money, path)
    lines = re.findall(r"^tallymark_reconcile_(\S+) (\S+)$", path.read_text(), re.MULTILINE)
    return {name: float(value) for name, value in lines}


def test_it_has_the_number_of_differences_and_when_they_were_found(tmp_path: Path) -> None:
    found = written(tmp_path / "r.prom", {"differences": ["a", "b"], "settled": False}, GOOD)
    assert time.time() - found.pop("timestamp_seconds") < 60
    assert found == {
        'differences{of="events"}': 2, 'differences{of="money"}': 0,
        'settled{of="events"}': 0, 'settled{of="money"}': 1,
    }  # fmt: skip


def test_a_later_result_replaces_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "r.prom"
    written(path, GOOD, {"differences": ["a"], "settled": True})
    found = written(path, GOOD, GOOD)
    assert found['differences{of="money"}'] == 0, "an alert has to see it end"
    assert list(tmp_path.iterdir()) == [path]
