"""The table as a bar chart in SVG, for light and dark pages. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.bench.peers.report import Row

WIDTH, TOP, STEP, BAR = 960, 92, 38, 22
BARS_X, BARS_WIDTH = 280, 270
COLUMNS = ((760, "CPU µs an event"), (850, "of it broker"), (940, "peak MB"))

STYLE = """\
    text { font: 15px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
    .title { font-weight: 600; font-size: 17px; }
    .note { font-size: 12.5px; fill: #59636e; }
    .right { text-anchor: end; }
    .bar { fill: #818b98; }
    .ours { fill: #0969da; }
    .wrong { fill: #d1242f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .note { fill: #9198a1; }
      .bar { fill: #656c76; }
      .ours { fill: #4493f8; }
      .wrong { fill: #f85149; }
    }"""


def picture(rows: Sequence[Row], heading: str) -> str:
    """A bar of events per second for each engine, the first marked as ours, with CPU and memory beside it.

    heading: how the figures were made. An engine whose sums are wrong is marked as such.
    """
    height, most = TOP + STEP * len(rows) + 16, max(one.events_per_s for one in rows)
    title = "Events counted per second, the same work on the same machine"
    described = "; ".join(f"{one.name}: {one.events_per_s:,.0f} events/s" for one in rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title description">',
        f'  <title id="title">{title}</title>',
        f'  <desc id="description">{escape(described)}</desc>',
        f"  <style>\n{STYLE}\n  </style>",
        f'  <text class="title" x="20" y="28">{title}</text>',
        f'  <text class="note" x="20" y="49">{escape(heading)}</text>',
    ]
    lines += [f'  <text class="note right" x="{x}" y="{TOP - 14}">{name}</text>' for x, name in COLUMNS]
    for place, one in enumerate(rows):
        fewer = f" ({one.events:,} events)" if one.events != rows[0].events else ""
        kind = "wrong" if one.differences else "bar" if place else "ours"
        figure = f"{one.events_per_s:,.0f}{fewer}{' (wrong sums)' if one.differences else ''}"
        lines += _row(one, kind, figure, TOP + STEP * place, BARS_WIDTH * one.events_per_s / most)
    return "\n".join([*lines, "</svg>", ""])


def _row(one: Row, kind: str, figure: str, y: int, width: float) -> list[str]:
    base = y + 16
    numbers = [f"{used:,.0f}" for used in (one.total_us, one.broker_us, one.memory_mb)]
    return [
        f'  <text x="20" y="{base}">{escape(one.name)}</text>',
        f'  <rect class="{kind}" x="{BARS_X}" y="{y}" width="{max(width, 1):.1f}" height="{BAR}" rx="3"/>',
        f'  <text x="{BARS_X + width + 8:.1f}" y="{base}">{figure}</text>',
        *(
            f'  <text class="right" x="{x}" y="{base}">{number}</text>'
            for (x, _), number in zip(COLUMNS, numbers, strict=True)
        ),
    ]
