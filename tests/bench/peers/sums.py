"""What an engine has counted, and whether it is what a recount of the load counts.

Owns: sums, the comparison. Does not own: the recount (tests.flow.recount), reading topics (engine).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal

from tests.flow.recount import EXACT, SMALLEST, Arrived, WindowKey, WindowValue, plain, recount

Place = tuple[str, str, tuple[tuple[str, str], ...], int]  # a WindowKey in plain types


@dataclass
class Sums:
    """windows: the newest value and count of each; AVG holds its sum. fates: `repeats` are duplicates and conflicts."""

    windows: dict[Place, tuple[Decimal, int]] = field(default_factory=dict)
    fates: Counter[str] = field(default_factory=Counter)

    def window(self, place: Place, value: Decimal, count: int) -> None:
        """A newer state of a window."""
        self.windows[place] = value, count


class Expected:
    """The recount of the load. Which copy of an identity is first depends on partitions: all repeats are one fate."""

    def __init__(self, values: Sequence[bytes], meters: Sequence[Mapping[str, object]], now_ms: int) -> None:
        counted = recount((Arrived(value, now_ms) for value in values), meters)
        self.windows = counted.windows
        self.fates = counted.fates
        self.fates["repeats"] = self.fates.pop("duplicate", 0) + self.fates.pop("conflict", 0)
        self._averages = {str(meter["slug"]) for meter in meters if meter["aggregation"] == "AVG"}

    def differences(self, found: Sums) -> list[str]:
        """A sentence for each kind of difference; empty if every window and every fate is as recounted."""
        sentences = [
            f"{found.fates[fate]:,} events {fate} instead of {self.fates[fate]:,}"
            for fate in sorted({*self.fates, *found.fates})
            if found.fates[fate] != self.fates[fate]
        ]
        windows = {WindowKey(*place): self._value(place, *state) for place, state in found.windows.items()}
        missing, extra = self.windows.keys() - windows.keys(), windows.keys() - self.windows.keys()
        unequal = [key for key in self.windows.keys() & windows.keys() if self.windows[key] != windows[key]]
        for keys, what in ((missing, "missing"), (extra, "too many"), (unequal, "with another sum")):
            if keys:
                sentences.append(f"{len(keys):,} of {len(self.windows):,} windows {what}")
        return sentences

    def _value(self, place: Place, value: Decimal, count: int) -> WindowValue:
        if place[0] in self._averages:
            mean = Context(prec=120).divide(value, Decimal(count))
            value = mean.quantize(SMALLEST, ROUND_HALF_EVEN, EXACT)
        return WindowValue(plain(value), count)
