"""Tables on a terminal, and plain aligned text where the output goes elsewhere.

Owns: how rows look. Does not own: what is in them. Piped text has one row a line and is never cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

import click


def count(number: int) -> str:
    """A number of things with thousands set apart: 1234567 as 1,234,567."""
    return f"{number:,}"


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Sequence[str] = (),
    file: IO[str] | None = None,
) -> None:
    """Prints rows under their columns' names; `right` names the columns that are set to the right."""
    out = file or click.get_text_stream("stdout")
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if out.isatty():
        _rich(columns, cells, right, out)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in (columns, *cells):
        aligned = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        )
        click.echo("  ".join(aligned).rstrip(), file=out)


def _one_line(cell: str) -> str:
    # What a producer wrote must not move the cursor or forge a row.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cell)


def _rich(columns: Sequence[str], rows: list[list[str]], right: Sequence[str], out: IO[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=out).print(table)
