"""Parts of a line: they tile its period, share one identity, and exactly one of them is the first and one the last."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog.price import PriceTier, TieredPrice, TierMode, TierUnitPrice
from pipeline.core.invoices.line import InvoiceLine
from pipeline.core.invoices.line_split import can_split, cut_s, is_first, is_last, parts_before, split
from pipeline.errors import Broken
from tests.core.invoices.invoices import AT, HOUR_S, START_S, flat, line, period, text

NOW_MS = (START_S + 99) * 1000


def tiered(mode: TierMode) -> TieredPrice:
    return TieredPrice(mode=mode, tiers=(PriceTier(flat_price=None, unit_price=TierUnitPrice("1")),))


@pytest.mark.parametrize(
    ("of", "aggregation", "allowed"),
    [
        *[(line(), aggregation, True) for aggregation in ("SUM", "COUNT", "MAX", "UNIQUE_COUNT")],
        *[(line(), aggregation, False) for aggregation in ("AVG", "MIN", "LATEST", None)],
        (line(price=tiered("volume")), "SUM", False),
        (line(price=tiered("graduated")), "SUM", True),
        (flat(), "SUM", False),
    ],
)
def test_which_lines_may_be_cut(of: InvoiceLine, aggregation: str | None, allowed: bool) -> None:
    assert can_split(of, aggregation) == allowed


@given(st.sets(st.integers(1, 599), max_size=8))
def test_any_cuts_tile_the_period(minutes: set[int]) -> None:
    whole = line()
    parts, rest = list[InvoiceLine](), whole
    for minute in sorted(minutes):
        first, rest = split(rest, START_S + minute * 60, NOW_MS)
        parts.append(first)
    parts.append(rest)
    assert rest.id == whole.id
    assert len({one.id for one in parts}) == len(parts)
    edges = [START_S, *(one.period.end_s for one in parts)]
    assert [one.period.start_s for one in parts] == edges[:-1]
    assert edges[-1] == whole.period.end_s
    assert [is_first(one) for one in parts] == [True] + [False] * len(minutes)
    assert [is_last(one) for one in parts] == [False] * len(minutes) + [True]
    for place, one in enumerate(parts):
        assert parts_before(one, reversed(parts)) == parts[:place]
        if minutes:
            assert one.split is not None
            assert (one.split.group, one.split.period) == (whole.id, whole.period)


def test_the_same_cut_is_the_same_line() -> None:
    assert split(line(), START_S + 60, NOW_MS) == split(line(), START_S + 60, NOW_MS)


def test_a_part_may_be_invoiced_at_its_end() -> None:
    parts = split(line(), START_S + 60, NOW_MS)
    assert (parts.first.invoice_at, parts.rest.invoice_at) == (text(START_S + 60), line().invoice_at)


def test_a_deleted_part_does_not_count_as_billed() -> None:
    first, rest = split(line(), START_S + 60, NOW_MS)
    second, last = split(rest, START_S + 120, NOW_MS)
    deleted = msgspec.structs.replace(first, deleted_at=AT)
    assert parts_before(last, [deleted, second]) == [second]
    assert parts_before(line("other"), [first, second]) == []


@pytest.mark.parametrize("at_s", [START_S, START_S + 10 * HOUR_S, START_S - 60])
def test_a_cut_outside_of_the_period_is_an_error(at_s: int) -> None:
    with pytest.raises(Broken):
        split(line(period=period()), at_s, NOW_MS)


def test_a_cut_is_on_a_whole_minute() -> None:
    assert cut_s(START_S + 119) == START_S + 60
