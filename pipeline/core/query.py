"""Usage queries: what may be asked, how a range is cut, how parts become the answer.

Owns: rules and texts of a query, the cut into whole minutes and edges, exact merging of parts, result rows.
Does not own: where parts come from (stores.usage), windows and zones (window), what a meter reads (reading).
A range of whole minutes is summed from stored windows; what is left of its first and last minute, the edges,
is measured again from the events themselves. Source of rules and texts: OpenMeter's meter query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn
from zoneinfo import ZoneInfo

from pipeline.core import number, tally
from pipeline.core.meter import Meter
from pipeline.core.reading import Plan, measure_by
from pipeline.core.window import MINUTE_NS, MINUTE_S, SIZES, Size, bounds, minute_s
from pipeline.errors import Broken, Rejected

MAX_LIST = 100  # subjects, dimensions to group by, values of one filter
END_S = 4_294_967_280  # the last whole minute that a stored DateTime can name
NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTING = ("COUNT", "UNIQUE_COUNT")

Filters = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class UsageQuery:
    """A checked query. Instants are ns since 1970, [from, to); None: open. Any value of a filter fits."""

    meter: Meter
    from_ns: int | None
    to_ns: int | None
    window: Size | None
    tz: str
    zone: ZoneInfo
    subjects: tuple[str, ...]
    by_subject: bool
    group_by: tuple[str, ...]  # dimensions, without `subject`
    filters: tuple[tuple[str, tuple[str, ...]], ...]


class Key(NamedTuple):
    """What one result row is about. start_s: of the window, 0 without one; subject: "" unless asked for."""

    start_s: int
    dimensions: tuple[str, ...]
    subject: str


class Part(NamedTuple):
    """What is known of a key from some of its events; no event is in two parts.

    value: atto; None for COUNT and UNIQUE_COUNT. order: of LATEST. first_s, last_s: first and last minute.
    distinct: members that are in no other part; members: those that may be (UNIQUE_COUNT).
    """

    value: int | None
    order: str
    events: int
    first_s: int
    last_s: int
    distinct: int = 0
    members: frozenset[str] = frozenset()


Parts = dict[Key, Part]


class EdgeEvent(NamedTuple):
    """A stored event that the meter has counted. `data`: JSON text."""

    subject: str
    data: str
    time_ns: int
    received_at_ms: int
    partition: int
    offset: int


class Cut(NamedTuple):
    """minutes: [from_s, to_s), empty where equal. edges: [from_ns, to_ns), each within a minute."""

    minutes: tuple[int, int]
    edges: tuple[tuple[int, int], ...]


def usage_query(
    meter: Meter,
    *,
    from_ns: int | None = None,
    to_ns: int | None = None,
    window: str | None = None,
    tz: str = "UTC",
    subjects: Sequence[str] = (),
    group_by: Sequence[str] = (),
    filters: Filters | None = None,
) -> UsageQuery:
    """Checks a query. Raises Rejected `bad-query` with OpenMeter's text where it has one."""
    if from_ns is not None and to_ns is not None:
        if from_ns == to_ns:
            _refuse("from and to cannot be equal")
        if from_ns > to_ns:
            _refuse("from must be before to")
    if window is not None and window not in SIZES:
        _refuse(f"invalid window: {_shown(window)}, it must be one of {' '.join(SIZES)}")
    for name in group_by:
        if name != "subject" and name not in meter.group_by:
            _refuse(f"invalid group by: {_shown(name)}")
    for name, values in (filters or {}).items():
        if name not in meter.group_by:
            _refuse(f"invalid group by filter: {_shown(name)}")
        if not values:
            _refuse(f"the filter {name} needs a value")
        _check_texts(f"values of filter {name}", values)
    _check_texts("subjects", subjects)
    _check_texts("group by", group_by)
    return UsageQuery(
        meter=meter,
        from_ns=from_ns,
        to_ns=to_ns,
        window=window,
        tz=tz,
        zone=_zone(tz),
        subjects=tuple(dict.fromkeys(subjects)),
        by_subject=bool(subjects) or "subject" in group_by,
        group_by=tuple(name for name in dict.fromkeys(group_by) if name != "subject"),
        filters=tuple((name, tuple(values)) for name, values in (filters or {}).items()),
    )


