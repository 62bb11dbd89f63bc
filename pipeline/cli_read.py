"""What the API's answers of usage and events become in the commands.

Owns: rows of usage with plain decimal text, events page by page. Does not own: arguments (cli_user), printing
(cli_show).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

PAGE = 100


class _Row(msgspec.Struct, rename="camel"):
    value: Raw  # the digits of a number
    count: int
    window_start: str | None
    window_end: str | None
    subject: str | None
    group_by: dict[str, str]


class _Answer(msgspec.Struct):
    data: list[_Row]


class _Page(msgspec.Struct, rename="camel"):
    items: list[Raw]
    next_cursor: str | None = None


def usage_rows(content: bytes, slug: str, window: str | None, tz: str) -> list[dict[str, Any]]:
    """The rows that `tallymark usage` prints, from the API's JSON; `value` is plain decimal text."""
    return [
        {
            "meter": slug,
            "subject": row.subject,
            "window": window,
            "tz": tz,
            "start": row.window_start,
            "end": row.window_end,
            "group": row.group_by,
            "value": bytes(row.value).decode(),
            "count": row.count,
        }
        for row in msgspec.json.decode(content, type=_Answer).data
    ]


def event_filter(texts: dict[str, str | None], from_ns: int | None, to_ns: int | None) -> str:
    """The filter of `/api/v2/events`: texts that are equal, a time in [from, to)."""
    from pipeline.core.metering.usage_query import instant_text

    said: dict[str, Any] = {name: {"$eq": text} for name, text in texts.items() if text is not None}
    sides = (("$gte", from_ns), ("$lt", to_ns))
    bounds = [{op: instant_text(at_ns)} for op, at_ns in sides if at_ns is not None]
    if bounds:
        said["time"] = {"$and": bounds}
    return json.dumps(said)


def event_rows(ask: Callable[[list[tuple[str, Any]]], bytes], filter_: str, limit: int) -> bytes:
    """At most `limit` events as one JSON array, as many pages as that takes. ask: gives the page of parameters."""
    rows: list[Raw] = []
    cursor: str | None = None
    while len(rows) < limit:
        size = min(PAGE, limit - len(rows))
        params: list[tuple[str, Any]] = [("filter", filter_), ("limit", size)]
        page = msgspec.json.decode(ask([*params, ("cursor", cursor)] if cursor else params), type=_Page)
        rows += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return msgspec.json.encode(rows)
