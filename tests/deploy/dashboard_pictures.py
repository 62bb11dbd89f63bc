"""Draws the panels of a dashboard as SVG: what the queries answered, not how Grafana looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, GAP = 560, 250, 12
LEFT, TOP, RIGHT, BOTTOM = 58, 34, 12, 58  # of the plot in its panel
COLOURS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#37872d", "#e0b400",
           "#c4162a", "#1f60c4", "#8f3bb8", "#fade2a")  # fmt: skip
SCALES = {
    "s": ((1, " s"), (1e-3, " ms"), (1e-6, " µs")),
    "bytes": ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB")),
    "Bps": ((2**20, " MiB/s"), (2**10, " KiB/s"), (1, " B/s")),
    "percentunit": ((0.01, " %"),),
}
SHORT = ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1, ""))


class Drawn(NamedTuple):
    """One query's answer. lines: points of each, by name. rows: of a table. quiet: why there are none."""

    board: str
    panel: str
    unit: str
    lines: dict[str, list[tuple[float, float]]]
    quiet: str = ""
    rows: Sequence[tuple[str, ...]] = ()


def shown(value: float, unit: str) -> str:
    """A value with its unit."""
    for size, name in SCALES.get(unit, SHORT):
        if abs(value) >= size or (size, name) == SCALES.get(unit, SHORT)[-1]:
            return f"{value / size:.3g}{name}"
    raise AssertionError(unit)


def picture(title: str, answers: Sequence[Drawn]) -> str:
    """The panels of a dashboard, two in a row; the answers of one panel share it."""
    panels: dict[str, list[Drawn]] = {}
    for one in answers:
        panels.setdefault(one.panel, []).append(one)
    width = 2 * WIDTH + 3 * GAP
    height = 46 + (len(panels) + 1) // 2 * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#111217"/>',
        _text(GAP, 30, title, 18, "#fff"),
    ]
    for number, found in enumerate(panels.values()):
        x, y = GAP + number % 2 * (WIDTH + GAP), 46 + number // 2 * (HEIGHT + GAP)
        parts += [f'<g transform="translate({x},{y})">', *_panel(found), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(found: Sequence[Drawn]) -> Iterator[str]:
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="3" fill="#181b1f" stroke="#2c3235"/>'
    yield _text(10, 20, found[0].panel, 13, "#d8d9da")
    lines = {name: points for one in found for name, points in one.lines.items()}
    rows = [row for one in found for row in one.rows]
    if lines:
        yield from _plot(lines, found[0].unit)
    elif rows:
        for number, row in enumerate(rows[:11]):
            yield _text(14, 44 + 18 * number, "   ".join(cell[:40] for cell in row), 11, "#ccccdc")
    else:
        yield _text(14, 120, f"No data: {found[0].quiet}.", 12, "#8e8e8e")


def _plot(lines: dict[str, list[tuple[float, float]]], unit: str) -> Iterator[str]:
    values = [value for points in lines.values() for _, value in points]
    times = [at for points in lines.values() for at, _ in points]
    first, last, top = min(times), max(times), max(*values, 1e-9) * 1.05
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    for share in (0, 0.5, 1):
        y = TOP + up * (1 - share)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#2c3235"/>'
        yield _text(4, y + 4, shown(top * share, unit), 10, "#8e8e8e")
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(
            f"{LEFT + across * (at - first) / max(last - first, 1):.1f},{TOP + up * (1 - value / top):.1f}"
            for at, value in points
        )
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
        x, y = LEFT + number % 5 * 100, HEIGHT - BOTTOM + 18 + number // 5 * 14
        yield f'<rect x="{x}" y="{y - 7}" width="10" height="3" fill="{colour}"/>'
        yield _text(x + 14, y, name[:16], 10, "#ccccdc")


def _text(x: float, y: float, text: str, size: int, colour: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
