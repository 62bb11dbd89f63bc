"""The JSONPath subset by which a meter names a place in an event's data.

Owns: its grammar (`$.a.b`, `$.a[0]`, `$['a b']`, `$["a"]`, mixed) and the look-up. Filters, wildcards,
scripts and recursive descent are refused: a path names one place. Does not own: what may stand there.
Any member can be named, but one whose name is empty: in brackets a name is a string of RFC 9535 (section 2.3.1), in
which a quote of its own kind, a backslash and control characters are escaped, as in `$['it\\'s']`.
A path never becomes part of another language.
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
    r"|\['(?P<single>(?:[^'\\\x00-\x1f]|\\.)+)'\]"
    r'|\["(?P<double>(?:[^"\\\x00-\x1f]|\\.)+)"\]'
)
_ESCAPE = re.compile(r"\\(?:u(?P<hex>[0-9A-Fa-f]{4})|(?P<sign>.))", re.DOTALL)
_SIGNS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\"}


def parse(text: object) -> Path:
    """`$.a['b c'][0]` as ("a", "b c", 0). Raises Rejected `bad-path`. The first step is a member name."""
    if not isinstance(text, str) or not text.startswith("$"):
        _refuse("must start with $")
    if len(text) > MAX_CHARACTERS:
        _refuse(f"must have at most {MAX_CHARACTERS} characters")
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        found = _SEGMENT.match(text, at)
        if found is None:
            _refuse(
                f"has something unsupported at character {at + 1}: "
                "use $.a.b, $.a[0], or $['a b'] for any other name"
            )
        steps.append(_step(found))
        at = found.end()
    if not steps or not isinstance(steps[0], str):
        _refuse("must name a member of the data, as in $.tokens")
    return tuple(steps)


def _step(segment: re.Match[str]) -> str | int:
    if segment["index"] is not None:
        return int(segment["index"])
    if segment["bare"] is not None:
        return segment["bare"]
    quote = "'" if segment["single"] is not None else '"'
    name = _ESCAPE.sub(lambda escape: _character(escape, quote), segment["single"] or segment["double"])
    # Two escapes may be the halves of one character.
    try:
        return name.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        _refuse("has half of a surrogate pair, which no member's name can have")


def _character(escape: re.Match[str], quote: str) -> str:
    if escape["hex"] is not None:
        return chr(int(escape["hex"], 16))
    sign = escape["sign"]
    if sign != quote and sign not in _SIGNS:
        _refuse(f"has the unknown escape \\{sign}")
    return _SIGNS.get(sign, sign)


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
