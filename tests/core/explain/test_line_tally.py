"""The three counts of a line, and the comparison with what it says."""

from __future__ import annotations

import pytest

from pipeline.core.explain.line_recount import LineInclusion
from pipeline.core.explain.line_tally import LineTally
from pipeline.core.invoices.line_usage import LineUsage
from pipeline.core.values.number import SCALE
from pipeline.errors import Broken

USAGE = LineUsage(7, "SUM", 0, 600, 1200, "2", "5")
BEFORE = LineUsage(7, "SUM", 0, 600, 1200, "2", "9")
NOW, WAS = LineInclusion(0, True, False), LineInclusion(0, False, True)


def test_a_line_is_compared_with_all_three() -> None:
    tally = LineTally(USAGE)
    for value, minute_s, inclusion in ((2, 0, NOW), (3, 600, NOW), (9, 660, WAS)):
        tally.add(value * SCALE, "", minute_s, inclusion)
    tally.check("It", USAGE, BEFORE)
    assert tally.quantities == (5 * SCALE, 2 * SCALE)
    tally.add(SCALE, "", 60, NOW)
    with pytest.raises(Broken, match="It counts 5, but the 3 stored events under it are 6"):
        tally.check("It", USAGE, None)
    tally.add(-SCALE, "", 660, NOW)
    with pytest.raises(Broken, match="It counts before its part 2, but the 2 stored events under it are 3"):
        tally.check("It", USAGE, None)
