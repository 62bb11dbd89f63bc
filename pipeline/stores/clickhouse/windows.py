"""Stored windows of a meter and some subjects, as the records that aggregate wrote.

Owns: the SQL. Does not own: seeding balances from them (agents.alert_seeding), usage queries (stores.clickhouse.usage).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from pipeline.core.metering.usage_result import parse_total
from pipeline.core.values import number
from pipeline.records import Window
from pipeline.stores.clickhouse.client import ClickHouse, Parameter

PAGE_ROWS = 20_000

_KEY = "start, subject, dimensions, part"
_SCOPE = (
    " WHERE namespace = {namespace:String} AND meter_id = {meter_id:UInt64} AND has({subjects:Array(String)}, subject)"
    " AND start >= toDateTime({from_s:UInt32}, 'UTC') AND start < toDateTime({to_s:UInt32}, 'UTC')"
)
_WINDOWS = (
    "SELECT meter, subject, dimensions, toUInt32(start), part, toString(value), count, latest_order,"
    " revision, received_at_ms"
    " FROM windows FINAL" + _SCOPE + " ORDER BY " + _KEY + " LIMIT {limit:UInt32}"
)
_UNIQUES = "SELECT subject, dimensions, toUInt32(start), member FROM uniques FINAL" + _SCOPE
_dimensions = msgspec.json.Decoder(dict[str, str]).decode


def stored_windows(
    store: ClickHouse,
    namespace: str,
    meter_id: int,
    subjects: Sequence[str],
    from_s: int,
    to_s: int,
    page_rows: int = PAGE_ROWS,
) -> Iterator[list[Window]]:
    """All windows of the meter with a minute in [from_s, to_s), in pages, oldest first. Raises Unavailable.

    `change` is the whole value. A page ends between two minutes, so that the next one can start there.
    """
    while from_s < to_s:
        scope: dict[str, Parameter] = {
            "namespace": namespace,
            "meter_id": meter_id,
            "subjects": list(subjects),
            "from_s": from_s,
            "to_s": to_s,
        }
        rows = store.query(_WINDOWS, {**scope, "limit": page_rows + 1})
        if not rows:
            return
        whole = len(rows) <= page_rows
        end_s = to_s if whole else int(rows[-1][3])
        if end_s == from_s:  # one minute has more rows than a page
            end_s = from_s + 60
            rows = store.query(_WINDOWS, {**scope, "to_s": end_s, "limit": 2**31})
        members = _members(store, {**scope, "to_s": end_s})
        page = [_window(namespace, meter_id, row, members) for row in rows if int(row[3]) < end_s]
        yield page
        from_s = end_s


def _members(store: ClickHouse, scope: dict[str, Parameter]) -> dict[tuple[str, str, int], list[str]]:
    found: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)
    for subject, dimensions, start_s, member in store.query(_UNIQUES, scope):
        found[subject, dimensions, int(start_s)].append(member)
    return found


def _window(
    namespace: str, meter_id: int, row: Sequence[object], members: dict[tuple[str, str, int], list[str]]
) -> Window:
    meter, subject, dimensions, start_s, part, value, count, order, revision, received_at_ms = row
    text = number.text(parse_total(str(value)))
    return Window(
        str(namespace),
        str(meter),
        meter_id,
        str(subject),
        _dimensions(str(dimensions)),
        int(str(start_s)),
        text,
        int(str(count)),
        text,
        str(order),
        members.get((str(subject), str(dimensions), int(str(start_s))), []),
        int(str(revision)),
        int(str(received_at_ms)),
        int(str(part)),
    )
