"""Records as rows of ClickHouse: lists by column, for the tables of schemas/clickhouse.

Owns: which field becomes which column, canonical dimensions, the text of a rejected record.
Does not own: the tables (stores.clickhouse.client) or when rows are written (the sink).
Apart from `stored_at_ms`, a row depends on its record alone, so a replay writes the same row. The rows of one call have
different sort keys, so that their number is the number of rows stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.core.values.json_value import reader_of
from pipeline.errors import Broken, Rejected
from pipeline.records import Event, Refused, Settled, StripeUsage, Window

ColumnLists = dict[str, list[Any]]
RejectHeaders = Sequence[tuple[str, bytes | None]]
_Place = tuple[str, str, int, int]  # namespace, input topic, partition, offset
_Dimensions = tuple[str, list[str], list[str]]  # as one text, names, values

LATEST_S = 2**32 - 1  # largest DateTime; the smallest is 0
MAX_SHOWN = 1024  # limit in characters of an attribute of a rejected record
_NS_PER_S = 1_000_000_000

_EVENT_COLUMNS = (
    "namespace", "source", "id", "type", "subject", "time", "time_ns", "received_at_ms", "stored_at_ms",
    "data", "raw", "fate", "reason", "detail", "meters",
    "input_topic", "input_partition", "input_offset", "revision", "decided", "fate_before", "backfilled",
    "backfilled_rules", "rules", "refused_ids", "refused_meters", "refused_reasons", "refused_details",
    "position", "backfilled_positions",
)  # fmt: skip
_WINDOW_COLUMNS = (
    "namespace", "meter", "meter_id", "subject", "dimensions", "dimension_names", "dimension_values", "start",
    "part", "value", "count", "latest_order", "revision", "received_at_ms", "stored_at_ms",
)  # fmt: skip
_UNIQUE_COLUMNS = (
    "namespace", "meter_id", "subject", "dimensions", "dimension_names", "dimension_values", "start",
    "member",
)  # fmt: skip
_STRIPE_COLUMNS = (
    "namespace", "app", "mapping", "meter", "customer", "dimensions", "start", "end_at", "exact", "wanted",
    "confirmed", "unsendable", "pending", "cause", "message", "requests", "revision", "at_ms", "stored_at_ms",
)  # fmt: skip
_MARK_COLUMNS = ("mark", "topic", "partition")
_ATTRIBUTES = ("id", "source", "type", "subject")
_NOTHING_REFUSED: tuple[list[Any], ...] = ([], [], [], [])
_POSITION = ("tallymark_partition", "tallymark_offset", "tallymark_received_at_ms")

_OURS = {*_POSITION, "tallymark_namespace", "tallymark_topic", "tallymark_reason", "tallymark_detail"}
_WHOLE = re.compile(rb"-?\d{1,18}").fullmatch

_event = msgspec.json.Decoder(Event).decode
_members = reader_of(dict[str, object])


def settled_columns(settled: Iterable[Settled], stored_at_ms: int) -> ColumnLists:
    """Rows of `events` for events with their fates: the highest revision of each event."""
    newest: dict[_Place, tuple[Event, Settled]] = {}
    for one in settled:
        event = one.event if isinstance(one.event, Event) else _event(one.event)
        place = (event.namespace, event.input_topic, event.partition, event.offset)
        known = newest.get(place)
        if known is None or known[1].revision <= one.revision:
            newest[place] = (event, one)
    rows = []
    for event, one in newest.values():
        back, refused = one.backfill, one.refused
        rows.append(
            (
                event.namespace,
                event.source,
                event.id,
                event.type,
                event.subject,
                min(max(event.time_ns // _NS_PER_S, 0), LATEST_S),
                event.time_ns,
                event.received_at_ms,
                stored_at_ms,
                str(event.data, "utf-8"),
                "",
                one.fate,
                one.reason,
                "",
                one.meters,
                event.input_topic,
                event.partition,
                event.offset,
                one.revision,
                *(
                    (one.revision, "", [], [])
                    if back is None
                    else (back.decided, back.before, back.meters, back.rules)
                ),
                one.rules,
                *(_refused(refused) if refused else _NOTHING_REFUSED),
                one.position,
                [] if back is None else back.positions,
            )
        )
    return _columns(_EVENT_COLUMNS, rows)


def rejected_columns(records: Iterable[tuple[bytes | None, RejectHeaders]], stored_at_ms: int) -> ColumnLists:
    """Rows of `events` for records of `rejected`: (value, headers), `tallymark_*` headers last; one row per position.

    `raw` is the value as text, with bytes that are not UTF-8 written as `\\xff`; `time` is the broker's timestamp.
    Attributes are those that can be read from the record, else empty. Raises Broken if a header of ours is missing.
    """
    rows = (_rejected(value, headers, stored_at_ms) for value, headers in records)
    return _columns(_EVENT_COLUMNS, list({(row[0], *row[15:18]): row for row in rows}.values()))


def window_columns(windows: Iterable[Window], stored_at_ms: int) -> ColumnLists:
    """Rows of `windows`: the highest revision of each window."""
    newest: dict[tuple[str, int, str, str, int, int], tuple[Window, _Dimensions]] = {}
    texts: dict[tuple[tuple[str, str], ...], _Dimensions] = {}  # many windows have the same dimensions
    for window in windows:
        items = tuple(window.dimensions.items())
        if (text := texts.get(items)) is None:
            text = texts[items] = (canonical(window.dimensions), *_dimensions(window))
        key = (window.namespace, window.meter_id, window.subject, text[0], window.start_s, window.part)
        known = newest.get(key)
        if known is None or known[0].revision <= window.revision:
            newest[key] = (window, text)
    rows = [
        (
            window.namespace,
            window.meter,
            window.meter_id,
            window.subject,
            *text,
            window.start_s,
            window.part,
            window.value,
            window.count,
            window.order,
            window.revision,
            window.received_at_ms,
            stored_at_ms,
        )
        for window, text in newest.values()
    ]
    return _columns(_WINDOW_COLUMNS, rows)


def unique_columns(windows: Iterable[Window]) -> ColumnLists:
    """Rows of `uniques`: one per member of a UNIQUE_COUNT window, in any revision and part."""
    rows: dict[tuple[str, int, str, str, int, str], tuple[Any, ...]] = {}
    for window in windows:
        if window.members:
            names, values = _dimensions(window)
            dimensions = canonical(window.dimensions)
            start_s = window.start_s
            fixed = (window.namespace, window.meter_id, window.subject, dimensions, names, values, start_s)
            key = (window.namespace, window.meter_id, window.subject, dimensions, start_s)
            for member in window.members:
                rows[(*key, member)] = (*fixed, member)
    return _columns(_UNIQUE_COLUMNS, list(rows.values()))


def stripe_columns(usage: Iterable[StripeUsage], stored_at_ms: int) -> ColumnLists:
    """Rows of `stripe_usage`: the highest revision of each window that is sent to Stripe."""
    newest: dict[tuple[str, str, str, int, str], StripeUsage] = {}
    for one in usage:
        key = (one.namespace, one.mapping, one.customer, one.start_s, canonical(one.dimensions))
        known = newest.get(key)
        if known is None or known.revision <= one.revision:
            newest[key] = one
    rows = [
        (
            one.namespace,
            one.app,
            one.mapping,
            one.meter,
            one.customer,
            key[4],
            one.start_s,
            one.end_s,
            one.exact,
            str(one.wanted),
            str(one.confirmed),
            str(one.unsendable),
            str(one.pending),
            one.cause,
            one.message,
            one.requests,
            one.revision,
            one.at_ms,
            stored_at_ms,
        )
        for key, one in newest.items()
    ]
    return _columns(_STRIPE_COLUMNS, rows)


def mark_columns(marks: Iterable[tuple[str, str, int]]) -> ColumnLists:
    """Rows of `marks`, which record barriers: (mark, topic, partition) without repeats."""
    return _columns(_MARK_COLUMNS, list(dict.fromkeys(marks)))


def canonical(dimensions: Mapping[str, str]) -> str:
    """Dimensions as JSON text, sorted by name: equal texts for equal dimensions only."""
    return _canonical(dimensions).decode() if dimensions else "{}"


_canonical = msgspec.json.Encoder(order="sorted").encode


def _dimensions(window: Window) -> tuple[list[str], list[str]]:
    names = sorted(window.dimensions)
    return names, [window.dimensions[name] for name in names]


def _columns(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> ColumnLists:
    if not rows:
        return {name: [] for name in names}
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _rejected(value: bytes | None, headers: RejectHeaders, stored_at_ms: int) -> tuple[Any, ...]:
    # A sender may use the same header names; ours come last and win.
    texts = {name: (content or b"").decode("utf-8", "backslashreplace") for name, content in headers}
    try:
        partition, offset, received_at_ms = (int(texts[name]) for name in _POSITION)
        namespace, topic = texts["tallymark_namespace"], texts["tallymark_topic"]
        reason, detail = texts["tallymark_reason"], texts["tallymark_detail"]
    except (KeyError, ValueError) as error:
        raise Broken(f"a record of `rejected` has a missing or invalid header: {error}") from error
    received_at_ms = max(received_at_ms, 0)
    attributes = _attributes(value, texts)
    return (
        namespace,
        attributes["source"],
        attributes["id"],
        attributes["type"],
        attributes["subject"],
        min(received_at_ms // 1000, LATEST_S),
        received_at_ms * 1_000_000,
        received_at_ms,
        stored_at_ms,
        "",
        (value or b"").decode("utf-8", "backslashreplace"),
        "rejected",
        reason,
        detail,
        [],
        topic,
        partition,
        offset,
        0,
        0,
        "",
        [],
        [],
        0,
        *_NOTHING_REFUSED,
        0,
        [],
    )


def is_rejected(headers: RejectHeaders) -> bool:
    """Whether a record of `rejected` has the headers that ingest adds."""
    last = dict(headers)  # ours come last
    return last.keys() >= _OURS and all(_WHOLE(last[name] or b"") for name in _POSITION)


def _refused(refused: Sequence[Refused]) -> tuple[list[Any], ...]:
    """Ids, slugs, reasons and details of the refusals."""
    return tuple(map(list, zip(*map(msgspec.structs.astuple, refused), strict=True)))


def _attributes(value: bytes | None, headers: Mapping[str, str]) -> dict[str, str]:
    try:
        members = _members(value)
    except Rejected:
        members = {}
    texts = {name: headers.get("ce_" + name, members.get(name)) for name in _ATTRIBUTES}
    return {name: text[:MAX_SHOWN] if isinstance(text, str) else "" for name, text in texts.items()}
