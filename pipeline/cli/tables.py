"""Tables on a terminal, and plain aligned text if the output is redirected.

Owns: the layout of rows. Does not own: their contents. On a terminal a table is as wide as the terminal: long cells are
folded, and cut off after a few lines. Redirected output has one row per line and is never cut off.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from shutil import get_terminal_size
from typing import IO

import click

GAP = "  "
FOLDED_LINES = 3  # limit of the lines of a cell on a terminal
LEAST_WIDTH = 6  # of a folded column
PADDED_WIDTH = 60  # of a column of redirected output; a longer cell moves only the rest of its own row


def count(number: int) -> str:
    """A number with thousands separated: 1234567 as 1,234,567."""
    return f"{number:,}"


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[str] = (),
    file: IO[str] | None = None,
) -> None:
    """Print rows below the names of their columns; `right` names the right-aligned columns."""
    out = file or click.get_text_stream("stdout")
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if out.isatty():
        head, *lines = fitted(columns, cells, right, get_terminal_size().columns)
        click.echo(click.style(head, bold=True), file=out)
    else:
        lines = [*plain(columns, cells, right)]
    for line in lines:
        click.echo(line, file=out)


def plain(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> Iterator[str]:
    """One line per row, the names first; no cell is cut."""
    widths = [min(width, PADDED_WIDTH) for width in _widths(columns, cells)]
    for row in (columns, *cells):
        yield _line(columns, row, widths, right)


def fitted(
    columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str], width: int
) -> Iterator[str]:
    """The lines of a table that is at most `width` wide, the names first.

    The widest text columns become narrower; right-aligned columns hold numbers and are never cut. If the columns do
    not fit at LEAST_WIDTH, the table is wider.
    """
    widths = _shrunk(_widths(columns, cells), [name in right for name in columns], width)
    yield _line(
        columns, [_cut(name, limit) for name, limit in zip(columns, widths, strict=True)], widths, right
    )
    for row in cells:
        folded = [_folded(cell, limit) for cell, limit in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            yield _line(columns, parts, widths, right)


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(columns, *cells, strict=True)]


def _shrunk(widths: list[int], whole: list[bool], width: int) -> list[int]:
    """Widths that fit: the columns that can be folded get one common limit, as large as possible."""
    room = (
        width
        - len(GAP) * (len(widths) - 1)
        - sum(one for one, is_whole in zip(widths, whole, strict=True) if is_whole)
    )
    foldable = sorted(one for one, is_whole in zip(widths, whole, strict=True) if not is_whole)
    limit = foldable[-1] if foldable else 0
    for place, one in enumerate(foldable):
        share = room // (len(foldable) - place)
        if one > share:
            limit = max(share, LEAST_WIDTH)
            break
        room -= one
    return [one if is_whole else min(one, limit) for one, is_whole in zip(widths, whole, strict=True)]


def _folded(cell: str, limit: int) -> list[str]:
    """A cell in pieces of at most `limit`; the last one ends with … if it does not fit into FOLDED_LINES."""
    pieces: list[str] = []
    while _width(cell) > limit and len(pieces) < FOLDED_LINES - 1:
        piece = _begin(cell, limit)
        pieces.append(piece)
        cell = cell[len(piece) :]
    return [*pieces, _cut(cell, limit)]


def _cut(text: str, limit: int) -> str:
    return text if _width(text) <= limit else _begin(text, limit - 1) + "…"


def _begin(text: str, limit: int) -> str:
    """The beginning of the text that fits into `limit` columns, at least one character."""
    used = 0
    for place, character in enumerate(text):
        used += _width(character)
        if used > limit and place:
            return text[:place]
    return text


def _width(text: str) -> int:
    """The number of terminal columns of a text."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(one) in "WF" else not unicodedata.combining(one) for one in text
    )


def _line(columns: Sequence[str], row: Sequence[str], widths: Sequence[int], right: Sequence[str]) -> str:
    found = []
    for name, cell, width in zip(columns, row, widths, strict=True):
        space = " " * (width - _width(cell))
        found.append(space + cell if name in right else cell + space)
    return GAP.join(found).rstrip()


def _one_line(cell: str) -> str:
    # Text from a producer must not move the cursor or forge a row.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cell)
