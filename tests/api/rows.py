"""Rows in ClickHouse as the sink writes them."""

from __future__ import annotations

import json

import msgspec

from pipeline.records import Event, Settled, Window
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.rows import settled_columns, window_columns

NOON_S = 1_767_268_800  # 2026-01-01T12:00:00Z


def write(store: ClickHouse, events: list[tuple[str, int, str]], lost: int = 0) -> None:
    """Events (subject, minute, model) of 1.5 tokens each, counted by meter 1; `lost` windows are left out."""
    settled, windows = [], dict[tuple[str, int, str], Window]()
    for offset, (subject, minute, model) in enumerate(events):
        start_s = NOON_S + minute * 60
        data = msgspec.Raw(json.dumps({"tokens": "1.5", "model": model}).encode())
        at_ns = start_s * 1_000_000_000 + 5
        event = Event("default", "s", str(offset), "prompt", subject, at_ns, 1, "events", 0, offset, data)
        settled.append(Settled(event, "counted", "", ["tokens"], 1))
        count = 1 + (windows[key].count if (key := (subject, start_s, model)) in windows else 0)
        value = str(3 * count / 2).removesuffix(".0")
        windows[key] = Window(
            "default", "tokens", 1, subject, {"model": model}, start_s, value, count, "1.5", "", [], offset, 1
        )
    store.insert("events", settled_columns(settled, 1))
    kept = list(windows.values())
    store.insert("windows", window_columns(kept[lost:], 1))