def cut(from_ns: int | None, to_ns: int | None) -> Cut:
    """A range as whole minutes and edges, which together are exactly the range (within 1970 to 2106)."""
    end_ns = END_S * NS_PER_S
    from_ns = min(max(from_ns or 0, 0), end_ns)
    to_ns = end_ns if to_ns is None else min(max(to_ns, 0), end_ns)
    first_s = -(-from_ns // MINUTE_NS) * MINUTE_S
    last_s = minute_s(to_ns)
    sides: tuple[tuple[int, int], ...] = ((from_ns, to_ns),)
    if first_s > last_s:  # within one minute
        return Cut((first_s, first_s), sides if from_ns < to_ns else ())
    sides = ((from_ns, first_s * NS_PER_S), (last_s * NS_PER_S, to_ns))
    return Cut((first_s, last_s), tuple(side for side in sides if side[0] < side[1]))


def runs(boundaries: Sequence[int]) -> tuple[list[int], list[int]]:
    """Windows of equal length in a row as one run: starts and lengths, in seconds.

    boundaries: starts of neighbouring windows, then the end of the last. In a run that begins at s with length
    l, the window of t starts at s + (t - s) // l * l. So a year of days in a zone is five runs.
    """
    starts: list[int] = []
    lengths: list[int] = []
    for start_s, end_s in pairwise(boundaries):
        if not lengths or lengths[-1] != end_s - start_s:
            starts.append(start_s)
            lengths.append(end_s - start_s)
    return starts, lengths


def join(aggregation: str, a: Part, b: Part) -> Part:
    """Two parts of one key as one: associative and commutative."""
    value, order = _fold(aggregation, a, b)
    return Part(
        value,
        order,
        a.events + b.events,
        min(a.first_s, b.first_s),
        max(a.last_s, b.last_s),
        a.distinct + b.distinct,
        a.members | b.members,
    )


def collect(aggregation: str, found: Iterable[tuple[Key, Part]], into: Parts | None = None) -> Parts:
    """Joins parts by key."""
    parts: Parts = {} if into is None else into
    for key, part in found:
        known = parts.get(key)
        parts[key] = part if known is None else join(aggregation, known, part)
    return parts


def window_start(query: UsageQuery) -> Callable[[int], int]:
    """Of the minute of an event, the start of its window in seconds; 0 without one."""
    if query.window is None:
        return lambda minute: 0
    size, zone = query.window, query.zone
    known: dict[int, int] = {}

    def start_s(minute: int) -> int:
        if minute not in known:
            known[minute] = bounds(size, zone, minute)[0]
        return known[minute]

    return start_s


def edge_reader(query: UsageQuery) -> Callable[[EdgeEvent], tuple[Key, Part] | None]:
    """Measures an event again; None where a filter leaves it out. Raises Broken if it cannot be."""
    plan = Plan([query.meter])
    reader = plan.readers[0]
    allowed = [(reader.names.index(name), frozenset(values)) for name, values in query.filters]
    asked = [reader.names.index(name) for name in query.group_by]
    start_s, aggregation = window_start(query), query.meter.aggregation

    def read(event: EdgeEvent) -> tuple[Key, Part] | None:
        try:
            measured, dimensions = measure_by(plan, event.data.encode())
        except Rejected as error:
            raise Broken(f"meter {query.meter.slug} counted an event that it cannot take: {error}") from error
        value: Any = None if aggregation == "COUNT" else measured
        if any(dimensions[place] not in values for place, values in allowed):
            return None
        minute = minute_s(event.time_ns)
        subject = event.subject if query.by_subject else ""
        key = Key(start_s(minute), tuple(dimensions[place] for place in asked), subject)
        if aggregation == "UNIQUE_COUNT":
            members = frozenset((tally.member_digest(value).hex(),))
            return key, Part(None, "", 1, minute, minute, members=members)
        order = ""
        if aggregation == "LATEST":
            order = tally.order(event.time_ns, event.received_at_ms, event.partition, event.offset)
        return key, Part(value, order, 1, minute, minute)

    return read


def result_rows(query: UsageQuery, parts: Parts) -> list[dict[str, object]]:
    """The answer: a row for each key with events, by start, subject, group.

    An empty range without window and grouping is one row 0 for COUNT and UNIQUE_COUNT, else nothing.
    Raises Rejected `total-too-large` for a total of more than 38 digits.
    """
    if not parts:
        grouped = query.window or query.by_subject or query.group_by
        if grouped or query.meter.aggregation not in _COUNTING:
            return []
        return [_row(query, (query.from_ns, query.to_ns), "", (), None)]
    spans: dict[int, tuple[int, int]] = {}  # windows are few, rows may be many
    found = []
    for key, part in parts.items():
        span = spans.get(key.start_s) or _span(query, key, part)
        if query.window is not None:
            spans[key.start_s] = span
        found.append((span, key.subject, key.dimensions, part))
    found.sort(key=itemgetter(0, 1, 2))
    return [_row(query, *one) for one in found]


def parse_total(text: str) -> int:
    """Decimal text of the store, of up to 38 digits, as atto."""
    whole, _, fraction = text.partition(".")
    scaled = int(whole.lstrip("-") + fraction.ljust(number.DECIMALS, "0"))
    return -scaled if text.startswith("-") else scaled


@lru_cache(4096)
def instant_text(at_ns: int) -> str:
    """RFC 3339 in UTC, with as many digits after the second as it needs."""
    seconds, rest = divmod(at_ns, NS_PER_S)
    text = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"


def _refuse(detail: str) -> NoReturn:
    raise Rejected("bad-query", detail)


def _shown(text: str) -> str:
    return text[:64].encode("utf-8", "backslashreplace").decode()


def _check_texts(label: str, texts: Sequence[str]) -> None:
    if len(texts) > MAX_LIST:
        _refuse(f"{label}: at most {MAX_LIST} are allowed")
    for text in texts:
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            _refuse(f"{label}: half of a surrogate pair is no text")


def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (KeyError, ValueError, OSError):
        _refuse(f"invalid time zone: {_shown(tz)}")


def _fold(aggregation: str, a: Part, b: Part) -> tuple[int | None, str]:
    if a.value is None or b.value is None:
        return (a.value, a.order) if b.value is None else (b.value, b.order)
    if aggregation == "LATEST":
        order, value = max((a.order, a.value), (b.order, b.value))
        return value, order
    if aggregation == "MIN":
        return min(a.value, b.value), ""
    if aggregation == "MAX":
        return max(a.value, b.value), ""
    return a.value + b.value, ""


def _span(query: UsageQuery, key: Key, part: Part) -> tuple[int, int]:
    """Start and end of a row in ns."""
    if query.window is not None:
        start_s, end_s = bounds(query.window, query.zone, key.start_s)
        return start_s * NS_PER_S, end_s * NS_PER_S
    start_ns = part.first_s * NS_PER_S if query.from_ns is None else query.from_ns
    end_ns = (part.last_s + MINUTE_S) * NS_PER_S if query.to_ns is None else query.to_ns
    return start_ns, end_ns


def _row(
    query: UsageQuery,
    span: tuple[int | None, int | None],
    subject: str,
    dimensions: tuple[str, ...],
    part: Part | None,
) -> dict[str, object]:
    start_ns, end_ns = span
    return {
        "meter": query.meter.slug,
        "subject": subject if query.by_subject else None,
        "window": query.window,
        "tz": query.tz,
        "start": None if start_ns is None else instant_text(start_ns),
        "end": None if end_ns is None else instant_text(end_ns),
        "group": dict(zip(query.group_by, dimensions, strict=True)),
        "value": "0" if part is None else _value(query.meter, part),
        "count": 0 if part is None else part.events,
    }


def _value(meter: Meter, part: Part) -> str:
    if meter.aggregation == "COUNT":
        return str(part.events)
    if meter.aggregation == "UNIQUE_COUNT":
        return str(part.distinct + len(part.members))
    value = part.value
    if value is None:
        raise Broken(f"meter {meter.slug} has events but no value")
    if meter.aggregation == "AVG":
        value = number.divide(value, part.events)
    if not -number.TOTAL_LIMIT < value < number.TOTAL_LIMIT:
        raise Rejected(
            "total-too-large", f"the total of meter {meter.slug} has more than 38 digits: ask for less"
        )
    return number.text(value)
