"""Usage queries: what may be asked, and how a range is cut.

Owns: rules and texts of a query, the cut into whole minutes and edges. Does not own: how an answer is made of parts
(usage_result), where parts come from (stores.clickhouse.usage), windows and zones (values.time_window).
A range of whole minutes is summed from stored windows; what is left of its first and last minute, the edges,
is measured again from the events themselves. Source of rules and texts: OpenMeter's meter query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, NoReturn
from zoneinfo import ZoneInfo

from pipeline.core.metering.meter import Meter
from pipeline.core.values.filters import Filter, filter_string
from pipeline.core.values.time_window import MINUTE_NS, MINUTE_S, SIZES, Size, minute_s
from pipeline.core.values.zone import named
from pipeline.errors import Rejected

MAX_LIST = 100  # subjects, dimensions to group by, values of one filter
END_S = 4_294_967_280  # the last whole minute that a stored DateTime can name
NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CUSTOMER = "customer_id"  # to group by, where customers are asked for
Filters = Mapping[str, Sequence[str]]
Customers = Mapping[str, Sequence[str]]  # a customer's id -> its subjects


@dataclass(frozen=True)
class UsageQuery:
    """A checked query. Instants are ns since 1970, [from, to); None: open.

    only: the subjects to look at; None: all, empty: none, so the answer is empty. customer_of: customer by subject,
    where customers are asked for; then every row is about one customer. group_by: dimensions only. dimensions: the
    canonical text of all dimensions of the one window that is asked for; None: any.
    """

    meter: Meter
    from_ns: int | None
    to_ns: int | None
    window: Size | None
    tz: str
    zone: ZoneInfo
    only: tuple[str, ...] | None
    by_subject: bool
    customer_of: Mapping[str, str] | None
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, Filter], ...]
    dimensions: str | None = None

    @property
    def by_customer(self) -> bool:
        """Whether each row is about one customer."""
        return self.customer_of is not None


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
    customers: Customers | None = None,
    group_by: Sequence[str] = (),
    filters: Filters | None = None,
    advanced: Mapping[str, object] | None = None,
) -> UsageQuery:
    """Checks a query. Raises Rejected `bad-query` with OpenMeter's text where it has one.

    filters: any of the values of a dimension. advanced: a FilterString in JSON form for a dimension; not both.
    """
    check_range(from_ns, to_ns)
    if window is not None and window not in SIZES:
        _refuse(f"invalid window: {_shown(window)}, it must be one of {' '.join(SIZES)}")
    _check_texts("subjects", subjects)
    _check_texts("customers", list(customers or ()))
    dimensions = _dimensions(meter, group_by, customers is not None)
    _check_texts("group by", group_by)
    customer_of = None if customers is None else _customer_of(customers)
    only = tuple(dict.fromkeys(subjects)) if subjects else None
    if customer_of is not None:
        only = tuple(customer_of) if only is None else tuple(one for one in only if one in customer_of)
    return UsageQuery(
        meter=meter,
        from_ns=from_ns,
        to_ns=to_ns,
        window=window,
        tz=tz,
        zone=_zone(tz),
        only=only,
        by_subject=bool(subjects) or "subject" in group_by,
        customer_of=customer_of,
        group_by=dimensions,
        filters=_filters(meter, filters or {}, advanced or {}),
    )


def check_range(from_ns: int | None, to_ns: int | None) -> None:
    """Raises Rejected `bad-query` unless from is before to."""
    if from_ns is not None and to_ns is not None:
        if from_ns == to_ns:
            _refuse("from and to cannot be equal")
        if from_ns > to_ns:
            _refuse("from must be before to")


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


@lru_cache(4096)
def instant_text(at_ns: int) -> str:
    """RFC 3339 in UTC, with as many digits after the second as it needs."""
    seconds, rest = divmod(at_ns, NS_PER_S)
    text = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"


def _dimensions(meter: Meter, group_by: Sequence[str], by_customer: bool) -> tuple[str, ...]:
    """The meter's own dimensions among `group_by`; `customer_id` is one of them only if the meter has it."""
    found = []
    for name in dict.fromkeys(group_by):
        if name == "subject" or (name == CUSTOMER and by_customer):
            continue
        if name == CUSTOMER and name not in meter.group_by:
            _refuse("customer filter is required with customer_id group by")
        if name not in meter.group_by:
            _refuse(f"invalid group by: {_shown(name)}")
        found.append(name)
    return tuple(found)


def _customer_of(customers: Customers) -> dict[str, str]:
    return {subject: customer for customer, subjects in customers.items() for subject in subjects}


def _filters(
    meter: Meter, filters: Filters, advanced: Mapping[str, object]
) -> tuple[tuple[str, Filter], ...]:
    if filters and advanced:
        _refuse("advanced meter group by filters and filter group by cannot be used together")
    found = []
    for name in (*filters, *advanced):
        if name not in meter.group_by:
            _refuse(f"invalid group by filter: {_shown(name)}")
    for name, values in filters.items():
        if not values:
            _refuse(f"the filter {name} needs a value")
        _check_texts(f"values of filter {name}", values)
        found.append((name, Filter("$in", tuple(dict.fromkeys(values)))))
    found += [(name, filter_string(f"the filter {name}", body)) for name, body in advanced.items()]
    return tuple(found)


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
        return ZoneInfo(named(tz))
    except Rejected as refusal:
        _refuse(refusal.detail)
