"""Which lines an invoice takes: by the clock, with and without an alignment, and when a client asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invoices.gathering import (
    Taken,
    collect,
    collected_s,
    invoice_now,
    is_billable,
    next_collection_s,
)
from pipeline.core.invoices.line import InvoiceLine, LineCorrects
from pipeline.core.invoices.workflow import AlignmentPeriod, AnchoredAlignment, SubscriptionAlignment
from pipeline.errors import Rejected
from tests.core.invoices.invoices import AT, HOUR_S, START_S, flat, line, period, text

DAILY = AnchoredAlignment(AlignmentPeriod("P1D", text(START_S + 17)))
DAY_S = 86_400
USAGE = {"tokens": "SUM"}
MIDDLE_S = START_S + 5 * HOUR_S


def now(lines: list[InvoiceLine], at_s: int, progressive: bool = True, **changed: object) -> Taken:
    return invoice_now(lines, at_s, at_s * 1000, progressive, USAGE, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("due_s", "tick_s"),
    [(17, 17), (18, DAY_S + 17), (16, 17), (DAY_S, DAY_S + 17), (DAY_S + 17, DAY_S + 17), (-DAY_S + 17, -DAY_S + 17)],
)  # fmt: skip
def test_an_aligned_line_waits_for_the_next_tick(due_s: int, tick_s: int) -> None:
    due = line(invoice_at=text(START_S + due_s))
    assert collected_s(due, DAILY, "UTC") == START_S + tick_s
    assert collected_s(due, SubscriptionAlignment(), "UTC") == START_S + due_s


def test_ticks_are_of_the_calendar_of_the_zone() -> None:
    monthly = AnchoredAlignment(AlignmentPeriod("P1M", "2026-01-30T23:00:05.000Z"))
    due = line(invoice_at="2026-03-02T00:00:00.000Z")
    assert text(collected_s(due, monthly, "Europe/Berlin")) == "2026-03-30T22:00:05.000Z"
    assert text(collected_s(due, monthly, "UTC")) == "2026-03-30T23:00:05.000Z"


def test_the_clock_collects_what_is_due_and_nothing_twice() -> None:
    lines = [
        line("a", invoice_at=text(START_S)),
        line("b", invoice_at=text(START_S + 60)),
        flat("c", deleted_at=AT),
    ]
    assert next_collection_s(lines, SubscriptionAlignment(), "UTC") == START_S
    taken, kept = collect(lines, SubscriptionAlignment(), "UTC", START_S + 59)
    assert ([one.name for one in taken], [one.name for one in kept]) == (["a"], ["b", "c"])
    assert collect(kept, SubscriptionAlignment(), "UTC", START_S + 59).taken == ()
    assert collect(lines, DAILY, "UTC", START_S + 59).taken == (lines[0],)
    assert next_collection_s(kept[1:], SubscriptionAlignment(), "UTC") is None


def test_due_lines_are_taken_whole() -> None:
    lines = [line("a"), flat("b", invoice_at=text(MIDDLE_S)), flat("c", invoice_at=text(MIDDLE_S + 1))]
    taken, kept = now(lines, MIDDLE_S, progressive=False)
    assert taken == (lines[1],)
    assert kept == (lines[0], lines[2])


def test_a_running_line_is_cut() -> None:
    (first,), (rest,) = now([line()], MIDDLE_S + 59)
    assert (first.period, rest.period) == (period(START_S, MIDDLE_S), period(MIDDLE_S))
    assert now([rest], MIDDLE_S + 60 * 7).taken[0].period == period(MIDDLE_S, MIDDLE_S + 60 * 7)
    with pytest.raises(Rejected):
        now([rest], MIDDLE_S + 59)


@pytest.mark.parametrize("at_s", [START_S + 59, START_S])
def test_a_line_that_has_just_begun_is_not_cut(at_s: int) -> None:
    assert code_of([line()], at_s) == "invoice_lines_not_billable"


def code_of(lines: list[InvoiceLine], at_s: int, **changed: object) -> str:
    with pytest.raises(Rejected) as refused:
        now(lines, at_s, **changed)  # type: ignore[arg-type]
    return refused.value.reason


def test_codes() -> None:
    latest = line(
        "latest", rate_card=line().rate_card.__class__(feature_key="level", price=line().rate_card.price)
    )
    assert code_of([line()], MIDDLE_S, progressive=False) == "invoice_lines_not_billable"
    assert code_of([], MIDDLE_S) == "invoice_lines_not_billable"
    assert code_of([line(deleted_at=AT)], MIDDLE_S) == "invoice_lines_not_billable"
    assert code_of([latest], MIDDLE_S) == "invoice_lines_not_billable"
    assert (
        code_of([latest, line()], MIDDLE_S, line_ids=[latest.id])
        == "invoice_progressive_billing_not_supported"
    )
    assert (
        code_of([line(), flat()], MIDDLE_S, line_ids=[line().id, flat().id]) == "invoice_lines_not_billable"
    )
    assert code_of([line()], MIDDLE_S, line_ids=[line().id, "unknown"]) == "invoice_lines_not_billable"
    with pytest.raises(Rejected) as refused:
        invoice_now([line()], MIDDLE_S + 1, MIDDLE_S * 1000, True, USAGE)
    assert refused.value.reason == "invoice_as_of_in_future"


def test_only_named_lines_are_taken() -> None:
    lines = [line("a"), line("b")]
    taken, kept = now(lines, MIDDLE_S, line_ids=[lines[1].id])
    assert [one.name for one in taken] == ["b"]
    assert [one.name for one in kept] == ["a", "b"]


def test_what_can_be_invoiced() -> None:
    assert is_billable([line()], MIDDLE_S * 1000, True, USAGE)
    assert not is_billable([line()], MIDDLE_S * 1000, False, USAGE)
    assert not is_billable([line()], MIDDLE_S * 1000, True, {})


@given(
    starts=st.lists(st.integers(0, 20), max_size=5),
    asked=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    progressive=st.booleans(),
)
def test_every_second_of_every_line_is_invoiced_once(
    starts: list[int], asked: list[int], progressive: bool
) -> None:
    """Whatever is asked for in between: the parts of a line tile its period, in order."""
    lines = [
        line(str(place), period=period(START_S + start * HOUR_S), invoice_at=period().end)
        for place, start in enumerate(starts)
        if start < 10
    ]
    kept, invoiced = tuple(lines), list[InvoiceLine]()
    for hours in [*sorted(asked), 50]:
        try:
            taken, kept = now(list(kept), START_S + hours * HOUR_S, progressive)
        except Rejected:
            continue
        invoiced += taken
    assert kept == ()
    assert len({one.id for one in invoiced}) == len(invoiced)
    for whole in lines:
        parts = [one.period for one in invoiced if one.name == whole.name]
        assert [part.start for part in parts] == [whole.period.start, *(part.end for part in parts[:-1])]
        assert parts[-1].end == whole.period.end


def test_a_correction_waits_for_the_first_line_that_is_none() -> None:
    usual, later = line("Tokens"), line("More", invoice_at=text(START_S + 40 * HOUR_S))
    correction = line(
        "Late", corrects=LineCorrects(invoice_id="i", line_id="l"), invoice_at=text(START_S + HOUR_S)
    )
    end_s = START_S + 10 * HOUR_S
    lines = (correction, usual, later)
    assert collect(lines, SubscriptionAlignment(), "UTC", end_s - 1).taken == ()
    assert collect(lines, SubscriptionAlignment(), "UTC", end_s).taken == (correction, usual)
    alone_s = START_S + 25 * HOUR_S
    assert next_collection_s([correction], SubscriptionAlignment(), "UTC") == alone_s
    assert collect([correction], SubscriptionAlignment(), "UTC", alone_s).taken == (correction,)
