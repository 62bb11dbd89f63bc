"""Why a meter refuses an event that matches it: the reasons, and the names under which refusals are counted.

Owns: the closed list of reasons, so that metrics have a bounded number of labels; the names of a meter's totals in
Counts. Does not own: which event is refused (extract, combine, aggregate), how totals are stored (engine).
A total is named by slug and id, because a slug that was deleted and made again names another meter.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.metering.meter import Meter
from pipeline.records import Refused

NO_DATA = "no-data"
UNREADABLE = "data-unreadable"
MISSING = "value-missing"
NULL = "value-null"
WRONG_TYPE = "value-type"
NOT_A_NUMBER = "value-not-a-number"
INFINITE = "value-infinite"
TOO_LARGE = "value-too-large"
TOO_PRECISE = "value-too-precise"
LONG_DIMENSIONS = "dimensions-too-long"
FULL_WINDOW = "window-full"

REASONS: dict[str, str] = {
    NO_DATA: "the event has no data",
    UNREADABLE: "the data cannot be read, for example because a number has thousands of digits",
    MISSING: "the data has nothing at the value property",
    NULL: "the value is null",
    WRONG_TYPE: "the value is true, false, an object or an array",
    NOT_A_NUMBER: "the value is text that is not a number, or it is NaN",
    INFINITE: "the value is infinity",
    TOO_LARGE: "the value is 10^18 or more",
    TOO_PRECISE: "the value has more than 18 decimals",
    LONG_DIMENSIONS: "the values of the dimensions have more than 4,096 characters in total",
    FULL_WINDOW: "the total of the minute would have more than 38 digits",
}

_PREFIX = "/meter/"
_COUNTED = "counted"
_REFUSED = "refused"


class Refusal(NamedTuple):
    """reason: one of REASONS. detail: one sentence. Both are empty if the event does not match the meter."""

    reason: str
    detail: str


UNWANTED = Refusal("", "")


class MeterTotal(NamedTuple):
    """The meter and outcome that a name in Counts identifies. reason: empty for events that the meter counted."""

    slug: str
    meter_id: int
    reason: str


def counted_name(meter: Meter) -> str:
    """The name in Counts of the events that a meter counted.

    >>> counted_name(Meter(slug="bill", event_type="t", aggregation="COUNT", meter_id=7, namespace="default"))
    '/meter/bill/7/counted'
    """
    return f"{_PREFIX}{meter.slug}/{meter.meter_id}/{_COUNTED}"


def refused_name(slug: str, meter_id: int, reason: str) -> str:
    """The name in Counts of the events that a meter refused for one reason.

    >>> refused_name("bill", 7, "value-null")
    '/meter/bill/7/refused/value-null'
    """
    return f"{_PREFIX}{slug}/{meter_id}/{_REFUSED}/{reason}"


def total_of(name: str) -> MeterTotal | None:
    """The meter and outcome of a name in Counts; None for the name of another count.

    >>> total_of("/meter/bill/7/refused/value-null")
    MeterTotal(slug='bill', meter_id=7, reason='value-null')
    >>> total_of("rejected:bad-json") is None
    True
    """
    if not name.startswith(_PREFIX):
        return None
    slug, meter_id, outcome, *reason = name.removeprefix(_PREFIX).split("/")
    return MeterTotal(slug, int(meter_id), reason[0] if outcome == _REFUSED else "")


def sentence(refused: list[Refused]) -> str:
    """The refusals as one text for people: `slug: detail; slug: detail`."""
    return "; ".join(f"{one.meter}: {one.detail}" for one in refused)
