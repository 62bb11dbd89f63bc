"""The three instants of an invoice, to the second."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.core.invoices.times import after_s, collection_at_s, draft_until_s, due_at_s, is_overdue
from pipeline.core.values.calendar import Interval, parse


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("start", "interval", "zone", "end"),
    [
        ("2026-01-31T10:20:30", "P1M", "UTC", "2026-02-28T10:20:30"),
        ("2026-01-31T10:20:30", "P30D", "UTC", "2026-03-02T10:20:30"),
        ("2026-03-28T10:20:30", "P1D", "Europe/Berlin", "2026-03-29T09:20:30"),
        ("2026-03-28T10:20:30", "PT24H", "Europe/Berlin", "2026-03-29T10:20:30"),
        ("2026-03-28T10:20:59", "PT0S", "Europe/Berlin", "2026-03-28T10:20:59"),
    ],
)
def test_a_step_keeps_its_seconds(start: str, interval: str, zone: str, end: str) -> None:
    assert after_s(at(start), parse(interval, 0), zone) == at(end)


def test_collection_waits_for_the_latest_metered_line() -> None:
    hour = Interval(0, 3600)
    assert collection_at_s(100, [], hour, "UTC") == 100
    assert collection_at_s(100, [50, 70, 60], hour, "UTC") == 3670
    assert collection_at_s(10_000, [50], hour, "UTC") == 10_000


def test_a_draft_lasts_from_its_collection() -> None:
    day = Interval(0, 0, 1)
    assert draft_until_s(100, 500, True, day, "UTC") == 86_900
    assert draft_until_s(700, 500, True, Interval(0, 0), "UTC") == 700
    assert draft_until_s(100, 500, False, day, "UTC") is None


def test_payment_is_due_from_the_draft_or_from_an_approval() -> None:
    month = Interval(1, 0)
    assert due_at_s(None, None, month, "UTC") is None
    assert due_at_s(at("2026-01-31T00:00:01"), None, month, "UTC") == at("2026-02-28T00:00:01")
    assert due_at_s(at("2026-01-31T00:00:01"), 61, Interval(0, 60), "UTC") == 121


def test_overdue_begins_at_its_instant() -> None:
    assert [is_overdue(10, now_s) for now_s in (9, 10, 11)] == [False, True, True]
    assert not is_overdue(None, 10)
