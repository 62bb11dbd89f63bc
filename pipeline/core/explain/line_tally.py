"""The quantities of a line by its events, and whether they are what the line says.

Owns: three counts: of the line, of the time before the part that it bills, of the line before a correction. Does not
own: which events are counted (line_recount).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pipeline.core.explain.recount import EventTally
from pipeline.core.invoices.line_usage import LineUsage
from pipeline.core.values import number
from pipeline.core.values.calendar import floor_minute
from pipeline.errors import Broken


class LineQuantities(NamedTuple):
    """In atto. before: of the time before the part that the line bills."""

    quantity: int
    before: int


class _Included(Protocol):
    @property
    def now(self) -> bool: ...

    @property
    def before(self) -> bool: ...


class LineTally:
    """Counts the events of a line, in any order."""

    def __init__(self, usage: LineUsage) -> None:
        self._part_s = floor_minute(usage.part_s)
        self._all, self._earlier, self._last = (EventTally(usage.aggregation) for _ in range(3))

    def add(self, value: int | str, order: str, minute_s: int, included: _Included) -> None:
        """Count an event.

        Args:
            value: in atto; text for UNIQUE_COUNT.
            order: as `MeasuredEvent.order`.
            minute_s: of its time, in seconds since 1970.
            included: whether the line counts it now, and the line before a correction.
        """
        if included.now:
            self._all.add(value, order)
            if minute_s < self._part_s:
                self._earlier.add(value, order)
        if included.before:
            self._last.add(value, order)

    @property
    def quantities(self) -> LineQuantities:
        return LineQuantities(self._all.quantity_atto, self._earlier.quantity_atto)

    def check(self, what: str, usage: LineUsage, before: LineUsage | None) -> None:
        """Compare the counts with what the line says.

        Args:
            what: the line, as the subject of a sentence.
            usage: of the line.
            before: of the line that it corrects.

        Raises:
            Broken: they differ.
        """
        _compare(f"{what} counts", usage.quantity, self._all)
        _compare(f"{what} counts before its part", usage.before, self._earlier)
        if before is not None:
            _compare(f"{what} corrects", before.quantity, self._last)


def _compare(what: str, expected: str, found: EventTally) -> None:
    if number.exact(expected) != found.quantity_atto:
        raise Broken(
            f"{what} {expected}, but the {found.events} stored events under it are {number.text(found.quantity_atto)}."
        )
