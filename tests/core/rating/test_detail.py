"""Components: references, names, totals."""

from __future__ import annotations

import doctest

import pytest

from pipeline.core.rating import credit_allocation, detail, models
from pipeline.core.rating.detail import MoneyTotals, RatedDetail, sum_of, totals_of


@pytest.mark.parametrize("module", [credit_allocation, detail, models])
def test_the_examples_are_true(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted and not result.failed


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (detail.FLAT, "Seats"),
        (detail.UNIT, "Seats: usage in period"),
        (detail.USAGE, "Seats: usage in period"),
        (detail.VOLUME_FLAT, "Seats: flat price for tier 3"),
        (detail.VOLUME_UNIT, "Seats: unit price for tier 3"),
        (detail.graduated_unit(3), "Seats: usage price for tier 3"),
        (detail.graduated_flat(3), "Seats: flat price for tier 3"),
        (detail.MINIMUM, "Seats: minimum spend"),
        (detail.SHARE, "Seats: share of usage in period"),
        (detail.EVENTS, "Seats: events in period"),
        (detail.share_of_tier(3), "Seats: share of tier 3"),
        (detail.flat_of_share_tier(3), "Seats: flat price for tier 3"),
    ],
)
def test_names(reference: str, name: str) -> None:
    assert RatedDetail(reference, 0, 0, 0, tier=3).name("Seats") == name
    assert RatedDetail(reference, 0, 0, 0, tier=3, reversal=True).child_reference == f"{reference}#correction"


def test_totals_are_sums() -> None:
    line = totals_of(RatedDetail(detail.UNIT, 0, 0, 1000, percentage_discount=100, maximum_discount=50), 200)
    minimum = totals_of(RatedDetail(detail.MINIMUM, 0, 0, 0, 300))
    invoice = sum_of([line, minimum, MoneyTotals(taxes_exclusive=19, taxes_inclusive=7)])
    assert invoice == MoneyTotals(1000, 300, 150, 200, 7, 19)
    assert (invoice.taxes, invoice.total) == (26, 969)


def test_the_totals_of_nothing_are_zero() -> None:
    assert sum_of([]) == MoneyTotals()
