"""Medians of the rounds and the table. Pure: it owns no run and no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.pairs import median
from tests.bench.peers.run import Figures


class Row(NamedTuple):
    """Medians of one engine. differences: of every round in which its sums were not those of the recount."""

    name: str
    exactly_once: bool
    events: int
    events_per_s: float
    app_us: float
    broker_us: float
    memory_mb: float
    differences: list[str]
    rounds: list[Figures]

    @property
    def total_us(self) -> float:
        """CPU microseconds an event of the application and the broker."""
        return self.app_us + self.broker_us


def row(name: str, exactly_once: bool, rounds: list[Figures]) -> Row:
    """The medians of an engine's rounds, of which all had the same events."""
    return Row(
        name,
        exactly_once,
        rounds[0].events,
        median([one.events_per_s for one in rounds]),
        median([one.app_us for one in rounds]),
        median([one.broker_us for one in rounds]),
        median([one.memory_mb for one in rounds]),
        [
            f"round {number}: {sentence}"
            for number, one in enumerate(rounds, 1)
            for sentence in one.differences
        ],
        rounds,
    )


def table(rows: Sequence[Row]) -> list[str]:
    """A line an engine, in Markdown. ratio: of events/s to the first row. Wrong sums are in the last column."""
    lines = [
        "| engine | exactly once | events | events/s | CPU µs: application | broker | total | peak MB | ratio | sums |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        cells = [
            one.name,
            "yes" if one.exactly_once else "no",
            f"{one.events:,}",
            f"{one.events_per_s:,.0f}",
            *(f"{used:,.0f}" for used in (one.app_us, one.broker_us, one.total_us, one.memory_mb)),
            f"{one.events_per_s / rows[0].events_per_s:.2f}",
            f"WRONG: {'; '.join(one.differences)}" if one.differences else "as recounted",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
