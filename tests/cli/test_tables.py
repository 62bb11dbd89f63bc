"""Tables fit a terminal, and piped text is whole."""

from __future__ import annotations

import contextlib
import os
import pty
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.tables import FOLDED_LINES, LEAST_WIDTH, PADDED_WIDTH, fitted, plain, print_table

LONG = "customer-" + "x" * 1000
COLUMNS = ("id", "subject", "value")
ROWS = [("01J8Z3V9T2M4K6P8R0S2V4X6Z8", LONG, "12.5"), ("01J8Z3V9T2M4K6P8R0S2V4X6Z9", "ann", "1234567.25")]


def test_piped_text_is_whole_and_one_long_cell_moves_its_own_row_only() -> None:
    out = StringIO()
    print_table(COLUMNS, ROWS, right=("value",), file=out)
    head, long, short = out.getvalue().splitlines()
    assert long == f"{ROWS[0][0]}  {LONG}        12.5"
    assert short == f"{ROWS[1][0]}  {'ann':<{PADDED_WIDTH}}  1234567.25"
    assert head == f"{'id':<26}  {'subject':<{PADDED_WIDTH}}       value"


def test_a_terminal_folds_what_is_long_and_keeps_numbers_whole() -> None:
    lines = list(fitted(COLUMNS, ROWS, ("value",), 60))
    assert lines[0] == "id                       subject                       value"
    assert lines[1] == "01J8Z3V9T2M4K6P8R0S2V4X  customer-xxxxxxxxxxxxxx        12.5"
    assert lines[3].split() == ["x" * 22 + "…"]
    assert lines[4].split() == ["01J8Z3V9T2M4K6P8R0S2V4X", "ann", "1234567.25"]
    assert lines[5] == "6Z9"
    assert len(lines) == 1 + FOLDED_LINES + 2
    assert max(map(len, lines)) <= 60


def test_a_terminal_that_is_wide_enough_shows_the_same_as_a_pipe() -> None:
    rows = [(*row[:1], "ann", *row[2:]) for row in ROWS]
    assert list(fitted(COLUMNS, rows, ("value",), 200)) == list(plain(COLUMNS, rows, ("value",)))


def test_wide_characters_take_two_places() -> None:
    lines = list(fitted(("name", "n"), [("日本語テキスト", "1"), ("e\u0301", "2")], ("n",), 80))
    assert lines == ["name            n", "日本語テキスト  1", "e\u0301               2"]


cells = st.text(st.characters(categories=("L", "N", "P")), max_size=200)


@given(st.lists(st.tuples(cells, cells, cells, cells), max_size=5), st.integers(40, 200))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    columns = ("one", "two", "three", "four")
    lines = list(fitted(columns, rows, (), width))
    assert all(printed_width(line) <= width for line in lines)
    assert len(lines) <= 1 + FOLDED_LINES * len(rows)


@given(st.lists(st.text("abc", min_size=1, max_size=FOLDED_LINES * LEAST_WIDTH), min_size=1, max_size=5))
def test_what_fits_into_the_folded_lines_is_whole(texts: list[str]) -> None:
    lines = list(fitted(("t",), [(text,) for text in texts], (), LEAST_WIDTH))[1:]
    assert "".join(lines) == "".join(texts)


def printed_width(line: str) -> int:
    from rich.cells import cell_len

    return cell_len(line)


def test_a_real_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        print_table(COLUMNS, ROWS, right=("value",), file=terminal)
    read = b""
    with contextlib.suppress(OSError):  # its end is closed and everything is read
        while part := os.read(ours, 65_536):
            read += part
    os.close(ours)
    shown = read.decode()
    lines = shown.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert max(map(len, lines)) <= 70
    assert "1234567.25" in shown and "…" in shown


def test_nothing_steers_the_terminal() -> None:
    out = StringIO()
    print_table(("a",), [("\x1b[31mred\nforged",)], file=out)
    assert out.getvalue().splitlines()[1:] == ["\\x1b[31mred\\nforged"]
