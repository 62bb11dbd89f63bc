"""The JSONPath subset by which a meter names a place in an event's data.

Owns: its grammar (`$.a.b`, `$.a[0]`, `$['a b']`, `$["a"]`, mixed) and the look-up. Filters, wildcards,
scripts and recursive descent are refused: a path names one place. Does not own: what may stand there.
A path never becomes part of another language; quotes, backslashes, backticks, `$`, `--` are refused anyway.
"""

from __future__ import annotations

import re
from typing import NoReturn

from msgspec import UNSET

from pipeline.errors import Rejected

MAX_CHARACTERS = 256

Path = tuple[str | int, ...]

_SEGMENT = re.compile(
    r"\.(?P<bare>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|\[(?P<index>0|[1-9][0-9]{0,8})\]"
    r"|\[(?P<quote>['\"])(?P<quoted>[^'\"\\`$\x00-\x1f\x7f\u2028\u2029]+)(?P=quote)\]"
)


def parse(text: object) -> Path:
    """`$.a['b c'][0]` as ("a", "b c", 0). Raises Rejected `bad-path`. The first step is a member name."""
    if not isinstance(text, str) or not text.startswith("$"):
        _refuse("must start with $")
    if len(text) > MAX_CHARACTERS:
        _refuse(f"must have at most {MAX_CHARACTERS} characters")
    if "--" in text:
        _refuse("must not contain --")
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        found = _SEGMENT.match(text, at)
        if found is None:
            _refuse(f"has something unsupported at character {at + 1}: use $.a.b, $.a[0] or $['a b']")
        index = found["index"]
        steps.append(int(index) if index is not None else found["bare"] or found["quoted"])
        at = found.end()
    if not steps or not isinstance(steps[0], str):
        _refuse("must name a member of the data, as in $.tokens")
    return tuple(steps)


def get(path: Path, data: object) -> object:
    """The value at the path, None for a JSON null, or msgspec.UNSET where there is nothing. Never raises."""
    for step in path:
        if isinstance(step, str):
            if not isinstance(data, dict):
                return UNSET
            data = data.get(step, UNSET)
        elif isinstance(data, list) and step < len(data):
            data = data[step]
        else:
            return UNSET
    return data


def _refuse(why: str) -> NoReturn:
    raise Rejected("bad-path", f"JSONPath {why}")
