"""Lines that are billed in parts while their period runs.

Owns: which lines may be cut, cutting one, what the parts of a line know of each other. Does not own: which lines are
cut (gathering), what a part costs (rating): it is rated by the cumulative usage of its group, so the parts bill what
the whole would have.

The cut is on a whole minute, since usage is kept by the minute. The first part gets an id of its own; the rest keeps
that of the line and stays on the gathering invoice. A part of a part belongs to the same group.
Source: openmeterio/openmeter at 7e57a394, `openmeter/billing/service/gatheringinvoicependinglines.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from pipeline.core.catalog.price import TieredPrice
from pipeline.core.invoices.line import InvoiceLine, LinePeriod, LineSplit, line_id
from pipeline.core.values import timestamp
from pipeline.core.values.calendar import floor_minute
from pipeline.errors import Broken

# Aggregations whose value up to an instant is a part of the value of the period.
CUMULATIVE: Final = frozenset({"SUM", "COUNT", "MAX", "UNIQUE_COUNT"})


class SplitLine(NamedTuple):
    """first: [start, cut), to be invoiced. rest: [cut, end), with the id of the line."""

    first: InvoiceLine
    rest: InvoiceLine


def cut_s(at_s: int) -> int:
    """The instant at which a line is cut that is asked for at `at_s`."""
    return floor_minute(at_s)


def can_split(line: InvoiceLine, aggregation: str | None) -> bool:
    """Whether a line may be billed in parts.

    Args:
        aggregation: of its meter; None where it has none.
    """
    price = line.rate_card.price
    volume = isinstance(price, TieredPrice) and price.mode == "volume"
    return line.is_metered and aggregation in CUMULATIVE and not volume


def split(line: InvoiceLine, at_s: int, now_ms: int) -> SplitLine:
    """Cut a line.

    Args:
        at_s: a whole minute inside its period.
        now_ms: the time of the record.

    Raises:
        Broken: the instant is not inside the period.
    """
    if not line.period.start_s < at_s < line.period.end_s:
        raise Broken(f"The line {line.id} cannot be cut at {at_s}, which is not inside of its period.")
    at, now = timestamp.text_of(at_s * 1000), timestamp.text_of(now_ms)
    group = line.split or LineSplit(group=line.id, period=line.period)
    first = msgspec.structs.replace(
        line,
        id=line_id(timestamp.ms_of(line.created_at), f"{group.group}/until/{at_s}"),
        period=LinePeriod(line.period.start, at),
        invoice_at=at,
        split=group,
        created_at=now,
        updated_at=now,
    )
    rest = msgspec.structs.replace(line, period=LinePeriod(at, line.period.end), split=group, updated_at=now)
    return SplitLine(first, rest)


def is_first(line: InvoiceLine) -> bool:
    """Whether nothing of the period was billed before: what is paid in advance and a tier's flat price belong here."""
    return line.split is None or line.period.start_s == line.split.period.start_s


def is_last(line: InvoiceLine) -> bool:
    """Whether the period ends with it: the minimum and what is paid in arrears belong here."""
    return line.split is None or line.period.end_s == line.split.period.end_s


def parts_before(line: InvoiceLine, lines: Iterable[InvoiceLine]) -> list[InvoiceLine]:
    """The earlier parts of the same line, in order. A part that was deleted bills nothing and is left out.

    Args:
        lines: of the customer, on any invoice.
    """
    if line.split is None:
        return []
    earlier = [
        one
        for one in lines
        if one.split is not None
        and one.split.group == line.split.group
        and one.deleted_at is None
        and one.period.end_s <= line.period.start_s
    ]
    return sorted(earlier, key=lambda one: one.period.start_s)
