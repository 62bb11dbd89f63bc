"""Usage of two customers: events, the windows that a meter makes of them, and quantities counted event by event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from pipeline.core.bills.usage import BilledFeature
from pipeline.core.metering import window_state
from pipeline.core.metering.meter import AGGREGATIONS, Aggregation
from pipeline.core.values import number
from pipeline.core.values.calendar import MINUTE_S
from pipeline.core.values.filters import filter_string
from pipeline.records import CustomerWindow, Window

NAMESPACE, METER_ID = "default", 7
DAY_S = 86_400
START_S = 1_800_000_000 // DAY_S * DAY_S
SPAN_S = 3 * DAY_S

FILTERS = {
    "all": (),
    "one model": (("model", filter_string("model", {"$eq": "a"})),),
    "several": (
        ("model", filter_string("model", {"$in": ["b", ""]})),
        ("kind", filter_string("kind", {"$ne": "x"})),
    ),
}


@dataclass(frozen=True)
class Used:
    """One event. second: since START_S. value: in half units; also the member of UNIQUE_COUNT."""

    customer: str
    subject: str
    second: int
    value: int
    dimensions: tuple[tuple[str, str], ...]
    part: int

    @property
    def window(self) -> tuple[object, ...]:
        return (self.customer, self.subject, self.second // MINUTE_S, self.dimensions, self.part)


# Few instants, so that events share minutes; both sides of an hour and of a day are among them.
seconds = st.sampled_from(
    [
        0,
        59,
        60,
        3_599,
        3_600,
        3_660,
        7_200,
        DAY_S - 1,
        DAY_S,
        DAY_S + 60,
        2 * DAY_S,
        2 * DAY_S + 3_600,
        SPAN_S - 1,
    ]
)
events = st.lists(
    st.builds(
        Used,
        customer=st.sampled_from(["ada", "bo"]),
        subject=st.sampled_from(["s1", "s2"]),
        second=seconds,
        value=st.integers(-3, 4),
        dimensions=st.sampled_from(
            [(), (("kind", "x"), ("model", "a")), (("kind", "y"), ("model", "b")), (("model", "a"),)]
        ),
        part=st.integers(0, 1),
    ),
    max_size=25,
)
instants = st.one_of(seconds, st.integers(-100, SPAN_S + 100)).map(lambda second: START_S + second)
aggregations = st.sampled_from(AGGREGATIONS)


@dataclass
class UsageWorld:
    """The events of a meter. arrived: in the order of their arrival."""

    aggregation: Aggregation
    arrived: Sequence[Used]
    _known: dict[tuple[object, ...], list[int]] = field(default_factory=dict)

    def windows(self) -> list[CustomerWindow]:
        """A window after each event, as the aggregation publishes it."""
        return [self._window(place, event) for place, event in enumerate(self.arrived)]

    def _window(self, place: int, event: Used) -> CustomerWindow:
        known = self._known.setdefault(event.window, [])
        known.append(place)
        is_new = event.value not in [self.arrived[earlier].value for earlier in known[:-1]]
        members = [member(event)] if self.aggregation == "UNIQUE_COUNT" and is_new else []
        order = self._order(known[-1]) if self.aggregation == "LATEST" else ""
        if order:
            order = max(self._order(one) for one in known)
        window = Window(
            NAMESPACE, "tokens", METER_ID, event.subject, dict(event.dimensions),
            START_S + event.second // MINUTE_S * MINUTE_S, number.text(self._measured(known)), len(known), "0", order,
            members, place, place, event.part,
        )  # fmt: skip
        return CustomerWindow(event.customer, window)

    def _order(self, place: int) -> str:
        return window_state.order((START_S + self.arrived[place].second) * 10**9, place, 0, place)

    def _measured(self, places: Sequence[int]) -> int:
        """What the meter measures of these events; of AVG the sum."""
        values = [self.arrived[place].value * number.SCALE // 2 for place in places]
        match self.aggregation:
            case "COUNT":
                return len(values) * number.SCALE
            case "UNIQUE_COUNT":
                return len(set(values)) * number.SCALE
            case "MIN":
                return min(values, default=0)
            case "MAX":
                return max(values, default=0)
            case "LATEST":
                return values[places.index(max(places, key=self._order))] if places else 0
            case _:
                return sum(values)

    def quantity(self, customer: str, feature: BilledFeature, from_s: int, to_s: int) -> int:
        """The same as BilledUsage.quantity, from the events."""
        first, last = from_s // MINUTE_S, to_s // MINUTE_S
        found = [
            place
            for place, event in enumerate(self.arrived)
            if event.customer == customer
            and first <= (START_S + event.second) // MINUTE_S < last
            and feature.takes(dict(event.dimensions))
        ]
        measured = self._measured(found)
        return number.divide(measured, len(found)) if self.aggregation == "AVG" and found else measured


def member(event: Used) -> str:
    return window_state.member_digest(str(event.value)).hex()


def feature_of(aggregation: Aggregation, filters: str = "all") -> BilledFeature:
    return BilledFeature(METER_ID, aggregation, FILTERS[filters])
