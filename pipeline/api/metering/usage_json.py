"""The forms of a usage answer: JSON and CSV.

Owns: members, columns, how a value and a cell are written. Does not own: the rows (core.metering.usage_result), which
form a request accepts (http.accept). A value is written with all its digits, in JSON as a number: a reader of decimals
loses nothing, one of doubles rounds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Response
from msgspec import Raw

from pipeline.core.metering.usage_query import CUSTOMER, UsageQuery, instant_text

UsageRow = Mapping[str, Any]
JSON = "application/json"
CSV = "text/csv"
FORMS = (JSON, CSV)
AT_ONCE = 1_000  # rows that are encoded in one go
# What a spreadsheet takes for a formula, or for a way into one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def json_answer(query: UsageQuery, rows: Sequence[UsageRow]) -> Response:
    """`{from?, to?, windowSize?, windowTimeZone?, data: [...]}`; customerId only where customers were asked for."""
    body: dict[str, Any] = {}
    for name, at_ns in (("from", query.from_ns), ("to", query.to_ns)):
        if at_ns is not None:
            body[name] = instant_text(at_ns)
    if query.window is not None:
        body |= {"windowSize": query.window, "windowTimeZone": query.tz}
    head = msgspec.json.encode(body)[:-1]
    data = b",".join(_slices(rows))
    return Response(head + (b',"data":[' if body else b'"data":[') + data + b"]}", media_type=JSON)


def csv_answer(
    query: UsageQuery, rows: Sequence[UsageRow], names: Mapping[str, str], safe: bool = False
) -> Response:
    """The rows as a file. names: display name by subject, for the column subject_display_name if there are any."""
    headers = {"content-disposition": f'attachment; filename="{query.meter.slug}.csv"'}
    return Response(csv_text(query, rows, names, safe), media_type=CSV, headers=headers)


def csv_text(
    query: UsageQuery, rows: Sequence[UsageRow], names: Mapping[str, str], safe: bool = False
) -> str:
    """RFC 4180: window_start, window_end, subject, subject_display_name, dimensions, customer_id, value.

    Texts stand as they are. safe: one that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    named = query.by_subject and bool(names)
    columns = ["subject"] * query.by_subject + ["subject_display_name"] * named + list(query.group_by)
    columns += [CUSTOMER] * query.by_customer
    writer.writerow(["window_start", "window_end", *columns, "value"])
    for row in rows:
        texts = [row["subject"]] * query.by_subject + [names.get(row["subject"] or "", "")] * named
        texts += [row["group"][name] for name in query.group_by] + [row["customer"]] * query.by_customer
        cells = map(_cell, texts) if safe else texts
        writer.writerow([row["start"], row["end"], *cells, row["value"]])
    return out.getvalue()


def as_json(body: object) -> Response:
    """JSON in which msgspec.Raw stays the text that it is."""
    return Response(msgspec.json.encode(body), media_type="application/json")


def _slices(rows: Sequence[UsageRow]) -> Iterator[bytes]:
    """The rows as JSON, without brackets, some at a time: encoding holds up every other thread."""
    for first in range(0, len(rows), AT_ONCE):
        yield msgspec.json.encode([_row(row) for row in rows[first : first + AT_ONCE]])[1:-1]


def _row(row: UsageRow) -> dict[str, Any]:
    shown = {
        "value": Raw(row["value"].encode()),
        "count": row["count"],
        "windowStart": row["start"],
        "windowEnd": row["end"],
        "subject": row["subject"],
        "groupBy": row["group"],
    }
    return shown if row["customer"] is None else shown | {"customerId": row["customer"]}


def _cell(text: str) -> str:
    return "'" + text if text.startswith(_FORMULA) else text
