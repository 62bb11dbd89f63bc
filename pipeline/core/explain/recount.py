"""Stored events counted again, one by one: the value that a meter read from each, and the quantity of many.

Owns: these. Does not own: how a value is read (metering.extract), which events a line counts (line_recount). It shares
no code with the windows from which bills are made, so that the two can be compared.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pipeline.core.metering.extract import ExtractPlan, measure_by
from pipeline.core.metering.meter import Aggregation, Meter
from pipeline.core.metering.window_state import order
from pipeline.core.values import number
from pipeline.errors import Broken, Rejected


class RecordedEvent(NamedTuple):
    """A stored event that a meter counted.

    Attributes:
        time_ns, received_at_ms: since 1970.
        data: the JSON text as sent.
        topic, partition, offset: of its input record.
        decided: the control revision at which its fate was decided.
        rules: the version of the rules by which the meter read it (metering.extract).
        is_backfilled: a backfill of the meter counted it.
        position: as `Settled.position`, or that of the backfill; 0: unknown.
    """

    id: str
    source: str
    subject: str
    time_ns: int
    received_at_ms: int
    data: str
    topic: str
    partition: int
    offset: int
    decided: int
    rules: int
    is_backfilled: bool
    position: int


class MeasuredEvent(NamedTuple):
    """What a meter read from an event. value: in atto; text for UNIQUE_COUNT."""

    event: RecordedEvent
    value: int | str
    dimensions: dict[str, str]

    @property
    def text(self) -> str:
        """The value as text."""
        return self.value if isinstance(self.value, str) else number.text(self.value)

    @property
    def order(self) -> str:
        """Text that sorts as LATEST does."""
        event = self.event
        return order(event.time_ns, event.received_at_ms, event.partition, event.offset)


class EventMeasure:
    """Reads events for one meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._plans: dict[tuple[tuple[str, str], ...], ExtractPlan] = {}

    def read(self, event: RecordedEvent) -> MeasuredEvent:
        """The value and the dimensions of an event, as the meter had them when it counted the event.

        Raises:
            Broken: the meter cannot take the event, although it counted it.
        """
        plan = self._plan(event)
        try:
            value, dimensions = measure_by(plan, msgspec.Raw(event.data.encode()))
        except Rejected as error:
            raise Broken(
                f"The meter {self._meter.slug} counted an event that it cannot take: {error}"
            ) from error
        if self._meter.aggregation == "COUNT" or value is None:
            value = number.SCALE
        return MeasuredEvent(event, value, dict(zip(plan.readers[0].names, dimensions, strict=True)))

    def _plan(self, event: RecordedEvent) -> ExtractPlan:
        meter = self._meter.as_of(event.decided)
        key = (*meter.group_by.items(), ("", str(event.rules)))
        if key not in self._plans:
            self._plans[key] = ExtractPlan([meter], event.rules)
        return self._plans[key]


class EventTally:
    """The quantity of events, which are added in any order."""

    def __init__(self, aggregation: Aggregation) -> None:
        self.aggregation = aggregation
        self.events = 0
        self._sum = 0
        self._low: int | None = None
        self._high: int | None = None
        self._latest: tuple[str, int] | None = None
        self._members: set[str] = set()

    def add(self, value: int | str, at: str) -> None:
        """Count an event. at: `MeasuredEvent.order`."""
        self.events += 1
        if isinstance(value, str):
            self._members.add(value)
            return
        self._sum += value
        self._low = value if self._low is None else min(self._low, value)
        self._high = value if self._high is None else max(self._high, value)
        self._latest = (at, value) if self._latest is None else max(self._latest, (at, value))

    @property
    def quantity_atto(self) -> int:
        """In atto; 0 without events. AVG is rounded half-even to 18 decimals."""
        match self.aggregation:
            case "UNIQUE_COUNT":
                return len(self._members) * number.SCALE
            case "SUM" | "COUNT":
                return self._sum
            case "AVG":
                return number.divide(self._sum, self.events) if self.events else 0
            case "MIN":
                return self._low or 0
            case "MAX":
                return self._high or 0
            case "LATEST":
                return 0 if self._latest is None else self._latest[1]
