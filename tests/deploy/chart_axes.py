"""Axes of a chart: round values with their units, round times of day, where a line has a gap."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import floor, log10
from typing import NamedTuple

MOST_TICKS = 4  # above 0
ROUND = (1, 2, 2.5, 5, 10)
SECONDS = (5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 172_800, 604_800)
DAY_S = 86_400
SCALES = {
    "s": ((60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")),
    "bytes": ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")),
    "Bps": ((2**20, " MiB/s"), (2**10, " KiB/s"), (1, " B/s")),
    "percentunit": ((0.01, " %"),),
}
SHORT = ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, ""), (1e-3, " m"))


class Axis(NamedTuple):
    """top: the largest value that is shown. ticks: values and their texts, from 0 to top."""

    top: float
    ticks: list[tuple[float, str]]


def value_axis(most: float, unit: str, is_whole: bool = False) -> Axis:
    """An axis from 0 to a round value that is not below `most`. is_whole: there are no fractions."""
    if unit == "bool_yes_no":
        return Axis(1.0, [(0.0, "no"), (1.0, "yes")])
    most = most if most > 0 else 1.0
    scales = SCALES.get(unit, SHORT)
    size, name = next((one for one in scales if most >= one[0]), scales[-1])
    step = _round_up(most / size / MOST_TICKS)
    step = max(step, 1.0) if is_whole and size == 1 else step
    number = next(count for count in range(1, MOST_TICKS + 2) if count * step * size >= most * (1 - 1e-9))
    ticks = [
        (place * step * size, f"{place * step:.4g}{name}" if place else "0") for place in range(number + 1)
    ]
    return Axis(ticks[-1][0], ticks)


def _round_up(step: float) -> float:
    power = 10.0 ** floor(log10(step))
    return next(one * power for one in ROUND if one * power >= step * (1 - 1e-9))


def clock_ticks(first: float, last: float, most: int = 5) -> list[tuple[float, str]]:
    """Round times in UTC from `first` to `last`, in seconds since 1970."""
    every = next((one for one in SECONDS if (last - first) / one <= most), SECONDS[-1])
    form = "%d %b" if every >= DAY_S else "%H:%M" if every >= 60 else "%H:%M:%S"
    begin = int(-(-first // every) * every)
    return [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in range(begin, int(last) + 1, every)]


def gap_s(times: Sequence[float]) -> float:
    """How far apart two times are at least where one is missing between them."""
    return 1.5 * min((after - before for before, after in pairwise(times)), default=0.0)
