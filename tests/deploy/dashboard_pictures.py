"""Draws the panels of a dashboard as SVG: what the queries answered, not how Grafana looks.

Owns: the layout, lines and tables. Does not own: scales and ticks (chart_axes), the answers (dashboards_run).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from tests.deploy.chart_axes import Axis, clock_ticks, gap_s, value_axis

WIDTH, HEIGHT, GAP, HEAD, COLUMNS = 400, 240, 10, 48, 3
LEFT, TOP, RIGHT, BOTTOM = 66, 50, 18, 68  # of the plot in its panel
LEGEND_ROWS, LINE_PX, LETTER_PX = 3, 13, 4.9
MOST_ROWS = 8  # of a table
PAGE, PANEL, BORDER, GRID, TITLE, TEXT, FAINT = (
    "#f4f5f5", "#ffffff", "#dcdcdf", "#e6e7e9", "#24292e", "#40444a", "#6e757c",
)  # fmt: skip
COLOURS = ("#1f77b4", "#e8710a", "#2ca02c", "#c4162a", "#8f3bb8", "#8c564b", "#e377c2", "#7f7f7f", "#9aa005",
           "#17becf", "#0b4f8a", "#f2a900", "#005f56", "#5b4bd6", "#b5651d")  # fmt: skip
Point = tuple[float, float]
Points = list[Point]


class Drawn(NamedTuple):
    """One query's answer. lines: points of each, by name. rows: of a table. quiet: why there are none."""

    board: str
    panel: str
    unit: str
    description: str
    lines: dict[str, Points]
    quiet: str = ""
    rows: Sequence[tuple[str, ...]] = ()
    columns: tuple[str, ...] = ()


def picture(title: str, answers: Sequence[Drawn]) -> str:
    """The panels of a dashboard, COLUMNS in a row; the answers of one panel share it."""
    panels: dict[str, list[Drawn]] = {}
    for one in answers:
        panels.setdefault(one.panel, []).append(one)
    times = [at for one in answers for points in one.lines.values() for at, _ in points] or [0.0]
    span = min(times), max(*times, min(times) + 1)
    width = COLUMNS * (WIDTH + GAP) + GAP
    height = HEAD + -(-len(panels) // COLUMNS) * (HEIGHT + GAP)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Inter, Helvetica, Arial, sans-serif">',
        "<style>path{fill:none;stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round}</style>",
        f'<rect width="{width}" height="{height}" fill="{PAGE}"/>',
        _text(GAP, 31, title, 20, TITLE, "600"),
    ]
    for number, found in enumerate(panels.values()):
        x, y = GAP + number % COLUMNS * (WIDTH + GAP), HEAD + number // COLUMNS * (HEIGHT + GAP)
        parts += [f'<g transform="translate({x},{y})">', *_panel(found, span), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(found: Sequence[Drawn], span: Point) -> Iterator[str]:
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="4" fill="{PANEL}" stroke="{BORDER}"/>'
    yield _text(12, 21, found[0].panel, 13, TITLE, "600")
    yield _text(12, 37, found[0].description, 9.5, FAINT)
    lines = {name: points for one in found for name, points in one.lines.items()}
    if lines:
        yield from _plot(lines, found[0].unit, span)
    elif rows := [row for one in found for row in one.rows]:
        yield from _table(found[0].columns, rows)
    else:
        yield _text(12, HEIGHT / 2, f"No data: {found[0].quiet}.", 12, FAINT)


def _table(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    apart = (WIDTH - 24) / max(len(columns), 1)
    for number, row in enumerate([columns, *rows[:MOST_ROWS]]):
        for place, cell in enumerate(row):
            shown = cell if len(cell) <= apart / 6.4 else cell[: int(apart / 6.4)] + "…"
            yield _text(12 + place * apart, 60 + 18 * number, shown, 11, TEXT if number else FAINT)
    if len(rows) > MOST_ROWS:
        yield _text(12, HEIGHT - 10, f"and {len(rows) - MOST_ROWS} more rows", 10, FAINT)


def _plot(lines: dict[str, Points], unit: str, span: Point) -> Iterator[str]:
    columns = 5 if all(len(name) <= 11 for name in lines) else 4
    largest = sorted(lines, key=lambda name: -max(value for _, value in lines[name]))[: columns * LEGEND_ROWS]
    values = [value for points in lines.values() for _, value in points]
    axis = value_axis(max(values), unit, all(value == int(value) for value in values))
    first, last = span
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    for at, shown in axis.ticks:
        y = TOP + up * (1 - at / axis.top)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        yield _text(LEFT - 6, y + 3.5, shown, 10, FAINT, anchor="end")
    for at, shown in clock_ticks(first, last):
        x = LEFT + across * (at - first) / (last - first)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + up}" stroke="{GRID}"/>'
        yield _text(x, TOP + up + 13, shown, 9, FAINT, anchor="middle")
    for number, name in enumerate(sorted(largest)):
        colour, points = COLOURS[number % len(COLOURS)], lines[name]
        places = [_place(point, axis, first, last - first) for point in points]
        yield f'<path d="{_path(points, places)}" stroke="{colour}"/>'
        yield from _legend(number, columns, name, colour)
    if len(largest) < len(lines):
        yield _text(WIDTH - 12, 21, f"the largest {len(largest)} of {len(lines)}", 10, FAINT, anchor="end")


def _place(point: Point, axis: Axis, first: float, span_s: float) -> Point:
    at, value = point
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return LEFT + across * (at - first) / span_s, TOP + up * (1 - value / axis.top)


def _path(points: Points, places: Points) -> str:
    """The line, with a gap where there is no value."""
    gap = gap_s([at for at, _ in points])
    begins = [True, *(after[0] - before[0] > gap for before, after in pairwise(points))]
    # `h0` with round ends makes a dot of a value that stands alone.
    steps = ("M{0:.0f},{1:.1f}h0" if is_new else "L{0:.0f},{1:.1f}" for is_new in begins)
    return "".join(step.format(*place) for step, place in zip(steps, places, strict=True))


def _legend(number: int, columns: int, name: str, colour: str) -> Iterator[str]:
    apart = (WIDTH - 20) // columns
    x, y = 12 + number % columns * apart, HEIGHT - BOTTOM + 32 + number // columns * LINE_PX
    most = int((apart - 18) / LETTER_PX)
    yield f'<rect x="{x}" y="{y - 5}" width="10" height="3" fill="{colour}"/>'
    yield _text(x + 14, y, name if len(name) <= most else name[: most - 1] + "…", 9.5, TEXT)


def _text(
    x: float, y: float, text: str, size: float, colour: str, weight: str = "400", anchor: str = "start"
) -> str:
    place = f'x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}"'
    more = (f' font-weight="{weight}"' if weight != "400" else "") + (
        f' text-anchor="{anchor}"' if anchor != "start" else ""
    )
    return f"<text {place}{more}>{escape(text)}</text>"
