"""The events of the upgrade story and what has to come of them, as a plain recount.

Owns: which events are sent before and after the upgrade, by a seed; sums, counts and distinct members of them. Pure.
Shares no code with the pipeline, so that a rule that changes there does not change here.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

SEED = 20_261_128
BEFORE, AFTER = 1_300, 400
DAY_S = 86_400
LATE_DAYS = 20
SUBJECTS = [f"s{number}" for number in range(6)]
MODELS = ("small", "large")
USERS = {"b": 40, "a": 50}  # before and after: some are new
MEAN_DIGITS = Decimal("1e-15")

Fate = Literal["counted", "duplicate", "conflict", "rejected", "invalid", "unmetered"]
Way = Literal["kafka", "binary", "http"]

METERS: list[dict[str, Any]] = [
    {
        "slug": "tokens",
        "eventType": "prompt",
        "aggregation": "SUM",
        "valueProperty": "$.n",
        "groupBy": {"model": "$.model"},
    },
    {"slug": "calls", "eventType": "call", "aggregation": "COUNT"},
    {"slug": "users", "eventType": "prompt", "aggregation": "UNIQUE_COUNT", "valueProperty": "$.user"},
    {"slug": "highest", "eventType": "prompt", "aggregation": "MAX", "valueProperty": "$.n"},
    {"slug": "lowest", "eventType": "prompt", "aggregation": "MIN", "valueProperty": "$.n"},
    {"slug": "mean", "eventType": "prompt", "aggregation": "AVG", "valueProperty": "$.n"},
    {"slug": "last", "eventType": "prompt", "aggregation": "LATEST", "valueProperty": "$.n"},
]
# Made after the first events, so that a backfill counts those.
LATER_METER: dict[str, Any] = {
    "slug": "models", "eventType": "call", "aggregation": "COUNT", "groupBy": {"model": "$.model"},
}  # fmt: skip


class Sent(NamedTuple):
    """One event. content: its JSON text, or what is none; time_s: its own time."""

    way: Way
    content: str
    fate: Fate
    time_s: int = 0

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found


Cell = tuple[str, int, str, str]
"""(meter, first second of the day, subject, model or "")."""


def before(base_s: int) -> list[Sent]:
    """What is sent before the upgrade. base_s: the second at which sending began."""
    return _mixed(random.Random(SEED), "b", BEFORE, base_s, [])


def after(base_s: int) -> list[Sent]:
    """What is sent after it: new events into the same windows, and each of the earlier ones that counted, again."""
    earlier = [one for one in before(base_s) if one.fate == "counted"]
    repeats = [Sent("kafka", one.content, "duplicate") for one in earlier]
    return repeats + _mixed(random.Random(SEED + 1), "a", AFTER, base_s, earlier)


def _mixed(dice: random.Random, prefix: str, number: int, base_s: int, earlier: list[Sent]) -> list[Sent]:
    found: list[Sent] = []
    counted = list(earlier)
    for place in range(number):
        way: Way = dice.choices(("kafka", "binary", "http"), (5, 2, 3))[0]
        kind = dice.random()
        if kind < 0.04 and counted:
            found.append(Sent(way, dice.choice(counted).content, "duplicate"))
        elif kind < 0.06 and counted:
            other = dice.choice(counted).event
            found.append(Sent(way, json.dumps({**other, "data": {**other["data"], "n": 1000}}), "conflict"))
        elif kind < 0.08:
            found.append(Sent("kafka", f'{{"id": "{prefix}{place}"', "rejected"))
        elif kind < 0.10:
            found.append(
                Sent(way, _text(f"{prefix}{place}", "prompt", dice, base_s, {"model": "small"})[0], "invalid")
            )
        elif kind < 0.12:
            found.append(Sent(way, _text(f"{prefix}{place}", "unheard", dice, base_s, {})[0], "unmetered"))
        else:
            new = _good(f"{prefix}{place}", way, dice, base_s)
            counted.append(new)
            found.append(new)
    return found


def _good(id: str, way: Way, dice: random.Random, base_s: int) -> Sent:
    data = {
        "model": dice.choice(MODELS),
        "user": f"u{dice.randrange(USERS[id[0]])}",
        "n": dice.randrange(1, 400) / 4,
    }
    type = "call" if dice.random() < 0.2 else "prompt"
    content, time_s = _text(id, type, dice, base_s, data)
    return Sent(way, content, "counted", time_s)


def _text(id: str, type: str, dice: random.Random, base_s: int, data: dict[str, Any]) -> tuple[str, int]:
    """An event of the last hour, or with luck late; no two of one subject have one time, so LATEST is clear."""
    days = dice.randrange(1, LATE_DAYS) if dice.random() < 0.15 else 0
    time_s = base_s - days * DAY_S - dice.randrange(3_600)
    at = f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%S}.{int(id[1:]):06d}{'1' if id[0] == 'a' else '0'}Z"
    members = {
        "specversion": "1.0", "id": id, "source": "/upgrade", "type": type, "subject": dice.choice(SUBJECTS),
        "time": at, "datacontenttype": "application/json", "data": data,
    }  # fmt: skip
    return json.dumps(members), time_s


def fates(sent: Iterable[Sent]) -> dict[str, int]:
    """How many events have which fate."""
    found: dict[str, int] = defaultdict(int)
    for one in sent:
        found[one.fate] += 1
    return dict(found)


def usage(sent: Iterable[Sent]) -> dict[Cell, Decimal]:
    """The value of each meter by day, subject and model, of the events that count."""
    groups: dict[Cell, list[dict[str, Any]]] = defaultdict(list)
    for one in sent:
        if one.fate != "counted":
            continue
        event = one.event
        day_s = one.time_s // DAY_S * DAY_S
        for meter in (*METERS, LATER_METER):
            if meter["eventType"] == event["type"]:
                model = event["data"]["model"] if "groupBy" in meter else ""
                groups[meter["slug"], day_s, event["subject"], model].append(event)
    kinds = {meter["slug"]: meter["aggregation"] for meter in (*METERS, LATER_METER)}
    return {cell: _value(kinds[cell[0]], events) for cell, events in groups.items()}


def _value(aggregation: str, events: list[dict[str, Any]]) -> Decimal:
    if aggregation == "COUNT":
        return Decimal(len(events))
    if aggregation == "UNIQUE_COUNT":
        return Decimal(len({event["data"]["user"] for event in events}))
    numbers = [Decimal(str(event["data"]["n"])) for event in sorted(events, key=lambda event: event["time"])]
    if aggregation == "AVG":
        return sum(numbers, Decimal()) / len(numbers)
    values = {"SUM": sum(numbers, Decimal()), "MAX": max(numbers), "MIN": min(numbers), "LATEST": numbers[-1]}
    return values[aggregation]


def differences(found: dict[Cell, Decimal], expected: dict[Cell, Decimal]) -> list[str]:
    """What differs, one sentence a cell. A mean may differ in the digits that its division cannot keep."""
    return [
        f"{cell}: {found.get(cell)} instead of {expected.get(cell)}"
        for cell in sorted(found.keys() | expected.keys())
        if cell not in found
        or cell not in expected
        or abs(found[cell] - expected[cell]) > (MEAN_DIGITS if cell[0] == "mean" else 0)
    ]


def tokens(sent: Iterable[Sent], subjects: set[str]) -> Decimal:
    """What these subjects used of the meter `tokens` in all."""
    return sum(
        (value for cell, value in usage(sent).items() if cell[0] == "tokens" and cell[2] in subjects),
        Decimal(),
    )


def users(sent: Iterable[Sent], subjects: set[str]) -> int:
    """How many different users these subjects had in all."""
    events = [one.event for one in sent if one.fate == "counted"]
    return len(
        {one["data"]["user"] for one in events if one["type"] == "prompt" and one["subject"] in subjects}
    )
