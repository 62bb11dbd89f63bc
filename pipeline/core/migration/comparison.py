"""Usage and balances of both sides, compared.

Owns: which values agree. Does not own: asking for them (cli.migrate_compare).

OpenMeter computes with doubles, Tallymark exactly. A difference that is less than a billionth of the value is what the
doubles of a sum lose, and counts as agreement; it is shown as `rounding`. Doubles lose nothing of whole numbers below
2^53, so between two of those every difference is real.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

ROUNDING = 1_000_000_000
EXACT_BELOW = Decimal(2**53)  # whole numbers that a double holds
TOTAL = "total"
BALANCE_MEMBERS = ("balance", "usage", "overage")

Verdict = Literal["same", "rounding", "different"]
ComparedValue = Decimal | None


class Compared(NamedTuple):
    """One value on both sides; None where a side has none. window: its start, or `total`, or a member of a balance."""

    name: str
    window: str
    theirs: ComparedValue
    ours: ComparedValue

    @property
    def verdict(self) -> Verdict:
        """No value is 0: OpenMeter shows no row for a window without events."""
        theirs, ours = self.theirs or Decimal(0), self.ours or Decimal(0)
        if theirs == ours:
            return "same"
        if _exact(theirs) and _exact(ours):
            return "different"
        return "rounding" if abs(theirs - ours) * ROUNDING <= abs(theirs) else "different"


def usage(
    name: str, theirs: Mapping[str, ComparedValue], ours: Mapping[str, ComparedValue]
) -> list[Compared]:
    """The values of a meter by window, sorted by it, the total last."""
    windows = sorted(theirs.keys() | ours.keys(), key=lambda window: (window == TOTAL, window))
    return [Compared(name, window, theirs.get(window), ours.get(window)) for window in windows]


def windows_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, ComparedValue]:
    """The value of each window of an answer, by its start."""
    return {str(row["windowStart"])[:19] + "Z": _decimal(row["value"]) for row in rows}


def total_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, ComparedValue]:
    """The value of an answer without windows, which has one row at most."""
    return dict.fromkeys([TOTAL], next((_decimal(row["value"]) for row in rows), None))


def balance(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[Compared]:
    """The members of an entitlement's value."""
    return [
        Compared(name, member, _decimal(theirs.get(member)), _decimal(ours.get(member)))
        for member in BALANCE_MEMBERS
    ]


def _exact(value: Decimal) -> bool:
    return abs(value) < EXACT_BELOW and value == value.to_integral_value()


def _decimal(value: Any) -> ComparedValue:
    return None if value is None else Decimal(value)
