"""When phases and items are in force, and the items as billing takes them."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.rating.line_periods import horizon_of, line_periods
from pipeline.core.subscriptions.active_span import ActiveSpan
from pipeline.core.subscriptions.cancel import cancel
from pipeline.core.subscriptions.timeline import billed_items, billing_recurrence, phase_spans, placed_items
from tests.core.subscriptions.sold import at, calls, day, phase, seats, subscribed


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (ActiveSpan(0, 10), ActiveSpan(5, None), ActiveSpan(5, 10)),
        (ActiveSpan(0, None), ActiveSpan(5, None), ActiveSpan(5, None)),
        (ActiveSpan(0, 5), ActiveSpan(5, 9), None),
        (ActiveSpan(0, 9), ActiveSpan(3, 4), ActiveSpan(3, 4)),
        (ActiveSpan(3, 3), ActiveSpan(0, 9), None),
    ],
)
def test_cut(one: ActiveSpan, other: ActiveSpan, both: ActiveSpan | None) -> None:
    assert one.cut(other) == other.cut(one) == both


def test_the_end_of_the_subscription_cuts_what_lies_in_it() -> None:
    running = subscribed("2026-01-31", phase("trial", "P1M", calls()), phase("main", None, seats()))
    ended = cancel(running, "immediate", at("2026-02-10"))
    assert [(one.key, day(span.end_s)) for one, span in phase_spans(ended)] == [("trial", "2026-02-10")]
    assert [(one.item.card.key, day(one.span.end_s)) for one in placed_items(ended)] == [
        ("calls", "2026-02-10")
    ]
    at_start = cancel(running, "immediate", at("2026-01-31"))
    assert [*phase_spans(at_start), *placed_items(at_start)] == []


def test_items_as_billing_takes_them() -> None:
    cards = (
        seats(),
        calls(),
        msgspec.structs.replace(seats("9", "in_arrears", None), key="setup"),
        msgspec.structs.replace(seats(), key="free", price=None),
    )
    running = subscribed("2026-01-31", phase("main", "P2M", *cards), phase("later", None))
    found = {one.key: one for one in billed_items(running)}
    assert {key: (one.in_advance, one.cadence is None) for key, one in found.items()} == {
        "seats": (True, False), "calls": (False, False), "setup": (False, True),
    }  # fmt: skip
    one = found["seats"]
    assert (one.subscription, one.phase, one.version) == ("sub", "main", 0)
    assert (day(one.start_s), day(one.end_s)) == (day(one.phase_start_s), day(one.phase_end_s))
    assert (day(one.start_s), day(one.end_s)) == ("2026-01-31", "2026-03-31")


@pytest.mark.parametrize(
    ("zone", "anchor", "services"),
    [
        ("Z", None, ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]),
        ("Z", "2027-01-15", ["2026-01-31", "2026-02-15", "2026-03-15", "2026-04-15"]),
        ("America/New_York", "2025-12-31T05:00:00Z",
         ["2026-01-31", "2026-01-31T05:00", "2026-02-28T05:00", "2026-03-31T04:00"]),
    ],
)  # fmt: skip
def test_lines_follow_anchor_and_zone(zone: str, anchor: str | None, services: list[str]) -> None:
    running = subscribed("2026-01-31", phase("main", None, seats()), anchor=anchor, zone=zone)
    billing = billing_recurrence(running)
    [item] = billed_items(running)
    lines = list(line_periods(item, billing, horizon_of(billing, at("2026-04-01"))))
    assert [day(line.service.start_s) for line in lines][:4] == services
