"""The table, the comparison with the recount and the picture. No engine runs."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from pipeline.errors import Unavailable
from tests.bench.load import LOADS
from tests.bench.peers.compare import ENGINES, installed
from tests.bench.peers.engine import Engine
from tests.bench.peers.plot import picture
from tests.bench.peers.report import row, table
from tests.bench.peers.run import Figures, Look, figures
from tests.bench.peers.sums import Expected, Sums

METERS = LOADS["plain"].meters


def run_of(events_per_s: float, differences: list[str] | None = None) -> Figures:
    return Figures(1_000, events_per_s, 40.0, 10.0, 200.0, 1.0, differences or [])


@pytest.fixture(scope="module")
def expected() -> Expected:
    now_ns = time.time_ns()
    values = [sent.line for sent in LOADS["plain"].records(2_000, 7, now_ns)]
    return Expected(values, METERS, now_ns // 1_000_000)


def right(expected: Expected) -> Sums:
    """What an engine without a fault reports: the sum of AVG is its mean times its count."""
    found = Sums(fates=Counter(expected.fates))
    for key, (value, events) in expected.windows.items():
        total = Decimal(value) * events if key.meter == "api_latency" else Decimal(value)
        place = (key.meter, key.subject, key.dimensions, key.start_s)
        found.window(place, round(total, 3) if key.meter == "api_latency" else total, events)
    return found


def test_equal_sums_have_no_differences(expected: Expected) -> None:
    assert sum(expected.fates.values()) == 2_000 and expected.fates["repeats"] and expected.fates["rejected"]
    assert expected.differences(right(expected)) == []


def test_each_kind_of_difference_is_named(expected: Expected) -> None:
    found, all_of_them = right(expected), len(expected.windows)
    lost, changed, recounted = list(found.windows)[:3]
    del found.windows[lost]
    found.window(changed, found.windows[changed][0] + 1, found.windows[changed][1])
    found.window(recounted, found.windows[recounted][0], found.windows[recounted][1] + 1)
    found.window(("api_keys", "ann", (), 0), Decimal(1), 1)
    found.fates["repeats"] -= 1
    repeats = expected.fates["repeats"]
    assert expected.differences(found) == [
        f"{repeats - 1} events repeats instead of {repeats}",
        f"1 of {all_of_them:,} windows missing",
        f"1 of {all_of_them:,} windows too many",
        f"2 of {all_of_them:,} windows with another sum",
    ]


def test_what_was_accepted_before_the_first_look_is_not_counted() -> None:
    looks = [Look(10.0, 20, 1.0, 5.0), Look(11.0, 60, 1.5, 5.1), Look(14.0, 100, 1.8, 5.2)]
    found = figures(looks, 1_000, 99.0, 0.5, [])
    assert found[:-1] == pytest.approx((1_000, 200.0, 1_000.0, 250.0, 99.0, 0.5))
    with pytest.raises(RuntimeError, match="use more events"):
        figures(looks[:1], 1_000, 99.0, 0.5, [])


def test_rows_are_medians_and_the_table_says_which_sums_are_wrong() -> None:
    ours = row("Tallymark", True, [run_of(3_000), run_of(1_000), run_of(2_000)])
    wrong = row("Other", False, [run_of(500), run_of(500, ["1 of 9 windows missing"]), run_of(500)])
    assert table([ours, wrong])[2:] == [
        "| Tallymark | yes | 1,000 | 2,000 | 40 | 10 | 50 | 200 | 1.00 | as recounted |",
        "| Other | no | 1,000 | 500 | 40 | 10 | 50 | 200 | 0.25 | WRONG: round 2: 1 of 9 windows missing |",
    ]


def test_the_picture_has_a_bar_an_engine_and_marks_wrong_sums() -> None:
    rows = [row("A & B", True, [run_of(2_000)]), row("Other", False, [run_of(500, ["one"])])]
    text = picture(rows, "1,000 events < all")
    bars = [part.attrib for part in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}rect")]
    assert [bar["class"] for bar in bars] == ["ours", "wrong"]
    assert float(bars[0]["width"]) == pytest.approx(4 * float(bars[1]["width"]), abs=0.2)
    assert "prefers-color-scheme: dark" in text and "500 (wrong sums)" in text


def test_an_engine_that_cannot_be_had_is_left_out_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    class Absent(Engine):
        name = "Absent"

        @classmethod
        def install(cls) -> None:
            raise Unavailable("there is no such package")

        def prepare(self) -> None: ...
        def start(self) -> list[subprocess.Popen[bytes]]:
            return []

        def sums(self) -> Sums:
            return Sums()

    tallymark = ENGINES[0]
    assert installed([Absent, tallymark]) == [tallymark]
    assert capsys.readouterr().err == "Absent is left out: there is no such package\n"
