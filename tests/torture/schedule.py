"""What a torture run does, decided before it begins: all random choices come from the seed.

Owns: the steps, their order, their JSON form. Does not own: how a step is carried out (hurting).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from pipeline.agents import sink
from pipeline.engine import crash_points
from tests.torture.poison import KINDS

FAULT_STAGES = ("ingest", "dedupe", "aggregate", "sink")
TRANSACTIONAL = ("ingest", "dedupe", "aggregate")
WITH_TABLE = ("dedupe", "aggregate")  # these also run as two workers, so that another one can take over
POINTS = (*crash_points.POINTS, *sink.POINTS)
ZOMBIE_POINTS = ("produce.after", "offsets.after", "commit.before")  # inside a transaction
BASE_WORKERS = {"ingest": 1, "dedupe": 2, "aggregate": 2, "sink": 1}

ALERT_STAGES = ("attribute", "alert", "live", "webhook")
ALERT_WORKERS = {"attribute": 1, "alert": 2, "live": 1, "webhook": 2}
ALERT_TABLES = ("alert", "webhook")
# Where a stop tears outputs, state and position apart when no transaction holds them together.
TEARING = ("produce.after", "offsets.before", "offsets.after", "commit.after", "table.before", "table.after")


@dataclass(frozen=True)
class Profile:
    """How much of everything. lines: sent at least, repeats included."""

    lines: int
    kills: int
    rounds: int = 1  # of every crash point
    zombies: int = 1
    freezes: int = 1
    scalings: int = 1
    brokers: int = 1
    away: int = 1
    away_s: float = 20.0
    cuts: int = 2
    losses: int = 1
    spoils: int = 2
    poisons: int = 1  # of each kind
    base: bool = True  # whether the stages up to ClickHouse are hurt
    # With alerts, beside all of that:
    alert_kills: int = 12
    alert_rounds: int = 1  # of the crash points of ALERT_STAGES
    flushes: int = 2  # Redis emptied, and Redis killed
    resets: int = 3


PROFILES = {
    "quick": Profile(200_000, kills=20),
    "long": Profile(
        5_000_000, kills=200, rounds=6, zombies=6, freezes=6, scalings=8, brokers=4, away=3, away_s=60.0,
        cuts=20, losses=6, spoils=9, poisons=4, alert_kills=120, alert_rounds=6, flushes=12, resets=8,
    ),
    "ci": Profile(36_000, kills=4, away_s=10.0, alert_kills=4, alert_rounds=0, flushes=1, resets=1),
    "alerts": Profile(30_000, kills=0, base=False, alert_kills=4, alert_rounds=0, flushes=1, resets=1),
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """Send `lines`, wait `delay_s`, then do `fault` with `how`."""

    fault: str
    how: dict[str, Any]
    lines: int
    delay_s: float


@dataclass(frozen=True)
class Schedule:
    """Everything that a run needs to be the same again."""

    seed: int
    profile: str
    lines: int
    steps: list[Step] = field(default_factory=list)
    every_point: bool = True  # whether a crash point that is never reached fails the run
    alerts: bool = False  # whether there are entitlements and rules, and their stages are hurt too

    @property
    def stages(self) -> tuple[str, ...]:
        """What is hurt."""
        return FAULT_STAGES + ALERT_STAGES if self.alerts else FAULT_STAGES

    @property
    def workers(self) -> dict[str, int]:
        """How many of each stage, but for the time of a change."""
        return BASE_WORKERS | ALERT_WORKERS if self.alerts else BASE_WORKERS

    def text(self) -> str:
        """JSON, a step a line."""
        steps = ",\n".join("  " + json.dumps(asdict(step)) for step in self.steps)
        head = {key: value for key, value in asdict(self).items() if key != "steps"}
        return json.dumps(head)[:-1] + f', "steps": [\n{steps}\n]}}\n'

    @staticmethod
    def read(path: Path) -> Schedule:
        """The schedule of a file that `text` has made."""
        found = json.loads(path.read_text())
        steps = [Step(**step) for step in found.pop("steps")]
        return Schedule(**found, steps=steps)


def make(seed: int, name: str, alerts: bool = False) -> Schedule:
    """The schedule of a profile: faults in a random order, the stream spread over them."""
    profile, rng = PROFILES[name], Random(seed)
    alerts = alerts or not profile.base
    faults = list(_faults(profile, rng)) if profile.base else []
    if alerts:
        faults += _alert_faults(profile, rng)
    rng.shuffle(faults)
    share = profile.lines * 0.7 / (len(faults) + 1)  # the rest comes while something is waited for
    steps = [
        Step(fault, how, int(share * rng.uniform(0.3, 1.7)), round(rng.random() ** 2 * 1.5, 3))
        for fault, how in faults
    ]
    return Schedule(seed, name, profile.lines, steps, profile.base, alerts)


def _faults(profile: Profile, rng: Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(profile.kills):
        stage = FAULT_STAGES[number % len(FAULT_STAGES)]
        yield "kill", {"stage": stage, "place": rng.randrange(8), "hasty": rng.random() < 0.25}
    for round_ in range(profile.rounds):
        for point in POINTS:
            yield "crash", {"stage": _stage_of(point, rng, round_), "point": point}
    for number in range(profile.zombies):
        yield (
            "zombie",
            {"stage": rng.choice(WITH_TABLE), "point": ZOMBIE_POINTS[(number + rng.randrange(3)) % 3]},
        )
    for _ in range(profile.freezes):
        yield "freeze", {"stage": rng.choice(WITH_TABLE), "place": rng.randrange(8)}
    for number in range(profile.scalings):
        yield "scale", {"stage": FAULT_STAGES[(number + rng.randrange(4)) % 4], "to": [3, 1], "within_s": 2.5}
    for _ in range(profile.brokers):
        yield "broker", {}
    for _ in range(profile.away):
        yield "away", {"for_s": round(profile.away_s * rng.uniform(0.8, 1.2), 1)}
    for number in range(profile.cuts):
        yield "cut", {"what": "reply" if number % 2 == 0 else "request", "inserts": rng.randint(1, 3)}
    for number in range(profile.losses):
        yield "lose", {"stage": WITH_TABLE[number % 2], "place": rng.randrange(8)}
    for number in range(profile.spoils):
        how = ("truncate", "flip")[number % 2]
        yield "spoil", {"stage": rng.choice(WITH_TABLE), "place": rng.randrange(8), "how": how}
    for _ in range(profile.poisons):
        for kind in KINDS:
            yield "poison", {"kind": kind}


def _alert_faults(profile: Profile, rng: Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(profile.alert_kills):
        stage = ALERT_STAGES[(number + 1) % len(ALERT_STAGES)]
        yield "kill", {"stage": stage, "place": rng.randrange(8), "hasty": rng.random() < 0.25}
    for point in ("commit.after", "offsets.after"):
        yield "crash", {"stage": "alert", "point": point}
    yield "crash", {"stage": "webhook", "point": "webhook.posted"}
    for _ in range(profile.alert_rounds):
        for point in (
            *TEARING,
            "chunk.begin",
            "assign.fenced",
            "restore.half",
            "restore.done",
            "markers.after",
        ):
            yield "crash", {"stage": "alert", "point": point}
        for stage in ("attribute", "webhook"):
            for point in ("produce.after", "commit.after", "table.before", "restore.done"):
                yield "crash", {"stage": stage, "point": point}
        yield "crash", {"stage": "live", "point": "chunk.begin"}
        yield "zombie", {"stage": "alert", "point": rng.choice(ZOMBIE_POINTS)}
        yield "freeze", {"stage": rng.choice(ALERT_TABLES), "place": rng.randrange(8)}
        yield "scale", {"stage": rng.choice(ALERT_STAGES), "to": [3, 1], "within_s": 2.5}
        yield "lose", {"stage": rng.choice(ALERT_TABLES), "place": rng.randrange(8)}
        yield "spoil", {"stage": "alert", "place": rng.randrange(8), "how": rng.choice(("truncate", "flip"))}
    for number in range(profile.flushes):
        yield "redis", {"how": ("flush", "kill")[number % 2]}
    for what in ("entitlement", "entitlement", "rule", "subject", *("reset",) * profile.resets):
        yield "bring", {"what": what}


def _stage_of(point: str, rng: Random, round_: int) -> str:
    if point.startswith("sink."):
        return "sink"
    if point == "restore.half" or point.startswith("table."):
        return WITH_TABLE[round_ % 2]
    if point == "revoke":
        return rng.choice(WITH_TABLE)
    return rng.choice(TRANSACTIONAL)
