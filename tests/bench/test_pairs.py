"""The statistics of pairs, and that a pair of the same tree measures every stage."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

from tests.bench.load import LOADS
from tests.bench.pairs import ROOT, compare, interval, median, report


def test_the_interval_is_that_of_the_sign_test() -> None:
    fifteen = [float(number) for number in range(15)]
    assert median(fifteen) == 7 and interval(fifteen) == (3, 11)  # the 4th and the 12th: 96.5 %
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    assert interval([2.0, 1.0, 3.0]) == (1, 3)  # too few for a narrower one


def test_a_tree_against_itself_has_figures_of_every_stage(tmp_path: Path) -> None:
    now_ns = time.time_ns()
    values = [sent.line for sent in LOADS["plain"].records(1_000, 1, now_ns)]
    given = tmp_path / "input"
    given.write_bytes(pickle.dumps((LOADS["plain"].meters, values, now_ns // 1_000_000)))
    found = compare(ROOT, ROOT, given, 1)
    assert [line.split()[0] for line in report(found)] == ["stage", "ingest", "dedupe", "aggregate", "all"]
    assert all(figure > 0 for pair in found for figures in pair for figure in figures.values())
