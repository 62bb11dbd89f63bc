"""The table of values in the chart's README, made of values.yaml and its comments.

    python -m tests.deploy.chart_table          writes it into README.md

Owns: reading the comments. Does not own: the values, or which of them are allowed (values.schema.json).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from tests.deploy.chart_renders import CHART

README = CHART / "README.md"
BEGIN, END = "<!-- values: python -m tests.deploy.chart_table -->\n", "<!-- end of values -->\n"
_KEY = re.compile(r"(?P<indent> *)(?P<name>[\w-]+):(?P<value>.*?)(?:  # (?P<comment>.*))?$")
_DEEPEST = 2
_WHOLE = ("resources",)


class Row(NamedTuple):
    """One value: its path, its default, and what its comment says."""

    path: str
    default: str
    meaning: str


def rows() -> list[Row]:
    """All values down to the second level, in the order of the file."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    found, above, path = [], list[str](), list[str]()
    for line in text.splitlines():
        key = _KEY.fullmatch(line)
        if line.lstrip().startswith("#"):
            above.append(line.strip().removeprefix("# "))
            continue
        if not line.strip():
            above.clear()
        if key is None:
            continue
        path = [*path[: len(key["indent"]) // 2], key["name"]]
        meaning = " ".join([*above, key["comment"] or ""]).strip()
        above.clear()
        has_rows = len(path) < _DEEPEST and not key["value"].strip() and path[0] not in _WHOLE
        if len(path) <= (1 if path[0] in _WHOLE else _DEEPEST) and (meaning or not has_rows):
            default = "" if has_rows else _flow(_at(values, path))
            found.append(Row(".".join(path), default, meaning))
    return found


def table() -> str:
    """The rows as Markdown."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    lines += [f"| `{path}` | {default and f'`{default}`'} | {meaning} |" for path, default, meaning in rows()]
    return "\n".join(line.replace("|  |", "| |") for line in lines) + "\n"


def with_table(readme: str) -> str:
    """The README with the table of now between its marks."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{table()}{END}{tail}"


def _at(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values[name]
    return values


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
    return text.removesuffix("...\n").strip().replace("''", '""').replace("'", "").replace("|", "\\|")


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
